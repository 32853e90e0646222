// SPDX-License-Identifier: Apache-2.0
#include "service/generate.h"

#include "base/say.h"
#include "service/comfyui/checkpoints.h"
#include "service/ends.h"
#include "service/launch.h"
#include "service/pace.h"
#include "service/pictures.h"
#include "service/quality/findings.h"
#include "service/run_record.h"
#include "workflow/parse.h"
#include "workflow/splice.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::service {

namespace {

using std::chrono::milliseconds;

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

class Generator {
  public:
    Generator(const Job& job, const Config& config, const GenerateOptions& options,
              const GenerateParts& parts)
        : job_(job),
          config_(config),
          options_(options),
          parts_(parts),
          clock_(parts.own == nullptr ? parts.clock : parts.own->clock()) {}

    Result<Generation> run() {
        TRY_DO(find_server());
        TRY_DO(name_checkpoint());
        TRY_DO(make_plan());
        const advisor::Plan& plan = generation_.plan.plan;
        if (plan.verdict == advisor::PlanVerdict::NothingFits && !options_.run_anyway) {
            generation_.end = GenerateEnd::DoesNotFit;
            generation_.why = plan.explanation;
            return std::move(generation_);
        }
        // Before the work: a picture that cannot be saved is noticed now.
        TRY_DO(check_folder(options_.output_dir));
        if (!options_.run_anyway) TRY_DO(prepare_server(plan));
        const std::vector<std::string> workflows = options_.run_anyway || plan.workflows.empty()
                                                       ? std::vector{job_.workflow}
                                                       : plan.workflows;
        for (std::size_t i = 0; i < workflows.size() && generation_.end == GenerateEnd::Done; ++i)
            TRY_DO(run_one(workflows[i], i, workflows.size()));
        return std::move(generation_);
    }

  private:
    // Before anything is planned: who runs the job, and on which card.
    Result<void> find_server() {
        if (parts_.own == nullptr) {
            upstream_ = parts_.upstream;
        } else {
            own_flags_ = words_of(config_.comfyui_flags.value);
            // What it was started with is what it says about itself.
            config_.comfyui_flags.value.clear();
            TRY_ASSIGN(upstream_, parts_.own->start(own_flags_));
        }
        return look_at_server();
    }

    Result<void> look_at_server() {
        TRY_ASSIGN(const ServerStats stats, upstream_->read_stats());
        TRY_ASSIGN(site_, site_of_stats(config_, {}, stats, upstream_->address()));
        version_ = stats.comfyui_version;
        if (parts_.own != nullptr) site_.kind = parts_.own->kind();
        learn_pace();
        forecaster_ =
            parts_.forecaster ? parts_.forecaster(site_, job_) : forecaster_of(site_, job_);
        return {};
    }

    // Without a history that can be read the table alone is asked, and it is said.
    void learn_pace() {
        if (parts_.store == nullptr || !config_.learned.value) return;
        auto paces = read_paces(*parts_.store, site_.card_in_history());
        if (!paces)
            without_paces_ = "seconds are those of the table alone: " + paces.error().message;
        else if (paces->learned())
            site_.paces = std::make_shared<const timing::Paces>(std::move(*paces));
    }

    Result<void> name_checkpoint() {
        if (job_.checkpoint.empty()) return {};
        TRY_ASSIGN(const std::string name, name_on_server(*upstream_, job_.checkpoint));
        if (name == job_.checkpoint) return {};
        TRY_ASSIGN(job_, renamed(job_, name));
        forecaster_ =
            parts_.forecaster ? parts_.forecaster(site_, job_) : forecaster_of(site_, job_);
        return {};
    }

    Result<void> make_plan() {
        TRY_ASSIGN(const advisor::Budget budget, budget_of(config_));
        PlanWishes wishes{.pins = options_.pins,
                          .preference = options_.preference,
                          .control = parts_.own == nullptr ? advisor::ServerControl::Theirs
                                                           : advisor::ServerControl::Ours};
        std::string without_evidence;
        if (parts_.store != nullptr) {
            auto evidence = quality_evidence(*parts_.store, job_.checkpoint, config_.voter.value);
            if (evidence)
                wishes.evidence = std::move(*evidence);
            else
                without_evidence = "quality is priced by priors: " + evidence.error().message;
        }
        TRY_ASSIGN(generation_.plan, plan_job(job_, site_, budget, wishes, forecaster_));
        generation_.warnings = generation_.plan.warnings;
        for (const std::string& without : {without_evidence, without_paces_})
            if (!without.empty()) generation_.warnings.push_back(without);
        if (options_.on_plan) options_.on_plan(generation_.plan, site_);
        return {};
    }

