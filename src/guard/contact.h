// SPDX-License-Identifier: Apache-2.0
//
// Contact: whether ComfyUI is there, when it is asked again after it was not, and when the user's
// own command is to start it anew.
//
// Enters through: requests that went well or did not, with their time.   Leaves through: yes or no.
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <optional>

namespace plimsoll::guard {

class Contact {
  public:
    // A request of ours reached it, or did not. True: that is news.
    bool note(bool reachable, std::int64_t now_ms);
    // What the gateway saw: it is asked before that counts for more than a hint.
    void hint(bool reachable) { reachable_ = reachable; }

    [[nodiscard]] bool is_reachable() const { return reachable_; }
    // While it is gone it is not asked at every turn.
    [[nodiscard]] bool may_ask(std::int64_t now_ms) const;
    [[nodiscard]] bool is_gone(std::int64_t now_ms) const;  // for longer than a supervisor needs
    // Whether it is to be started anew, because it is gone or hangs; that is then taken as done.
    [[nodiscard]] bool take_restart(std::int64_t now_ms, bool hangs);

  private:
    bool reachable_ = true;
    std::int64_t tried_ms_ = 0;
    std::optional<std::int64_t> gone_since_ms_;
    std::optional<std::int64_t> restarted_ms_;
};

}  // namespace plimsoll::guard
