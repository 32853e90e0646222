// SPDX-License-Identifier: Apache-2.0
//
// plimsoll history export, backup, restore, check, prune: the history as a file to take care of.
#include "base/text.h"
#include "cli/commands.h"
#include "cli/history_flags.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "history/care.h"
#include "history/renewing_store.h"
#include "service/retention.h"
#include "wire/encode_history.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

namespace plimsoll::cli {

namespace {

constexpr int kExportRuns = 500;  // chosen: runs that are in memory at a time

std::string plural(std::int64_t number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

// Every run that the filter finds, oldest first, page by page.
Result<std::int64_t> export_runs(history::Store& store, const HistoryFlags& flags,
                                 const std::function<Result<void>(const std::string&)>& write) {
    const bool is_csv = flags.format == "csv";
    history::Page page{
        .limit = kExportRuns, .cursor = std::nullopt, .order = history::Order::OldestFirst};
    std::int64_t count = 0;
    std::string part = is_csv ? wire::csv_head() : "";
    while (true) {
        TRY_ASSIGN(const history::RunPage found, store.list_runs(flags.filter, page));
        for (const history::RunRecord& run : found.runs)
            part += is_csv ? wire::csv_line(run) : wire::json_line(run);
        TRY_DO(write(part));
        part.clear();
        count += static_cast<std::int64_t>(found.runs.size());
        if (!found.next) return count;
        page.cursor = found.next;
    }
}

// The file gets its name when it is whole.
Result<std::int64_t> export_to_file(history::Store& store, const HistoryFlags& flags,
                                    const std::filesystem::path& path) {
    const std::filesystem::path partial = path.string() + ".partial";
    std::ofstream file(partial, std::ios::binary | std::ios::trunc);
    const auto cannot = [&](const std::string& why) {
        std::error_code ignored;
        std::filesystem::remove(partial, ignored);
        return fail(Errc::Unavailable, fmt::format("{}: cannot be written{}", path.string(), why));
    };
    if (!file) return cannot("");
    auto count = export_runs(store, flags, [&](const std::string& part) -> Result<void> {
        file.write(part.data(), static_cast<std::streamsize>(part.size()));
        if (!file) return fail(Errc::Unavailable, "the disk is full");
        return {};
    });
    file.close();
    if (!count) return cannot(": " + count.error().message);
    if (!file) return cannot(": the disk is full");
    std::error_code error;
    std::filesystem::rename(partial, path, error);
    if (error) return cannot(": " + error.message());
    return count;
}

Result<Exit> export_history(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    if (!flags.output) {
        TRY_ASSIGN(const std::int64_t count,
                   export_runs(*store, flags, [&](const std::string& part) -> Result<void> {
                       session.out.write(part);
                       return session.out.flush();
                   }));
        (void)count;
        return Exit::Done;
    }
    TRY_ASSIGN(const std::int64_t count, export_to_file(*store, flags, *flags.output));
    if (session.json)
        session.answer({{"file", *flags.output}, {"runs", count}});
    else
        session.out.line(fmt::format("{} in {}", plural(count, "run"), plain(*flags.output)));
    return Exit::Done;
}

Result<std::filesystem::path> history_file(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    return config.history_file();
}

Result<Exit> back_up(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto file, history_file(session, flags));
    TRY_ASSIGN(const auto report, history::back_up(file, flags.file));
    if (session.json)
        session.answer(wire::encode_backup(flags.file, report));
    else
        session.out.line(fmt::format("{}: {} and {}, read through and sound", plain(flags.file),
                                     plural(report.runs, "run"), plural(report.presets, "preset")));
    return Exit::Done;
}

Result<Exit> restore(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto file, history_file(session, flags));
    std::error_code error;
    if (std::filesystem::equivalent(file, flags.file, error))
        return fail(Errc::InvalidInput, fmt::format("{} is the history itself", flags.file));
    // Renews the file first where it is damaged.
    (void)session.world.open_history(file, World::Access::Write);
    TRY_ASSIGN(const auto store, history::SqliteStore::create(file));
    TRY_ASSIGN(const auto report,
               history::take_in(*store, flags.file, history::Taking::RunsAndPresets));
    if (session.json) {
        session.answer(wire::encode_restore(report));
        return Exit::Done;
    }
    session.out.line(fmt::format("{} and {} were taken in; {} and {} were there already",
                                 plural(report.runs, "run"), plural(report.presets, "preset"),
                                 report.runs_known, report.presets_known));
    if (report.unreadable > 0)
        session.warn(fmt::format("the file has {} where nothing could be read",
                                 plural(report.unreadable, "gap")));
    return Exit::Done;
}

void draw_check(Session& session, const std::string& path, const history::CheckReport& report) {
    Screen& out = session.out;
    for (const std::string& line : report.damage) out.line("damaged: " + plain(line));
    for (const std::string& line : report.differences) out.line("differs: " + plain(line));
    if (!report.damage.empty())
        out.line(
            "plimsoll history check --repair moves the file aside, starts a new one and saves what "
            "can be read");
    else if (!report.differences.empty())
        out.line("plimsoll history check --repair makes the summaries anew from the runs");
    else
        out.line(fmt::format("{}: sound, {}, {}, schema {}", plain(path),
                             plural(report.runs, "run"), plural(report.presets, "preset"),
                             report.schema));
}

Result<Exit> check(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto file, history_file(session, flags));
    TRY_ASSIGN(history::CheckReport report, history::check_file(file));
    std::string repaired;
    if (flags.repair && !report.damage.empty()) {
        TRY_ASSIGN(const auto renewal, history::renew_if_damaged(file, session.world.clock));
        if (renewal) repaired = renewal->text();
    } else if (flags.repair && !report.is_sound()) {
        TRY_DO(history::rebuild_summaries(file));
        repaired = "the summaries were made anew from the runs";
    }
    if (!repaired.empty()) {
        TRY_ASSIGN(report, history::check_file(file));
    }
    if (session.json) {
        json::object answer = wire::encode_check(file.string(), report);
        answer["repaired"] = repaired.empty() ? json::value(nullptr) : json::value(repaired);
        session.answer(answer);
    } else {
        if (!repaired.empty()) session.out.line("repaired: " + plain(repaired));
        draw_check(session, file.string(), report);
    }
    return report.is_sound() ? Exit::Done : Exit::Failed;
}

