// SPDX-License-Identifier: Apache-2.0
//
// generate: pictures through ComfyUI, kept under the load line. Forecast, plan, submit, watch,
// download, record.
//
// Threads: blocks its caller; callbacks come in the caller's thread.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/export.h>
#include <plimsoll/forecast.h>
#include <plimsoll/options.h>
#include <plimsoll/settings.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

struct Progress {
    std::string phase;  // "queued", "sample", "vae_decode"..., "other"
    std::string node_id;
    double value = 0;  // of `max`: steps, tiles
    double max = 0;
    double seconds = 0;  // since it was submitted
    double forecast_seconds = 0;
    std::int64_t allocated_bytes = 0;  // latest sample
    std::int64_t used_bytes = 0;       // the whole card, other programs included
    std::int64_t load_line_bytes = 0;
    std::size_t run = 0;  // of `runs`: a batch may be split
    std::size_t runs = 1;
};

struct GenerateOptions {
    // Size and quality, or everything; what is left open comes from the model's profile.
    std::optional<int> width;
    std::optional<int> height;
    std::optional<Quality> quality;
    std::optional<Settings> custom_settings;  // the model's name in it is not looked at
    std::optional<std::string> negative;
    std::optional<std::uint64_t> seed;  // nullopt: custom_settings', else 0

    PlanWishes plan;
    bool run_anyway = false;                   // submit it as it is, whatever the plan says
    std::function<void(const Plan&)> on_plan;  // before anything is submitted
    std::function<void(const Progress&)> on_progress;
    const std::atomic<bool>* cancelled = nullptr;  // may be set from a signal handler
};

enum class GenerationEnd : std::uint8_t {
    Done,
    DoesNotFit,  // nothing was submitted
    OutOfMemory,
    Failed,
    Cancelled,
    TimedOut,
    Lost,  // ComfyUI restarted and forgot the job
};
[[nodiscard]] PLIMSOLL_EXPORT std::string_view generation_end_name(GenerationEnd end);

// One workflow that was submitted, as the history keeps it.
struct Run {
    std::string run_id;
    std::int64_t forecast_peak_bytes = 0;
    std::optional<std::int64_t> observed_peak_bytes;  // nullopt: no sample fell into it
    double forecast_seconds = 0;
    std::optional<double> observed_seconds;
};

struct Generation {
    GenerationEnd end = GenerationEnd::Done;
    std::string why;  // empty when done
    Plan plan;
    std::vector<std::filesystem::path> images;  // as saved
    std::vector<Run> runs;
    std::vector<std::string> warnings;
};

// Unavailable when ComfyUI cannot be reached, NotFound when it lacks the model (with the nearest
// names), InvalidInput when it refuses the workflow. Whatever happens after submission is a
// Generation that says so.
[[nodiscard]] PLIMSOLL_EXPORT Result<Generation> generate(std::string_view prompt,
                                                          std::string_view model,
                                                          const GenerateOptions& options = {},
                                                          const Options& where = {});

}  // namespace plimsoll
