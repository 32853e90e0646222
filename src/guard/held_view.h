// SPDX-License-Identifier: Apache-2.0
//
// What the doors say of the guard: the prompts that it accepted, and how it stands. Plain values.
#pragma once
#include "base/phrase.h"
#include "guard/facts.h"
#include "guard/heat.h"
#include "guard/policy.h"
#include "guard/turn.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// How a prompt that was accepted stands, for the doors.
enum class HeldState : std::uint8_t { Waiting, Sent, Running, Done, Failed, Cancelled, Refused };
[[nodiscard]] std::string_view held_state_name(HeldState state);
struct HeldView {
    std::string prompt_id;
    HeldState state = HeldState::Waiting;
    Facts facts;
    std::int64_t accepted_ms = 0;
    std::int64_t ended_ms = 0;  // 0: has not
    std::int64_t priority = 0;
    std::size_t place = 0;  // 0: it is with ComfyUI; 1: next
    WaitsFor waits_for = WaitsFor::Nothing;
    std::optional<double> start_seconds = std::nullopt;  // from now; nullopt: nobody knows
    Phrase why = {};                                     // why it did not end well
    // Refused, or held back by heat, room, a pause: its user may send it all the same.
    bool may_run_anyway = false;
};
struct GuardCounts {
    std::int64_t accepted = 0;
    std::int64_t done = 0;
    std::int64_t failed = 0;
    std::int64_t cancelled = 0;
    std::int64_t refused = 0;
    std::int64_t retried = 0;
    std::int64_t changed = 0;
    std::int64_t quarantined = 0;
    std::int64_t freed = 0;
    std::int64_t waiting = 0;
};

struct GuardView {
    Policy policy = Policy::Fit;
    bool paused = false;
    HeatState heat = HeatState::Unknown;
    Phrase heat_why;
    GuardCounts counts;
    std::vector<HeldView> jobs;  // with ComfyUI, waiting in order, ended
};

}  // namespace plimsoll::guard
