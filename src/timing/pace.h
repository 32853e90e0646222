// SPDX-License-Identifier: Apache-2.0
//
// The pace of a machine: by what its own runs say that the table of cards is to be multiplied. Two
// machines with the same card differ (power limit, cooling, processor, driver); what one of them
// took for its last runs tells what it will take. docs/pace.md says how well.
//
// Enters through: TimedRun.   Leaves through: Paces.   Threads: no shared state.
#pragma once
#include "memory/forecast.h"
#include "timing/roofline.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::timing {

// Natural logarithms of (measured / forecast): how far machines are from the table. Standard
// deviations of the public measurements behind docs/timing-fit.md, each forecast by a fit that had
// not seen its card; a machine is one source with one card (53 of them), a kind of work one network
// timed in one way. `./dev bench timing` prints what errors they lead to.
inline constexpr double kMachineSpread = 0.13;  // of machines about the table (measured 0.135)
inline constexpr double kWorkSpread = 0.10;     // of kinds of work within a machine (0.095, 27 df)
inline constexpr double kRunSpread = 0.10;      // of jobs of one kind of work (0.103, 395 df)

inline constexpr std::size_t kPaceRunsMax = 100;  // chosen: of a card, the newest
inline constexpr std::size_t kWorkRunsMax = 32;   // chosen: of one kind of work, the newest of them
// Beyond it is no pace of a card but something else: a laptop that slept, a clock that was set.
inline constexpr double kRatioMax = 8;  // chosen; the public rows reach from 0.58 to 1.8
// Below, what a phase took is the clock's and the messages' doing.
inline constexpr double kPacedSecondsMin = 0.05;  // chosen: messages arrive some milliseconds late

// One kind of work in one run: all its phases of that kind. Without loading, which depends on what
// happened to be in memory.
struct TimedWork {
    std::string kind;             // memory::phase_kind_name
    double table_seconds = 0;     // forecast before any pace
    double observed_seconds = 0;  // of the same work
};
struct TimedRun {
    std::string family;  // of the network: "sdxl"
    std::vector<TimedWork> works;
};

struct Pace {
    double factor = 1;  // times the table
    // Nine of ten machines whose runs look like these are within; of the mean of many runs.
    double low = 1;
    double high = 1;
    int runs = 0;  // of this very kind of work; 0: borrowed from the card's others, or the table's
};

struct PaceOfWork {
    std::string kind;
    std::string family;
    Pace pace;
};

struct Paces {
    Pace card;                      // of work that was never seen here; its `runs` are of all work
    std::vector<PaceOfWork> works;  // by kind, then family

    [[nodiscard]] bool learned() const { return card.runs > 0; }
    // Work without runs of its own borrows from the card's others.
    [[nodiscard]] Pace of(std::string_view kind, std::string_view family) const;
};
using SharedPaces = std::shared_ptr<const Paces>;  // nullptr: the table alone

// From the runs of one card, newest first. What is not finite, not positive, too short or beyond
// kRatioMax is passed over. Runs before a step of the machine (another driver, another power limit)
// no longer count once four after it agree.
[[nodiscard]] Paces learn_paces(std::span<const TimedRun> newest_first);

// Computing and streaming by the pace of their work; loading stays as the table has it.
void apply_paces(const Paces& paces, std::string_view family, const memory::Forecast& forecast,
                 ForecastSeconds& seconds);

}  // namespace plimsoll::timing
