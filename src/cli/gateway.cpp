// SPDX-License-Identifier: Apache-2.0
//
// plimsoll gateway: the prompts that came through a running daemon's gateway, and the word that
// lets one go which the guard refused or holds back.
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/daemon_feed.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

namespace {

struct Flags {
    ConfigFlags config;
    std::optional<std::string> url;
    std::string prompt_id;
};

Result<json::value> ask(Session& session, const Flags& flags, const std::string& method,
                        const std::string& target) {
    TRY_ASSIGN(const std::string url, session.daemon_url(flags.url, flags.config));
    auto answer = session.world.ask_daemon(
        url, session.world.environment("PLIMSOLL_TOKEN").value_or(""), method, target);
    if (!answer && answer.error().code == Errc::Unavailable)
        return fail(Errc::Unavailable, answer.error().message + std::string(kNoDaemon));
    return answer;
}

std::string text_of(const json::value& job, std::string_view field) {
    return plain(find_string(job, field).value_or(""));
}

std::string needs(const json::value& job) {
    const auto peak = find_int(job, "forecastPeakBytes");
    const auto seconds = find_number(job, "forecastSeconds");
    if (!peak || !seconds) return "unknown";
    return fmt::format("{}, {}", to_text(Bytes(*peak)), seconds_text(*seconds));
}

void draw_job(Screen& out, const json::value& job) {
    const bool waits = find_string(job, "state") == "waiting";
    std::string line =
        fmt::format("{}  {}{}  {}  {}", text_of(job, "promptId"), text_of(job, "state"),
                    waits ? fmt::format(", {}", text_of(job, "waitsFor")) : "",
                    text_of(job, "clientId").empty() ? "-" : text_of(job, "clientId"), needs(job));
    out.line(line);
    if (const std::string why = text_of(job, "why"); !why.empty()) out.paragraph("    ", why, 4);
    // What happened to it, the latest: how it goes wrong, what was done about it.
    constexpr std::size_t kEventsShown = 3;  // chosen
    const json::value* const events = find(job, "events");
    if (events != nullptr && events->is_array()) {
        const json::array& all = events->get_array();
        for (std::size_t i = all.size() - std::min(all.size(), kEventsShown); i < all.size(); ++i)
            if (all[i].is_string())
                out.paragraph("    ", plain(std::string(all[i].get_string())), 4);
    }
    if (find_bool(job, "mayRunAnyway").value_or(false))
        out.line("    plimsoll gateway run-anyway " + text_of(job, "promptId"));
}

Result<Exit> list(Session& session, const Flags& flags) {
    TRY_ASSIGN(const json::value gateway, ask(session, flags, "GET", "/api/gateway"));
    if (session.json && gateway.is_object()) {
        session.answer(gateway.get_object());
        return Exit::Done;
    }
    const json::value* const jobs = find(gateway, "jobs");
    session.out.line(fmt::format("policy {}{}", text_of(gateway, "policy"),
                                 find_bool(gateway, "paused").value_or(false) ? ", paused" : ""));
    const std::string heat = text_of(gateway, "heat");
    if (heat == "warm" || heat == "hot" || heat == "critical")
        session.out.line(fmt::format("the card is {}: {}", heat, text_of(gateway, "heatWhy")));
    if (jobs == nullptr || !jobs->is_array() || jobs->get_array().empty()) {
        session.out.line("nothing came through the gateway yet");
        return Exit::Done;
    }
    for (const json::value& job : jobs->get_array()) draw_job(session.out, job);
    return Exit::Done;
}

Result<Exit> run_anyway(Session& session, const Flags& flags) {
    TRY_ASSIGN(const json::value job,
               ask(session, flags, "POST", service::run_anyway_target(flags.prompt_id)));
    if (session.json && job.is_object()) {
        session.answer(job.get_object());
        return Exit::Done;
    }
    draw_job(session.out, job);
    session.out.paragraph("", "it goes as it is: the card may run out of memory, and the job fails",
                          0);
    return Exit::Done;
}

void add_url(CLI::App& command, Flags& flags) {
    add_text(command, "--url", flags.url, "URL",
             "of the daemon, built-in http://127.0.0.1:8190 (PLIMSOLL_LISTEN); its token, if it "
             "has one, is taken from PLIMSOLL_TOKEN");
    add_home_flags(command, flags.config);
}

}  // namespace

void add_gateway(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "gateway", "what other clients sent through a running daemon: what waits, what was refused",
        "plimsoll gateway\n  plimsoll gateway run-anyway 0b0f2c1e-7d52-4a3b-9a51-8f5f6a2a9d10",
        [flags](Session& session) { return list(session, *flags); });
    command.require_subcommand(0, 1);
    add_url(command, *flags);
    auto chosen = std::make_shared<Flags>();
    CLI::App& anyway = commands.add_below(
        command, "run-anyway",
        "send one that was refused, or that heat, room or a pause holds back: its risk is yours",
        "plimsoll gateway run-anyway 0b0f2c1e-7d52-4a3b-9a51-8f5f6a2a9d10",
        [chosen](Session& session) { return run_anyway(session, *chosen); });
    anyway.add_option("id", chosen->prompt_id, "its prompt_id, as plimsoll gateway lists it")
        ->required();
    add_url(anyway, *chosen);
}

}  // namespace plimsoll::cli