Result<Exit> prune(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    if (!service::has_retention(config))
        return fail(Errc::InvalidInput,
                    "everything is kept for ever: say what is not with --history-days, "
                    "--history-runs or --pictures-days, or in plimsoll.toml");
    TRY_ASSIGN(const auto store,
               session.world.open_history(config.history_file(), World::Access::Write));
    TRY_ASSIGN(const auto report,
               service::apply_retention(*store, config, session.world.clock.unix_ms(),
                                        session.world.watch_interrupts()));
    if (session.json)
        session.answer(wire::encode_retention(report));
    else
        session.out.line(
            fmt::format("{} deleted ({}), {} taken out of the history",
                        plural(report.pictures_deleted, "picture"),
                        to_text(Bytes(static_cast<std::int64_t>(report.picture_bytes))),
                        plural(report.runs_retired, "run")));
    for (const std::string& problem : report.problems) session.warn(problem);
    return report.problems.empty() ? Exit::Done : Exit::Failed;
}

}  // namespace

void add_history_care(Commands& commands, CLI::App& history,
                      const std::shared_ptr<HistoryFlags>& flags) {
    const auto bound = [flags](auto act) {
        return [flags, act](Session& session) { return act(session, *flags); };
    };
    CLI::App& exporting = commands.add_below(
        history, "export", "write all runs, oldest first, as CSV or as lines of JSON",
        "plimsoll history export --format csv --output runs.csv", bound(export_history));
    exporting.add_option("--format", flags->format, "csv, or jsonl: one JSON object a line")
        ->check(CLI::IsMember({"csv", "jsonl"}))
        ->type_name("NAME");
    add_text(exporting, "--output", flags->output, "FILE", "where to; standard output otherwise");
    add_filter_flags(exporting, *flags);
    CLI::App& saving = commands.add_below(
        history, "backup", "copy the history while it is in use; the copy is read through",
        "plimsoll history backup /media/disk/plimsoll-history.db", bound(back_up));
    CLI::App& restoring = commands.add_below(
        history, "restore", "take in the runs and presets of a backup or of a damaged file",
        "plimsoll history restore /media/disk/plimsoll-history.db", bound(restore));
    for (CLI::App* const command : {&saving, &restoring})
        command->add_option("file", flags->file, "a history file")->type_name("FILE")->required();
    CLI::App& checking = commands.add_below(
        history, "check", "read everything in the history file and say whether it is sound",
        "plimsoll history check --repair", bound(check));
    checking.add_flag("--repair", flags->repair,
                      "mend what is wrong; a damaged file is moved aside, never deleted");
    CLI::App& pruning = commands.add_below(
        history, "prune", "delete what is older than is kept: pictures first, then runs",
        "plimsoll history prune --pictures-days 90", bound(prune));
    add_retention_flags(pruning, flags->config);
    add_output_flag(pruning, flags->config);
    for (CLI::App* const command : {&exporting, &saving, &restoring, &checking, &pruning})
        add_home_flags(*command, flags->config);
}

}  // namespace plimsoll::cli
