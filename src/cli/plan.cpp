// SPDX-License-Identifier: Apache-2.0
//
// plimsoll plan: what to change so that the job stays under the load line, and at what price?
#include "base/byte_source.h"
#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/draw_plan.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/forecast.h"
#include "service/profiles.h"
#include "service/quality/findings.h"
#include "service/quality/score.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::cli {

namespace {

struct Flags {
    JobFlags job;
    ConfigFlags config;
    PlanFlags plan;
    std::string output;  // a file, or "-" for standard output
};

// One workflow goes into the file itself, several (a split batch) into numbered ones beside it.
std::filesystem::path path_of_run(const std::filesystem::path& file, std::size_t run,
                                  std::size_t runs) {
    if (runs == 1) return file;
    std::filesystem::path path = file;
    return path.replace_filename(
        fmt::format("{}.{}{}", file.stem().string(), run + 1, file.extension().string()));
}

Result<void> write_workflows(Session& session, const std::vector<std::string>& workflows,
                             const std::filesystem::path& file) {
    for (std::size_t i = 0; i < workflows.size(); ++i) {
        const auto path = path_of_run(file, i, workflows.size());
        TRY_DO(write_file_atomically(path, std::as_bytes(std::span(workflows[i]))));
        if (!session.json) session.out.line(fmt::format("written    {}", path.string()));
    }
    return {};
}

// Of settings, not of a workflow of the user's own. Without a history nothing was measured.
void draw_score(Session& session, const service::Job& job, const service::Config& config) {
    const auto profiles = service::read_profiles(config);
    if (!job.settings || !profiles) return;
    const auto profile = advisor::find_profile(job.settings->model, profiles->all);
    if (!profile) return;
    std::vector<service::MeasuredQuality> measured;
    if (const auto store = session.world.open_history(config.history_file(), World::Access::Read))
        if (auto found = service::measured_of(**store, profile->name)) measured = std::move(*found);
    const service::QualityScore score = service::score_of(*job.settings, *profile, measured);
    session.out.paragraph(
        "  quality: ",
        fmt::format("{:.0f} of 100 ({:.0f} to {:.0f}): {}", score.points, score.interval.low,
                    score.interval.high, plain(score.words.message())),
        4);
}

Result<Exit> plan(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto question, session.read_question(flags.config, flags.job));
    // Without a history prices come from priors.
    advisor::QualityEvidence evidence;
    if (const auto store =
            session.world.open_history(question.config.history_file(), World::Access::Read))
        evidence =
            service::quality_evidence(**store, question.job.checkpoint, question.config.voter.value)
                .value_or(advisor::QualityEvidence());
    TRY_ASSIGN(const service::PlanAnswer answer,
               service::plan_job(question.job, question.site, question.budget,
                                 {.pins = flags.plan.pins,
                                  .preference = flags.plan.preference,
                                  .control = advisor::ServerControl::Theirs,
                                  .evidence = std::move(evidence)}));
    const Exit exit =
        answer.plan.verdict == advisor::PlanVerdict::NothingFits ? Exit::DoesNotFit : Exit::Done;
    Screen& out = session.out;
    if (flags.output == "-") {
        for (const std::string& workflow : answer.plan.workflows) out.write(workflow);
        return exit;
    }
    if (session.json) {
        session.answer(wire::encode_plan(answer));
    } else {
        draw_job(out, question.job, answer.where.message(), question.config, answer.budget);
        draw_phases(out, answer.plan.before, answer.budget);
        draw_verdict(out, answer.verdict_before, answer.plan.judged_before);
        out.line();
        draw_plan(out, answer.plan, answer.budget, advisor::ServerControl::Theirs);
        draw_score(session, question.job, question.config);
        draw_warnings(out, answer.warnings);
    }
    if (!flags.output.empty())
        TRY_DO(write_workflows(session, answer.plan.workflows, flags.output));
    return exit;
}

}  // namespace

void add_plan(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "plan", "say what to change so that a job stays under the load line, with the price",
        "plimsoll plan my_workflow.json --pin steps,seed --output my_workflow.fits.json",
        [flags](Session& session) { return plan(session, *flags); });
    add_job_flags(command, flags->job, WorkflowBy::Position);
    add_plan_flags(command, flags->plan);
    add_site_flags(command, flags->config);
    add_server_flags(command, flags->config);
    add_limit_flags(command, flags->config);
    add_home_flags(command, flags->config);
    command
        .add_option("--output", flags->output,
                    "write the changed workflow; - for standard output, and nothing else there")
        ->type_name("FILE")
        ->group("Output");
}

}  // namespace plimsoll::cli
