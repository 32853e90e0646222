// SPDX-License-Identifier: Apache-2.0
#include "guard/contact.h"

#include "guard/waits.h"

#include <utility>

namespace plimsoll::guard {

bool Contact::note(bool reachable, std::int64_t now_ms) {
    if (!reachable) {
        tried_ms_ = now_ms;
        if (!gone_since_ms_) gone_since_ms_ = now_ms;
    } else {
        if (gone_since_ms_) restarted_ms_.reset();
        gone_since_ms_.reset();
    }
    return std::exchange(reachable_, reachable) != reachable;
}

bool Contact::may_ask(std::int64_t now_ms) const {
    return !gone_since_ms_ || now_ms - tried_ms_ >= kContactMs;
}

bool Contact::is_gone(std::int64_t now_ms) const {
    return gone_since_ms_ && now_ms - *gone_since_ms_ >= kGoneMs;
}

bool Contact::take_restart(std::int64_t now_ms, bool hangs) {
    if (!is_gone(now_ms) && !hangs) return false;
    if (restarted_ms_ && now_ms - *restarted_ms_ < kRestartMs) return false;
    restarted_ms_ = now_ms;
    return true;
}

}  // namespace plimsoll::guard
