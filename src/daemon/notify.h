// SPDX-License-Identifier: Apache-2.0
//
// Tells systemd how the daemon stands (sd_notify's protocol): one datagram to the socket that
// NOTIFY_SOCKET names. Elsewhere nothing happens.
//
// Leaves through: a Unix socket.   Threads: any.
#pragma once
#include "base/error.h"

#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::daemon {

// `socket` is the value of NOTIFY_SOCKET: a path, or "@name" of the abstract kind; nullopt or
// empty: nobody listens. `state` is lines such as "READY=1". Unavailable where it cannot be sent.
Result<void> notify_service_manager(const std::optional<std::string>& socket,
                                    std::string_view state);

// "RELOADING=1" with the time that systemd wants beside it.
[[nodiscard]] std::string reloading_state();

}  // namespace plimsoll::daemon
