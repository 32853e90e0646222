// SPDX-License-Identifier: Apache-2.0
//
// Whose turn it is: the order in which held jobs go to ComfyUI. Jobs of the model that is loaded
// may go first, but nobody is passed by more than kPassedMax jobs or for longer than
// kPassedSecondsMax; what does not fit now lets others by until it does.
//
// Enters through: candidates in the order of the queue, Moment.   Leaves through: an index, waits
// in seconds.   Threads: no shared state.
#pragma once
#include "base/units.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

inline constexpr int kPassedMax = 4;  // chosen: one load of SDXL costs about as much as a picture
inline constexpr double kPassedSecondsMax = 600;  // chosen: longer is noticed by a person who waits

// A job that waits, as far as its turn depends on it.
struct Candidate {
    std::int64_t priority = 0;
    std::string_view model = {};  // guard::models_of
    bool strict = false;          // its place was asked for: it neither passes nor is passed
    bool anyway = false;          // nothing holds it, and it goes first
    bool light = false;           // short and small: may run while the card is warm
    std::optional<Bytes> need =
        std::nullopt;  // what must be on the card; nullopt: unknown, never blocks
    std::optional<double> seconds = std::nullopt;  // with its models on the card already
    double load_seconds = 0;                       // added where they are not
    std::int64_t accepted_ms = 0;
    std::int64_t not_before_ms = 0;
    int passed = 0;  // by how many jobs of other models
};

enum class HeatGate : std::uint8_t { All, LightOnly, Nobody };

// What decides beside the queue.
struct Moment {
    std::int64_t now_ms = 0;
    std::string loaded = {};  // the model that is on the card; empty: none is known to be
    std::optional<Bytes> room = std::nullopt;  // for what a job needs; nullopt: unknown
    HeatGate heat = HeatGate::All;
    bool paused = false;
};

enum class WaitsFor : std::uint8_t { Nothing, Turn, Pause, Heat, Room, Retry };
[[nodiscard]] std::string_view waits_for_name(WaitsFor reason);  // "turn", "pause", "heat", ...

// Why this job cannot go at this moment, whatever the others do.
[[nodiscard]] WaitsFor hindrance_of(const Candidate& job, const Moment& moment);

// The index of the job whose turn it is, nullopt: nobody's. `queue` is ordered by priority, then
// turn; `passed` of those that were passed by is counted up.
[[nodiscard]] std::optional<std::size_t> choose_next(std::span<Candidate> queue,
                                                     const Moment& moment);

struct Eta {
    std::optional<double> start_seconds =
        std::nullopt;  // from now; nullopt: a job before it has no forecast, or
                       // nobody knows when what it waits for is over
    WaitsFor waits_for = WaitsFor::Turn;
};
inline constexpr std::size_t kEtasMax = 500;  // chosen: further ahead no number is worth telling
// One for each of the first kEtasMax jobs. `running_seconds`: what the job that runs has left; 0:
// none runs; nullopt: it has no forecast.
[[nodiscard]] std::vector<Eta> estimate_turns(std::span<const Candidate> queue, Moment moment,
                                              std::optional<double> running_seconds);

}  // namespace plimsoll::guard
