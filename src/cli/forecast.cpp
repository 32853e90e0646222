// SPDX-License-Identifier: Apache-2.0
//
// plimsoll forecast: what will the job need, and why?
#include "service/forecast.h"

#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "wire/encode.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace plimsoll::cli {

namespace {

struct Flags {
    JobFlags job;
    ConfigFlags config;
    bool explain = false;
};

Result<Exit> forecast(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto question, session.read_question(flags.config, flags.job));
    TRY_ASSIGN(const service::ForecastAnswer answer,
               service::forecast_job(question.job, question.site, question.budget));
    if (session.json) {
        session.answer(wire::encode_forecast(answer));
    } else {
        Screen& out = session.out;
        draw_job(out, question.job, answer.where.message(), question.config, answer.budget);
        draw_phases(out, answer.forecast, answer.budget);
        draw_learned(out, answer.forecast.seconds);
        draw_host(out, answer.forecast.memory);
        draw_verdict(out, answer.verdict, answer.judged);
        draw_warnings(out, answer.warnings);
        if (flags.explain) draw_reasons(out, answer.forecast);
    }
    return answer.verdict == memory::Verdict::WillNotFit ? Exit::DoesNotFit : Exit::Done;
}

}  // namespace

void add_forecast(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command =
        commands.add("forecast", "say how much memory and time a job needs, phase by phase",
                     "plimsoll forecast --model sdxl-base --width 1024 --height 1024 --card "
                     "rtx3050-6gb\n  plimsoll forecast my_workflow.json --explain",
                     [flags](Session& session) { return forecast(session, *flags); });
    add_job_flags(command, flags->job, WorkflowBy::Position);
    add_site_flags(command, flags->config);
    add_server_flags(command, flags->config);
    add_limit_flags(command, flags->config);
    add_home_flags(command, flags->config);
    command
        .add_flag("--explain", flags->explain,
                  "add the tensors at each peak and why models stay, leave or are streamed")
        ->group("Output");
}

}  // namespace plimsoll::cli
