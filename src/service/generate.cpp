// SPDX-License-Identifier: Apache-2.0
#include "service/generate.h"

#include "service/comfyui/checkpoints.h"
#include "service/pictures.h"
#include "workflow/parse.h"
#include "workflow/splice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::service {

namespace {

struct EndNames {
    JobEnd job;
    GenerateEnd generate;
    history::Outcome outcome;
};
constexpr std::array<EndNames, 6> kEnds{{
    {JobEnd::Succeeded, GenerateEnd::Done, history::Outcome::Done},
    {JobEnd::OutOfMemory, GenerateEnd::OutOfMemory, history::Outcome::OutOfMemory},
    {JobEnd::Failed, GenerateEnd::Failed, history::Outcome::Failed},
    {JobEnd::Cancelled, GenerateEnd::Cancelled, history::Outcome::Cancelled},
    {JobEnd::TimedOut, GenerateEnd::TimedOut, history::Outcome::TimedOut},
    {JobEnd::Lost, GenerateEnd::Lost, history::Outcome::Lost},
}};
const EndNames& ends_of(JobEnd end) {
    return *std::ranges::find(kEnds, end, &EndNames::job);
}

// Keeps the job's workflow byte for byte but the checkpoint's name.
Result<Job> renamed(const Job& job, const std::string& name) {
    Job copy = job;
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(job.workflow));
    std::vector<workflow::Edit> edits;
    for (const workflow::Node& node : graph.nodes)
        if (node.text_of("ckpt_name") == job.checkpoint)
            edits.emplace_back(workflow::SetInput{node.id, "ckpt_name", name});
    TRY_ASSIGN(copy.workflow, workflow::apply_edits(job.workflow, graph, edits));
    if (const auto found = job.files.by_name.find(job.checkpoint); found != job.files.by_name.end())
        copy.files.by_name[name] = found->second;
    copy.checkpoint = name;
    return copy;
}

const memory::Phase* phase_of(const memory::Forecast& forecast, const std::string& node_id) {
    const auto found = std::ranges::find(forecast.phases, node_id, &memory::Phase::node_id);
    return found == forecast.phases.end() ? nullptr : &*found;
}

history::Settings settings_record(const Job& job) {
    if (!job.settings) return {};
    const advisor::Settings& s = *job.settings;
    return {.width = s.width,
            .height = s.height,
            .batch = s.batch,
            .steps = s.steps,
            .cfg = s.cfg,
            .sampler = s.sampler,
            .scheduler = s.scheduler,
            .quality = std::string(advisor::quality_name(job.quality)),
            .seed = fmt::format("{}", s.seed)};
}

class Generator {
  public:
    Generator(const Job& job, const Config& config, const GenerateOptions& options,
              const GenerateParts& parts)
        : job_(job), config_(config), options_(options), parts_(parts) {}

    Result<Generation> run() {
        const auto stats = parts_.upstream.read_stats();
        if (!stats) return std::unexpected(stats.error());
        if (!job_.checkpoint.empty()) {
            TRY_ASSIGN(const std::string name, name_on_server(parts_.upstream, job_.checkpoint));
            if (name != job_.checkpoint) {
                TRY_ASSIGN(job_, renamed(job_, name));
            }
        }
        TRY_ASSIGN(site_, site_of_stats(config_, {}, *stats, parts_.upstream.address()));
        version_ = stats->comfyui_version;
        TRY_ASSIGN(const advisor::Budget budget, budget_of(config_));
        forecaster_ =
            parts_.forecaster ? parts_.forecaster(site_, job_) : forecaster_of(site_, job_);
        TRY_ASSIGN(generation_.plan, plan_job(job_, site_, budget, options_.plan, forecaster_));
        generation_.warnings = generation_.plan.warnings;
        if (options_.on_plan) options_.on_plan(generation_.plan);
        const advisor::Plan& plan = generation_.plan.plan;
        if (plan.verdict == advisor::PlanVerdict::NothingFits && !options_.run_anyway) {
            generation_.end = GenerateEnd::DoesNotFit;
            generation_.why = plan.explanation;
            return std::move(generation_);
        }
        const std::vector<std::string> workflows = options_.run_anyway || plan.workflows.empty()
                                                       ? std::vector{job_.workflow}
                                                       : plan.workflows;
        free_models_if_planned(plan);
        for (std::size_t i = 0; i < workflows.size() && generation_.end == GenerateEnd::Done; ++i)
            TRY_DO(run_one(workflows[i], i, workflows.size()));
        return std::move(generation_);
    }

  private:
    void free_models_if_planned(const advisor::Plan& plan) {
        const bool planned = std::ranges::any_of(plan.environment, [](const advisor::Change& c) {
            return c.kind == advisor::ChangeKind::FreeModels;
        });
        if (!planned || options_.run_anyway) return;
        if (const auto freed = parts_.upstream.free_models(); !freed)
            warn(fmt::format("other models could not be freed: {}", freed.error().message));
    }

    Result<void> run_one(const std::string& workflow, std::size_t index, std::size_t count) {
        TRY_ASSIGN(const advisor::PricedForecast forecast,
                   forecaster_({.workflow = workflow, .reserve_vram = std::nullopt}));
        history::RunRecord record = record_before(forecast);
        const FollowOptions follow = follow_options(forecast, index, count);
        // Written before it is submitted: a run that is cut off by kill -9 is still seen to have
        // begun.
        keep(record);
        auto report = run_job(parts_.upstream, workflow, record.prompt_id,
                              parts_.random.next_uuid(), parts_.clock, follow);
        if (!report) {
            record.outcome = history::Outcome::Failed;
            record.error = report.error().message;
            record.ended_ms = parts_.clock.unix_ms();
            keep(record);
            // After the first run of several something was made already: that is told, not thrown
            // away.
            if (index == 0) return std::unexpected(report.error());
            generation_.end = GenerateEnd::Failed;
            generation_.why = report.error().message;
            generation_.runs.push_back(std::move(record));
            return {};
        }
        generation_.end = ends_of(report->end).generate;
        generation_.why = report->why;
        record_after(*report, record);
        download(*report, record);
        keep(record);
        generation_.runs.push_back(std::move(record));
        return {};
    }

