// SPDX-License-Identifier: Apache-2.0
//
// generate: a picture, kept under the load line. Forecast, plan, submit, watch, download, record;
// then forecast beside observed.
//
// Enters through: Upstream or OwnServer, Store, Clock, Random, files.   Leaves through: Generation,
// callbacks, pictures.   Threads: runs in the caller's.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "base/random.h"
#include "history/store.h"
#include "service/comfyui/follow.h"
#include "service/forecast.h"
#include "service/own_server.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// Progress with the words of the forecast: which phase, and how long it will still take.
struct GenerateProgress {
    JobProgress job;
    std::string phase;    // "sample", "vae_decode", "queued", "other"
    std::size_t run = 0;  // of `runs`: a batch may be split
    std::size_t runs = 1;
    double forecast_seconds = 0;  // of this run
    Bytes forecast_peak;          // of this phase; 0 where none was forecast
    Bytes load_line;
};

struct GenerateOptions {
    advisor::Pins pins;
    advisor::Preference preference = advisor::Preference::Quality;
    bool run_anyway = false;  // submit the workflow as it is, whatever the plan says
    std::filesystem::path output_dir;
    std::chrono::milliseconds timeout{1'200'000};  // of each run
    const std::atomic<bool>* cancelled = nullptr;
    std::function<void(const PlanAnswer&, const Site&)> on_plan;  // before anything is submitted
    std::function<void(const GenerateProgress&)> on_progress;
    std::function<void(const std::string& image)> on_preview;  // JPEG or PNG
    std::function<void(std::chrono::milliseconds)> sleep;      // for tests, see FollowOptions
};

// The parts of the outside; all outlive the call. Exactly one of `upstream` (the user's server: its
// flags stay, advisor::ServerControl::Theirs) and `own` (started here, and again with the flags
// that the plan asks for: Ours) is set. `store` may be null: then nothing is recorded.
struct GenerateParts {
    Upstream* upstream = nullptr;
    OwnServer* own = nullptr;
    history::Store* store = nullptr;
    const Clock& clock;
    Random& random;
    // Makes the forecaster of the site and job; nullptr: the real one.
    std::function<advisor::Forecaster(const Site&, const Job&)> forecaster = nullptr;
    // Whether heat slowed the card down since then (Unix time); nullptr: nobody looks.
    std::function<bool(std::int64_t since_ms)> throttled_since = nullptr;
};

enum class GenerateEnd : std::uint8_t {
    Done,
    DoesNotFit,
    OutOfMemory,
    Failed,
    Cancelled,
    TimedOut,
    Lost
};
[[nodiscard]] std::string_view generate_end_name(GenerateEnd end);

struct Generation {
    GenerateEnd end = GenerateEnd::Done;
    Phrase why;  // empty when done
    PlanAnswer plan;
    std::vector<history::RunRecord>
        runs;  // as recorded: forecast beside observed. One for each workflow that was submitted
    bool recorded = true;                       // all of `runs` are in the history
    std::vector<std::filesystem::path> images;  // as saved
    std::vector<std::string> images_left;       // made, but only in ComfyUI's own output folder
    Phrases warnings;
};

// Errors: Unavailable (ComfyUI cannot be reached, with nothing submitted), NotFound (it lacks the
// model: the nearest names), InvalidInput (it refused the workflow; the output folder cannot be
// used). Whatever happens after submission is a Generation that says so; pictures that were made
// are saved and recorded then too.
[[nodiscard]] Result<Generation> generate(const Job& job, const Config& config,
                                          const GenerateOptions& options,
                                          const GenerateParts& parts);

}  // namespace plimsoll::service