    // A server of ours gets the flag that the plan asks for; a user's keeps what it has.
    Result<void> prepare_server(const advisor::Plan& plan) {
        if (parts_.own != nullptr && plan.reserve_vram) {
            TRY_ASSIGN(upstream_, parts_.own->start(with_reserve(own_flags_, *plan.reserve_vram)));
            return look_at_server();
        }
        const bool to_free = std::ranges::any_of(plan.environment, [](const advisor::Change& c) {
            return c.kind == advisor::ChangeKind::FreeModels;
        });
        if (!to_free) return {};
        if (const auto freed = upstream_->free_models(); !freed)
            warn(say<"note.not_freed">(freed.error().message));
        return {};
    }

    Result<void> run_one(const std::string& workflow, std::size_t index, std::size_t count) {
        TRY_ASSIGN(const advisor::PricedForecast forecast,
                   forecaster_({.workflow = workflow, .reserve_vram = std::nullopt}));
        history::RunRecord record = record_before(workflow, forecast);
        const FollowOptions follow = follow_options(forecast, index, count);
        // Written before it is submitted: a run that is cut off by kill -9 is still seen to have
        // begun.
        keep(record);
        auto report = run_job(*upstream_, workflow, record.prompt_id, parts_.random.next_uuid(),
                              clock_, follow);
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
        generation_.end = generate_end_of(report->end);
        generation_.why = report->why;
        const bool paced = parts_.own == nullptr || parts_.own->speed() > 0;
        add_report(*report, paced ? Durations::Meant : Durations::Meaningless, record);
        if (parts_.throttled_since && parts_.throttled_since(record.started_ms))
            keep_out_of_learning(record);
        download(*report, record);
        record.ended_ms = parts_.clock.unix_ms();
        keep(record);
        generation_.runs.push_back(std::move(record));
        return {};
    }

    history::RunRecord record_before(const std::string& workflow,
                                     const advisor::PricedForecast& forecast) {
        history::RunRecord record =
            make_run_record(job_, workflow, forecast, generation_.plan.budget);
        record.run_id = parts_.random.next_uuid();
        record.prompt_id = parts_.random.next_uuid();
        record.started_ms = parts_.clock.unix_ms();
        record.card = site_.card_in_history();
        record.comfyui_version = version_;
        if (options_.run_anyway) return record;
        const advisor::Plan& plan = generation_.plan.plan;
        add_changes(plan.changes, record);
        if (parts_.own != nullptr) add_changes(plan.environment, record);
        return record;
    }

    FollowOptions follow_options(const advisor::PricedForecast& forecast, std::size_t index,
                                 std::size_t count) {
        FollowOptions follow;
        follow.timeout = options_.timeout;
        follow.cancelled = options_.cancelled;
        follow.sleep = options_.sleep;
        follow.on_preview = options_.on_preview;
        // Waits are in our time: a faster server is looked at more often.
        if (parts_.own != nullptr) {
            follow.tick = tick_at(parts_.own->speed(), follow.tick);
            follow.stopwatch = &parts_.own->stopwatch();
        }
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
                     .forecast_peak = phase ? phase->peak : Bytes(0),
                     .load_line = generation_.plan.budget.load_line});
            };
        return follow;
    }

    static milliseconds tick_at(double speed, milliseconds tick) {
        constexpr milliseconds kTickMin{5};  // chosen: a request to a local server takes one
        if (speed <= 0) return kTickMin;
        return std::max(kTickMin, std::min(tick, milliseconds(static_cast<std::int64_t>(
                                                     static_cast<double>(tick.count()) / speed))));
    }

    // Also of a job that did not end well. A picture that cannot be saved stays in ComfyUI's own
    // output folder: said, not lost.
    void download(const JobReport& report, history::RunRecord& record) {
        for (const ImageRef& image : report.images) {
            if (image.type != "output") continue;
            auto bytes = upstream_->download(image);
            auto saved = bytes ? save_image(options_.output_dir, image.filename, *bytes)
                               : Result<std::filesystem::path>(std::unexpected(bytes.error()));
            if (!saved) {
                generation_.images_left.push_back(image.filename);
                warn(say<"note.not_saved">(image.filename, saved.error().message));
                continue;
            }
            record.images.push_back(saved->string());
            generation_.images.push_back(std::move(*saved));
        }
    }

    void keep(const history::RunRecord& record) {
        if (parts_.store == nullptr) {
            generation_.recorded = false;
            return;
        }
        const auto kept = parts_.store->record_run(record);
        generation_.recorded = generation_.recorded && kept.has_value();
        if (!kept) warn(say<"note.not_recorded">(kept.error().message));
    }

    void warn(Phrase phrase) {
        if (std::ranges::find(generation_.warnings, phrase) == generation_.warnings.end())
            generation_.warnings.push_back(std::move(phrase));
    }

    Job job_;
    Config config_;
    const GenerateOptions& options_;
    const GenerateParts& parts_;
    const Clock& clock_;  // the server's time: durations and deadlines
    Upstream* upstream_ = nullptr;
    std::vector<std::string> own_flags_;
    Site site_;
    std::string without_paces_;  // why; empty where they were read
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
