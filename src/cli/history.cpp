// SPDX-License-Identifier: Apache-2.0
//
// plimsoll history: what was run, forecast beside observed; trends, two runs side by side.
#include "base/text.h"
#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/draw_run.h"
#include "cli/flags.h"
#include "cli/history_flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/trends.h"
#include "wire/encode.h"
#include "wire/encode_history.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

namespace {

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

Result<Exit> list(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
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

Result<Exit> show(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
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

void add_list_flags(CLI::App& command, HistoryFlags& into) {
    add_filter_flags(command, into);
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

std::string percent_cell(const std::optional<double>& part) {
    return part ? fmt::format("{:.1f} %", 100 * *part) : "-";
}

std::string seconds_text(const std::optional<double>& seconds) {
    return seconds ? fmt::format("{:.1f}", *seconds) : "-";
}

void draw_days(Screen& out, const std::vector<history::RunStats>& days) {
    Table table({{"day", Table::Align::Left},
                 {"runs", Table::Align::Right},
                 {"done", Table::Align::Right},
                 {"out of memory", Table::Align::Right},
                 {"seconds", Table::Align::Right},
                 {"+-", Table::Align::Right},
                 {"peak MiB", Table::Align::Right},
                 {"memory off", Table::Align::Right},
                 {"time off", Table::Align::Right}});
    for (const history::RunStats& day : days)
        table.row({day.key, fmt::format("{}", day.runs), fmt::format("{}", day.done),
                   fmt::format("{}", day.out_of_memory), seconds_text(day.seconds_mean),
                   seconds_text(day.seconds_deviation),
                   day.peak_max ? mib_cell(*day.peak_max) : "-",
                   percent_cell(day.forecast_peak_error_mean),
                   percent_cell(day.forecast_seconds_error_mean)});
    table.draw(out, 0);
}

Result<Exit> show_trends(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    const auto by = flags.by == "model"  ? history::StatsBy::Model
                    : flags.by == "card" ? history::StatsBy::Card
                                         : history::StatsBy::Day;
    TRY_ASSIGN(const auto trends, service::trends_of(*store, flags.filter, by));
    if (session.json) {
        session.answer(wire::encode_trends(flags.by, trends));
        return Exit::Done;
    }
    for (const service::Trend& trend : trends) {
        const bool is_split = flags.by != "day";
        if (is_split)
            session.out.line(fmt::format("{}, {} runs", plain(trend.key), trend.total.runs));
        if (trend.days.empty())
            session.out.line("no such runs yet: plimsoll generate records each one");
        else
            draw_days(session.out, trend.days);
    }
    const bool has_many = std::ranges::any_of(trends, [](const service::Trend& trend) {
        return trend.total.runs >= history::kSummedByWordsMax;
    });
    if (flags.filter.text && has_many)
        session.out.line(fmt::format("many runs have these words: the newest {} are added up",
                                     history::kSummedByWordsMax));
    return Exit::Done;
}

Result<Exit> compare(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    TRY_ASSIGN(const history::RunRecord left, store->read_run(flags.run_id));
    TRY_ASSIGN(const history::RunRecord right, store->read_run(flags.other_id));
    const json::object comparison = wire::encode_comparison(left, right);
    if (session.json) {
        session.answer(comparison);
        return Exit::Done;
    }
    const auto cell = [](const json::value& value) {
        if (value.is_null()) return std::string("-");
        return plain(value.is_string() ? std::string(value.as_string()) : json::serialize(value));
    };
    Table table({{"", Table::Align::Left},
                 {short_id(left.run_id), Table::Align::Left},
                 {short_id(right.run_id), Table::Align::Left},
                 {"change", Table::Align::Right}});
    for (const json::value& one : comparison.at("differences").as_array())
        table.row({cell(one.at("field")), cell(one.at("left")), cell(one.at("right")),
                   cell(one.at("change"))});
    if (comparison.at("differences").as_array().empty())
        session.out.line("both runs were alike");
    else
        table.draw(session.out, 0);
    return Exit::Done;
}

}  // namespace

void add_filter_flags(CLI::App& command, HistoryFlags& into) {
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
}

Result<std::unique_ptr<history::Store>> open_history(Session& session, const HistoryFlags& flags,
                                                     World::Access access) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    return session.world.open_history(config.history_file(), access);
}

void add_history(Commands& commands) {
    auto flags = std::make_shared<HistoryFlags>();
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
    CLI::App& comparing =
        commands.add_below(history, "compare", "show in what two runs differ",
                           "plimsoll history compare 3f2a91c0 b71e",
                           [flags](Session& session) { return compare(session, *flags); });
    comparing.add_option("left", flags->run_id, "a run's id, or the first characters of it")
        ->type_name("RUN")
        ->required();
    comparing.add_option("right", flags->other_id, "another one's")->type_name("RUN")->required();
    add_home_flags(comparing, flags->config);
    CLI::App& trends = commands.add_below(
        history, "trends", "show how runs went day by day, of all or of each model or card",
        "plimsoll history trends --by model --since 2025-11-01",
        [flags](Session& session) { return show_trends(session, *flags); });
    trends.add_option("--by", flags->by, "day (one line of all runs), model or card")
        ->check(CLI::IsMember({"day", "model", "card"}))
        ->type_name("NAME");
    add_filter_flags(trends, *flags);
    add_home_flags(trends, flags->config);
    add_history_paces(commands, history, flags);
    add_history_care(commands, history, flags);
}

}  // namespace plimsoll::cli
