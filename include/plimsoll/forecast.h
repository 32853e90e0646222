// SPDX-License-Identifier: Apache-2.0
//
// Before a job runs: what it will need (forecast), what should change (plan), how far it can go
// (largest).
//
// Sizes are bytes and say so, times are seconds. Forecast sizes are allocated bytes: what the card
// shows above them (context, cached blocks) is kept apart in reserved_bytes.
//
// Threads: the functions share no state and may run at once.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/export.h>
#include <plimsoll/job.h>
#include <plimsoll/options.h>
#include <plimsoll/settings.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

// At the load line. FitsSlowly: under it, but weights are streamed. Unknown never blocks.
enum class Verdict : std::uint8_t { Fits, FitsSlowly, WillNotFit, Unknown };
[[nodiscard]] PLIMSOLL_EXPORT std::string_view verdict_name(Verdict verdict);  // "fits_slowly"

// One node that touches the card.
struct Phase {
    std::string kind;  // "load", "text_encode", "sample", "vae_encode", "vae_decode"
    std::string node_id;
    std::string class_type;
    std::int64_t peak_bytes = 0;         // most bytes allocated at once
    std::int64_t floor_bytes = 0;        // of these, what cannot be paged out
    std::int64_t comfort_bytes = 0;      // everything that the phase uses resident: full speed
    std::int64_t resident_bytes = 0;     // weights on the card
    std::int64_t streamed_bytes = 0;     // weights that cross PCIe on every forward
    std::int64_t activations_bytes = 0;  // tensors that a forward makes, its inputs included
    std::int64_t forwards = 0;
    double seconds = 0;
    std::vector<std::string> reasons;  // why so, in sentences
};

struct Forecast {
    Verdict verdict = Verdict::Unknown;
    std::string sentence;  // the verdict for people, with the numbers
    std::int64_t load_line_bytes = 0;
    std::int64_t peak_bytes = 0;  // the highest phase
    std::int64_t floor_bytes = 0;
    std::int64_t comfort_bytes = 0;
    std::int64_t reserved_bytes = 0;    // bound on what nvidia-smi shows above the context
    std::int64_t card_limit_bytes = 0;  // what can be allocated on this card at all
    double seconds = 0;
    std::vector<Phase> phases;  // in order of execution
    std::string model;
    std::string family;                // "sdxl", "unknown"
    std::optional<Settings> settings;  // of a job that Plimsoll built
    std::string where;                 // the card or server that this is about
    std::vector<std::string> warnings;
};

// NotFound lists the nearest names, InvalidInput names the value and its range.
[[nodiscard]] PLIMSOLL_EXPORT Result<Forecast> forecast(const Job& job,
                                                        const Options& options = {});

enum class Preference : std::uint8_t { Quality, Speed };
struct PlanWishes {
    // Values that must stay: "steps", "seed", "width", "height", "size", "batch", "cfg", "sampler",
    // "scheduler", "model", "precision", "vae".
    std::vector<std::string> pins;
    Preference preference = Preference::Quality;
};

struct Change {
    std::string kind;     // "tile_vae", "split_batch", "resolution"...
    std::string what;     // for people
    std::string node_id;  // empty: a flag of the server
    std::string input;
    std::string from;
    std::string to;
    std::int64_t saves_bytes = 0;
    double seconds_delta = 0;   // positive: slower
    double quality_cost = 0;    // 0 none to 1 worst; at 0.1 a change hardly shows
    std::string quality_basis;  // "prior" (an order), "measured", "votes" (measured and weighed)
    std::string quality;        // the same in words
    std::string reason;
    bool needs_restart = false;  // of ComfyUI
    bool changes_composition = false;
};

enum class PlanVerdict : std::uint8_t { Fits, FitsChanged, FitsParked, NothingFits, Unknown };
[[nodiscard]] PLIMSOLL_EXPORT std::string_view plan_verdict_name(PlanVerdict verdict);

struct Plan {
    PlanVerdict verdict = PlanVerdict::Unknown;
    std::vector<Change> changes;         // of the workflow
    std::vector<Change> environment;     // of the server: advice
    std::vector<std::string> workflows;  // to run one after another, API format
    Forecast before;
    Forecast after;
    double seconds_all = 0;  // of all workflows
    std::string run_anyway;  // what happens without the plan
    std::string explanation;
    std::vector<std::string> refused;  // what was not allowed, and why
};
[[nodiscard]] PLIMSOLL_EXPORT Result<Plan> plan(const Job& job, const Options& options = {},
                                                const PlanWishes& wishes = {});

// What decides memory (of Tile: the first decoder's), and what decides time (Steps, Cfg).
enum class Knob : std::uint8_t { Width, Height, Batch, Frames, Tile, Steps, Cfg };
struct Largest {
    std::optional<double> value;           // whole but for Cfg; nullopt: not even the smallest fits
    Forecast forecast;                     // at `value`, or at the smallest
    std::string next_value_fails_because;  // empty where the range ends before
};
[[nodiscard]] PLIMSOLL_EXPORT Result<Largest> largest(const Job& job, Knob knob,
                                                      const Options& options = {});

}  // namespace plimsoll
