// SPDX-License-Identifier: Apache-2.0
//
// What history keeps of the gateway's queue: prompts that were accepted and have not ended, and
// shapes that are known not to fit. Plain values.
#pragma once
#include <cstdint>
#include <string>

namespace plimsoll::history {

// All of a held job that may change while it waits. The rest never does.
struct HeldMark {
    std::int64_t turn = 0;      // among jobs of one priority the smaller goes first
    std::int64_t priority = 0;  // the greater goes first
    bool sent = false;          // it may be with ComfyUI: ask there before it is sent again
    int attempts = 0;           // how often it was sent and did not end well
    friend bool operator==(const HeldMark&, const HeldMark&) = default;
};

// A prompt that was accepted for a client: it is kept from before the answer until it has ended.
struct HeldJob {
    std::string prompt_id;  // unique: writing it again replaces
    std::int64_t accepted_ms = 0;
    HeldMark mark;
    std::string body;        // of POST /prompt as it is to be sent, without secrets
    std::string facts_json;  // what was found out about it, an object (guard/held_facts.h)
    friend bool operator==(const HeldJob&, const HeldJob&) = default;
};

// A shape of job that ran out of memory although everything was tried: not sent again as it is.
struct Wall {
    std::string shape;  // unique
    std::int64_t met_ms = 0;
    std::string reason;  // for people
    friend bool operator==(const Wall&, const Wall&) = default;
};
// A mark for one of the jobs.
struct HeldChange {
    std::string prompt_id;
    HeldMark mark;
};
inline constexpr int kWallsMax = 10'000;  // chosen: the oldest go beyond it

}  // namespace plimsoll::history
