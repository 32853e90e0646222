// SPDX-License-Identifier: Apache-2.0
//
// plimsoll largest: how far can width, height, batch, frames, the VAE's tiles, steps or CFG go
// before the job no longer fits?
#include "advisor/largest.h"

#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/forecast.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace plimsoll::cli {

namespace {

struct Flags {
    JobFlags job;
    ConfigFlags config;
    advisor::Knob knob = advisor::Knob::Width;
};

void draw_largest(Session& session, const Session::Question& question,
                  const service::LargestAnswer& answer) {
    Screen& out = session.out;
    const std::string_view knob = advisor::knob_name(answer.knob);
    draw_job(out, question.job, answer.where.message(), question.config, answer.budget);
    const advisor::Largest& largest = answer.largest;
    if (largest.value)
        out.line(fmt::format("largest    {} {}", knob,
                             out.styled(Style::Bold, fmt::format("{}", *largest.value))));
    else
        out.line(
            fmt::format("largest    {}", out.styled(Style::Bad, fmt::format("no {} fits", knob))));
    if (!largest.next_value_fails_because.empty())
        out.paragraph("above it   ", plain(largest.next_value_fails_because), 11);
    draw_phases(out, largest.forecast, answer.budget);
    draw_verdict(out, answer.verdict, advisor::judge(largest.forecast, answer.budget));
    draw_warnings(out, answer.warnings);
}

Result<Exit> largest(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto question, session.read_question(flags.config, flags.job));
    TRY_ASSIGN(const service::LargestAnswer answer,
               service::largest_job(question.job, question.site, question.budget, flags.knob));
    if (session.json)
        session.answer(wire::encode_largest(answer));
    else
        draw_largest(session, question, answer);
    return answer.largest.value ? Exit::Done : Exit::DoesNotFit;
}

}  // namespace

void add_largest(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "largest",
        "say how far width, height, batch, frames, the VAE's tile, steps or cfg can go "
        "before the job no longer fits the memory or the time",
        "plimsoll largest width --model sdxl-base --height 1024 --card rtx3050-6gb",
        [flags](Session& session) { return largest(session, *flags); });
    add_checked(command, "knob", "KNOB", "width, height, batch, frames, tile, steps or cfg",
                [flags](const std::string& text) -> std::string {
                    const auto knob = advisor::parse_knob(text);
                    if (!knob) return knob.error().message;
                    flags->knob = *knob;
                    return {};
                })
        .required();
    add_job_flags(command, flags->job, WorkflowBy::Position);
    add_site_flags(command, flags->config);
    add_server_flags(command, flags->config);
    add_limit_flags(command, flags->config);
    add_home_flags(command, flags->config);
}

}  // namespace plimsoll::cli