    history::RunRecord record_before(const advisor::PricedForecast& forecast) {
        history::RunRecord record;
        record.run_id = parts_.random.next_uuid();
        record.prompt_id = parts_.random.next_uuid();
        record.started_ms = parts_.clock.unix_ms();
        record.model = job_.model;
        record.checkpoint = job_.checkpoint;
        record.family = job_.family;
        record.settings = settings_record(job_);
        record.card = site_.device.name;
        record.comfyui_version = version_;
        const advisor::Budget& budget = generation_.plan.budget;
        record.verdict =
            memory::verdict_name(verdict_at_line(forecast, advisor::judge(forecast, budget)));
        record.load_line = budget.load_line;
        record.forecast_peak = forecast.memory.peak;
        record.forecast_seconds = forecast.seconds.total;
        for (std::size_t i = 0; i < forecast.memory.phases.size(); ++i) {
            const memory::Phase& phase = forecast.memory.phases[i];
            record.phases.push_back({.kind = std::string(memory::phase_kind_name(phase.kind)),
                                     .node_id = phase.node_id,
                                     .forecast_peak = phase.peak,
                                     .forecast_seconds = i < forecast.seconds.phases.size()
                                                             ? forecast.seconds.phases[i].total
                                                             : 0});
        }
        if (!options_.run_anyway)
            for (const advisor::Change& change : generation_.plan.plan.changes)
                record.changes.push_back(
                    {.knob = std::string(advisor::change_kind_name(change.kind)),
                     .from = change.from,
                     .to = change.to,
                     .saved = change.saves,
                     .seconds = change.seconds_delta});
        if (const auto graph = workflow::parse_api_workflow(job_.workflow); graph && job_.settings)
            if (const workflow::Node* const node = graph->find("6"))
                record.prompt = node->text_of("text").value_or("");
        return record;
    }

    FollowOptions follow_options(const advisor::PricedForecast& forecast, std::size_t index,
                                 std::size_t count) {
        FollowOptions follow;
        follow.timeout = options_.timeout;
        follow.cancelled = options_.cancelled;
        follow.sleep = options_.sleep;
        if (options_.on_progress)
            follow.on_progress = [this, &forecast, index, count](const JobProgress& progress) {
                const memory::Phase* const phase = phase_of(forecast.memory, progress.node_id);
                options_.on_progress(
                    {.job = progress,
                     .phase = progress.node_id.empty() ? "queued"
                              : phase ? std::string(memory::phase_kind_name(phase->kind))
                                      : "other",
                     .run = index,
                     .runs = count,
                     .forecast_seconds = forecast.seconds.total,
                     .load_line = generation_.plan.budget.load_line});
            };
        return follow;
    }

    static void record_after(const JobReport& report, history::RunRecord& record) {
        record.outcome = ends_of(report.end).outcome;
        record.error = report.why;
        record.observed_seconds = report.seconds;
        if (report.samples > 0) record.observed_peak = report.allocated_peak;
        for (history::PhaseRecord& phase : record.phases) {
            const auto node = report.nodes.find(phase.node_id);
            if (node == report.nodes.end()) continue;
            phase.observed_seconds = node->second.seconds;
            if (node->second.samples > 0) phase.observed_peak = node->second.allocated_peak;
        }
    }

    // Also of a job that did not end well. A picture that cannot be saved stays in ComfyUI's own
    // output folder: said, not lost.
    void download(const JobReport& report, history::RunRecord& record) {
        for (const ImageRef& image : report.images) {
            if (image.type != "output") continue;
            auto bytes = parts_.upstream.download(image);
            auto saved = bytes ? save_image(options_.output_dir, image.filename, *bytes)
                               : Result<std::filesystem::path>(std::unexpected(bytes.error()));
            if (!saved) {
                warn(fmt::format("{} is not saved here but is still in ComfyUI's output folder: {}",
                                 image.filename, saved.error().message));
                continue;
            }
            record.images.push_back(saved->string());
            generation_.images.push_back(std::move(*saved));
        }
        record.ended_ms = parts_.clock.unix_ms();
    }

    void keep(const history::RunRecord& record) {
        if (parts_.store == nullptr) return;
        if (const auto kept = parts_.store->record_run(record); !kept)
            warn(fmt::format("the run is not in the history: {}", kept.error().message));
    }

    void warn(std::string text) {
        if (std::ranges::find(generation_.warnings, text) == generation_.warnings.end())
            generation_.warnings.push_back(std::move(text));
    }

    Job job_;
    const Config& config_;
    const GenerateOptions& options_;
    const GenerateParts& parts_;
    Site site_;
    std::string version_;
    advisor::Forecaster forecaster_;
    Generation generation_;
};

}  // namespace

std::string_view generate_end_name(GenerateEnd end) {
    if (end == GenerateEnd::DoesNotFit) return "does_not_fit";
    return history::outcome_name(std::ranges::find(kEnds, end, &EndNames::generate)->outcome);
}

Result<Generation> generate(const Job& job, const Config& config, const GenerateOptions& options,
                            const GenerateParts& parts) {
    return Generator(job, config, options, parts).run();
}

}  // namespace plimsoll::service
