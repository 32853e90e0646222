// SPDX-License-Identifier: Apache-2.0
//
// solve_plan: the cheapest set of changes that brings a workflow under the load line and into its
// time, each with its price in GiB, seconds and quality. Pinned values stay; a change of
// composition is always said; running anyway is always an option, and its consequence is told.
//
// Enters through: workflow text, Forecaster.   Leaves through: Plan.   Threads: as the Forecaster
// allows.
#pragma once
#include "advisor/forecaster.h"
#include "advisor/levers.h"
#include "base/phrase.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::advisor {

enum class Preference : std::uint8_t { Quality, Speed };
// Whose server runs the job: flags of our own can be set before it starts, those of a user's server
// are advice.
enum class ServerControl : std::uint8_t { Ours, Theirs };

struct PlanRequest {
    std::string_view workflow;  // API format
    Budget budget;
    Pins pins;
    Preference preference =
        Preference::Quality;  // Speed: a job that fits but streams takes the cheap levers too
    ServerControl control = ServerControl::Theirs;
    Variants variants;
    QualityEvidence evidence = {};  // of the workflow's model
};

struct Change {
    ChangeKind kind = ChangeKind::TileVae;
    Phrase what;          // "decode in tiles of 512"
    std::string node_id;  // empty for the server's environment
    std::string input;
    std::string from;
    std::string to;
    std::vector<ValueChange> values;  // all values, where a change touches several
    Bytes saves;                      // of the peak, at this place in the order; may be negative
    double seconds_delta = 0;         // positive: slower
    double quality_cost = 0;          // 0 none .. 1 worst; of a prior an order, not a measurement
    PriceBasis price_basis = PriceBasis::Prior;
    Phrase quality_words;
    Phrase reason;
    bool needs_restart = false;
    bool changes_composition = false;
};

enum class PlanVerdict : std::uint8_t {
    Fits,         // as it is
    FitsChanged,  // with `changes` (and `environment`, where it is ours)
    FitsParked,   // no need is above the line; parked weights are, and only the server's flag in
                  // `environment` stops it
    NothingFits,
    Unknown,  // not understood enough to judge: run as it is
};
[[nodiscard]] std::string_view plan_verdict_name(PlanVerdict verdict);

struct Plan {
    PlanVerdict verdict = PlanVerdict::Unknown;
    std::vector<Change> changes;        // of the workflow, in the order of preference
    std::vector<Change> environment;    // of the server: flags that need a restart, POST /free
    std::optional<Bytes> reserve_vram;  // value of --reserve-vram in `environment`
    std::vector<std::string>
        workflows;  // to run one after another; the source itself when nothing changes
    PricedForecast before;
    PricedForecast
        after;  // what will happen: the first run; with `environment` where the server is ours
    double seconds_all = 0;  // all runs
    Judgement judged_before;
    Judgement judged_after;
    Phrase run_anyway;   // what happens without the plan
    Phrase explanation;  // why this, or why nothing fits
    Phrases refused;     // levers that were not allowed and why
};

// Fails as the Forecaster fails (a workflow that is no JSON...).
[[nodiscard]] Result<Plan> solve_plan(const PlanRequest& request, const Forecaster& forecaster);

}  // namespace plimsoll::advisor
