// SPDX-License-Identifier: Apache-2.0
//
// plimsoll history: what was run, forecast beside observed.
#include "base/text.h"
#include "cli/commands.h"
#include "cli/draw_run.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <ctime>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

namespace {

struct Flags {
    ConfigFlags config;
    history::RunFilter filter;
    std::optional<int> limit;
    std::optional<std::int64_t> cursor;
    std::string run_id;
};

// Midnight (local time) of "2025-11-25".
std::optional<std::int64_t> parse_date(const std::string& text) {
    const auto parts = split(text, '-');
    if (parts.size() != 3 || parts[0].size() != 4) return std::nullopt;
    const auto year = parse_integer(parts[0]);
    const auto month = parse_integer(parts[1]);
    const auto day = parse_integer(parts[2]);
    if (!year || !month || !day || *month < 1 || *month > 12 || *day < 1 || *day > 31)
        return std::nullopt;
    std::tm local{};
    local.tm_year = static_cast<int>(*year) - 1900;
    local.tm_mon = static_cast<int>(*month) - 1;
    local.tm_mday = static_cast<int>(*day);
    local.tm_isdst = -1;  // the system knows
    const std::time_t seconds = std::mktime(&local);
    if (seconds == -1) return std::nullopt;
    return static_cast<std::int64_t>(seconds) * 1000;
}

Result<std::unique_ptr<history::Store>> open_history(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    return session.world.open_history(config.history_file(), World::Access::Read);
}

Result<Exit> list(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags));
    TRY_ASSIGN(const history::RunPage page,
               store->list_runs(flags.filter,
                                {.limit = flags.limit.value_or(20), .cursor = flags.cursor}));
    if (session.json) {
        session.answer(wire::encode_history(page));
        return Exit::Done;
    }
    Screen& out = session.out;
    if (page.runs.empty()) {
        out.line("no such runs yet: plimsoll generate records each one");
        return Exit::Done;
    }
    draw_runs(out, page.runs, session.world.clock.unix_ms());
    if (page.next) out.line(fmt::format("older runs: add --cursor {}", *page.next));
    out.line("plimsoll history show RUN has the phases of a run");
    return Exit::Done;
}

Result<Exit> show(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags));
    TRY_ASSIGN(const history::RunRecord run, store->read_run(flags.run_id));
    if (session.json)
        session.answer(wire::encode_run(run));
    else
        draw_run(session.out, run);
    return Exit::Done;
}

void add_date(CLI::App& command, const std::string& flag, std::optional<std::int64_t>& into,
              const std::string& what) {
    add_checked(command, flag, "YYYY-MM-DD", what, [&into](const std::string& text) -> std::string {
        into = parse_date(text);
        return into ? "" : fmt::format("'{}' is no date such as 2025-11-25", text);
    });
}

void add_list_flags(CLI::App& command, Flags& into) {
    add_text(command, "--model", into.filter.model, "NAME", "only runs of this model");
    add_text(command, "--family", into.filter.family, "NAME", "only runs of this family");
    add_text(command, "--card", into.filter.card, "NAME", "only runs on this card");
    add_checked(command, "--outcome", "NAME",
                "done, out_of_memory, failed, cancelled, timed_out, lost or running",
                [&into](const std::string& text) -> std::string {
                    into.filter.outcome = history::parse_outcome(text);
                    return into.filter.outcome
                               ? ""
                               : fmt::format(
                                     "'{}' is not one of done, out_of_memory, failed, "
                                     "cancelled, timed_out, lost, running",
                                     text);
                });
    add_checked(
        command, "--verdict", "NAME", "fits, fits_slowly, will_not_fit or unknown",
        [&into](const std::string& text) -> std::string {
            into.filter.verdict = text;
            for (const auto* const known : {"fits", "fits_slowly", "will_not_fit", "unknown"})
                if (text == known) return {};
            return fmt::format("'{}' is not one of fits, fits_slowly, will_not_fit, unknown", text);
        });
    add_text(command, "--text", into.filter.text, "WORDS",
             "only runs whose prompt has all these words");
    add_date(command, "--since", into.filter.since_ms,
             "only runs that started on this day or later");
    add_date(command, "--before", into.filter.before_ms, "only runs that started before this day");
    add_whole(command, "--limit", into.limit, {1, history::kPageRunsMax}, "runs on a page");
    add_checked(command, "--cursor", "N", "where the next page begins: nextCursor of the last one",
                [&into](const std::string& text) -> std::string {
                    const auto value = parse_integer(text);
                    if (!value) return fmt::format("'{}' is no cursor", text);
                    into.cursor = *value;
                    return {};
                });
    add_home_flags(command, into.config);
}

}  // namespace

void add_history(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    const auto listing = [flags](Session& session) { return list(session, *flags); };
    CLI::App& history = commands.add("history", "list recorded runs, newest first, or show one",
                                     "plimsoll history --model sdxl-base --limit 10", listing);
    history.require_subcommand(0, 1);
    add_list_flags(history, *flags);
    CLI::App& listed = commands.add_below(history, "list", "list recorded runs, newest first",
                                          "plimsoll history list --outcome out_of_memory", listing);
    add_list_flags(listed, *flags);
    CLI::App& showing =
        commands.add_below(history, "show", "show one run: its phases, forecast beside observed",
                           "plimsoll history show 3f2a91c0 --json",
                           [flags](Session& session) { return show(session, *flags); });
    showing.add_option("run", flags->run_id, "its id, or the first characters of it")
        ->type_name("RUN")
        ->required();
    add_home_flags(showing, flags->config);
}

}  // namespace plimsoll::cli
