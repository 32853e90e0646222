// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/generate.h>

#include "history/sqlite_store.h"
#include "library/convert.h"
#include "library/place.h"
#include "service/comfyui/client.h"
#include "service/generate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <utility>

namespace plimsoll {

namespace {

GenerationEnd to_public(service::GenerateEnd end) {
    switch (end) {
        case service::GenerateEnd::Done:
            return GenerationEnd::Done;
        case service::GenerateEnd::DoesNotFit:
            return GenerationEnd::DoesNotFit;
        case service::GenerateEnd::OutOfMemory:
            return GenerationEnd::OutOfMemory;
        case service::GenerateEnd::Failed:
            return GenerationEnd::Failed;
        case service::GenerateEnd::Cancelled:
            return GenerationEnd::Cancelled;
        case service::GenerateEnd::TimedOut:
            return GenerationEnd::TimedOut;
        case service::GenerateEnd::Lost:
            break;
    }
    return GenerationEnd::Lost;
}

service::JobRequest request_of(std::string_view prompt, std::string_view model,
                               const GenerateOptions& options) {
    service::JobRequest request;
    if (options.custom_settings) library::put_wishes(Wishes(*options.custom_settings), request);
    request.model = std::string(model);
    request.prompt = std::string(prompt);
    if (options.width) request.width = options.width;
    if (options.height) request.height = options.height;
    if (options.quality) request.quality = library::from_public(*options.quality);
    if (options.negative) request.negative = options.negative;
    if (options.seed) request.seed = options.seed;
    return request;
}

Progress to_public(const service::GenerateProgress& progress) {
    return {.phase = progress.phase,
            .node_id = progress.job.node_id,
            .value = progress.job.value,
            .max = progress.job.max,
            .seconds = progress.job.seconds,
            .forecast_seconds = progress.forecast_seconds,
            .allocated_bytes = progress.job.allocated.count,
            .used_bytes = progress.job.used.count,
            .load_line_bytes = progress.load_line.count,
            .run = progress.run,
            .runs = progress.runs};
}

Run to_public(const history::RunRecord& record) {
    Run run{.run_id = record.run_id,
            .forecast_peak_bytes = record.forecast_peak.count,
            .observed_peak_bytes = {},
            .forecast_seconds = record.forecast_seconds,
            .observed_seconds = record.observed_seconds};
    if (record.observed_peak) run.observed_peak_bytes = record.observed_peak->count;
    return run;
}

Generation to_public(const service::Generation& inner) {
    Generation out;
    out.end = to_public(inner.end);
    out.why = inner.why;
    out.plan = library::to_public(inner.plan);
    out.images = inner.images;
    for (const history::RunRecord& record : inner.runs) out.runs.push_back(to_public(record));
    out.warnings = messages_of(inner.warnings);
    return out;
}

Result<service::GenerateOptions> inner_options(const GenerateOptions& options,
                                               const service::Config& config) {
    service::GenerateOptions inner;
    TRY_ASSIGN(inner.pins,
               advisor::parse_pins(fmt::format("{}", fmt::join(options.plan.pins, ","))));
    if (options.plan.preference == Preference::Speed) inner.preference = advisor::Preference::Speed;
    inner.run_anyway = options.run_anyway;
    inner.output_dir = config.output_dir.value;
    inner.timeout = std::chrono::milliseconds(config.timeout.value.count);
    inner.cancelled = options.cancelled;
    if (options.on_plan)
        inner.on_plan = [&options](const service::PlanAnswer& answer, const service::Site&) {
            options.on_plan(library::to_public(answer));
        };
    if (options.on_progress)
        inner.on_progress = [&options](const service::GenerateProgress& progress) {
            options.on_progress(to_public(progress));
        };
    return inner;
}

}  // namespace

std::string_view generation_end_name(GenerationEnd end) {
    switch (end) {
        case GenerationEnd::Done:
            return "done";
        case GenerationEnd::DoesNotFit:
            return "does_not_fit";
        case GenerationEnd::OutOfMemory:
            return "out_of_memory";
        case GenerationEnd::Failed:
            return "failed";
        case GenerationEnd::Cancelled:
            return "cancelled";
        case GenerationEnd::TimedOut:
            return "timed_out";
        case GenerationEnd::Lost:
            break;
    }
    return "lost";
}

Result<Generation> generate(std::string_view prompt, std::string_view model,
                            const GenerateOptions& options, const Options& where) {
    TRY_ASSIGN(const service::Config config, library::read_config(where));
    TRY_ASSIGN(const service::Profiles profiles, service::read_profiles(config));
    TRY_ASSIGN(const service::GenerateOptions inner, inner_options(options, config));
    service::ModelLibrary models(config.models_dirs.value);
    TRY_ASSIGN(const service::Job job,
               service::resolve_job(request_of(prompt, model, options), profiles, models));
    TRY_ASSIGN(const auto comfyui, service::ComfyClient::create(config));
    // A history that cannot be written is no reason not to draw.
    auto store = history::SqliteStore::create(config.history_file());
    Random random(os_seed());
    TRY_ASSIGN(const service::Generation generation,
               service::generate(job, config, inner,
                                 {.upstream = comfyui.get(),
                                  .store = store ? store->get() : nullptr,
                                  .clock = system_clock(),
                                  .random = random}));
    Generation out = to_public(generation);
    if (!store)
        out.warnings.push_back(fmt::format("the run is not recorded: {}", store.error().message));
    return out;
}

}  // namespace plimsoll
