// SPDX-License-Identifier: Apache-2.0
//
// plimsoll quality report, look, pairs, votes: what a session shows, and votes as files.
#include "base/byte_source.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "quality/lab/setting.h"
#include "service/quality/draw.h"
#include "service/quality/look.h"
#include "service/quality/report.h"
#include "service/quality/report_words.h"
#include "service/quality/votes.h"
#include "wire/encode_quality.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kVoteFileBytesMax = std::size_t{16}
                                          << 20;  // chosen: far above the most votes
constexpr int kPairsListed = 20;                  // unless asked otherwise

struct Flags {
    ConfigFlags config;
    std::string session_id;
    std::optional<std::string> output;
    std::optional<std::string> language;
    std::optional<std::string> import;
    std::optional<std::string> map;
    std::optional<int> candidate;
    std::optional<int> block;
    std::optional<int> count;
};

// The history and the session of the flags.
struct Known {
    std::unique_ptr<history::Store> store;
    quality::Session session;
};
Result<Known> open_session(Session& session, const Flags& flags, World::Access access) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(auto store, session.world.open_history(config.history_file(), access));
    TRY_ASSIGN(quality::Session known, service::load_session(*store, flags.session_id));
    return Known{.store = std::move(store), .session = std::move(known)};
}

Result<void> write_text(const std::string& path, const std::string& text) {
    return write_file_atomically(path, std::as_bytes(std::span(text)));
}

Result<Exit> report(Session& session, const Flags& flags) {
    TRY_ASSIGN(const Known known, open_session(session, flags, World::Access::Read));
    TRY_ASSIGN(const service::VoteCount votes, service::count_votes(known.session, *known.store));
    const std::string language = flags.language.value_or("en");
    if (std::ranges::find(service::report_languages(), language, &service::ReportWords::code) ==
        service::report_languages().end())
        return fail(Errc::InvalidInput, fmt::format("--language '{}' is none of {}", language,
                                                    service::report_language_names()));
    const std::string html = service::write_report(known.session, votes, language);
    const std::string path = flags.output.value_or(
        fmt::format("plimsoll-quality-{}.html", flags.session_id.substr(0, 8)));
    TRY_DO(write_text(path, html));
    if (session.json)
        session.answer({{"sessionId", known.session.plan().session_id},
                        {"report", path},
                        {"bytes", html.size()}});
    else
        session.out.line(fmt::format("written    {} ({:.1f} MiB)", plain(path),
                                     static_cast<double>(html.size()) / (1 << 20)));
    return Exit::Done;
}

Result<Exit> look(Session& session, const Flags& flags) {
    if (!flags.candidate || !flags.block)
        return fail(Errc::InvalidInput, "which picture? --candidate N --block N");
    const quality::Cell cell{static_cast<std::size_t>(*flags.candidate),
                             static_cast<std::size_t>(*flags.block)};
    TRY_ASSIGN(const Known known, open_session(session, flags, World::Access::Read));
    TRY_ASSIGN(const service::DefectMark mark, service::mark_defect(known.session, cell));
    if (flags.map) {
        TRY_ASSIGN(const std::string map,
                   service::draw_map(known.session, cell, service::kLookSideMax));
        TRY_DO(write_text(*flags.map, map));
    }
    const std::string& file = known.session.picture(cell)->file;
    if (session.json) {
        json::object out = wire::encode_mark(mark);
        out["file"] = file;
        if (flags.map) out["map"] = *flags.map;
        session.answer(out);
        return Exit::Done;
    }
    session.out.paragraph(
        "setting  ", quality::setting_words(known.session.plan().entrants[cell.candidate].setting),
        9);
    session.out.paragraph("file     ", plain(file), 9);
    session.out.paragraph("lost for ", service::mark_words(mark), 9);
    if (mark.place)
        session.out.line(fmt::format("where    {} x {} pixels at {}, {} of {} x {}",
                                     mark.place->width, mark.place->height, mark.place->x,
                                     mark.place->y, mark.width, mark.height));
    if (flags.map) session.out.line(fmt::format("written  {}", plain(*flags.map)));
    return Exit::Done;
}

// JSON in either case: it is for scripts, with the files of the pictures.
Result<Exit> pairs(Session& session, const Flags& flags) {
    TRY_ASSIGN(const Known known, open_session(session, flags, World::Access::Read));
    TRY_ASSIGN(
        const service::PairList listed,
        service::next_blind_pairs(known.session, *known.store,
                                  static_cast<std::size_t>(flags.count.value_or(kPairsListed)),
                                  session.world.random));
    json::object out = wire::encode_pairs(known.session.plan().session_id, listed);
    json::array& rows = out.at("pairs").as_array();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].as_object()["left"].as_object()["file"] =
            known.session.picture(listed[i].pair.left)->file;
        rows[i].as_object()["right"].as_object()["file"] =
            known.session.picture(listed[i].pair.right)->file;
    }
    if (!flags.output) {
        session.answer(out);
        return Exit::Done;
    }
    TRY_DO(write_text(*flags.output, json::serialize(out) + "\n"));
    if (session.json)
        session.answer({{"sessionId", known.session.plan().session_id},
                        {"pairs", rows.size()},
                        {"file", *flags.output}});
    else
        session.out.line(fmt::format(
            "{} pairs in {}: fill in preferred (left, right, neither), then plimsoll quality votes "
            "{} --import {}",
            rows.size(), plain(*flags.output), known.session.plan().session_id,
            plain(*flags.output)));
    return Exit::Done;
}

void draw_votes(Screen& out, const quality::Session& known, const service::VoteCount& count) {
    out.line(count.standings.enough()
                 ? fmt::format("{} votes", count.standings.votes)
                 : fmt::format("{} votes, not enough to say anything before {}",
                               count.standings.votes, quality::kVotesMin));
    Table table({{"setting", Table::Align::Left},
                 {"strength", Table::Align::Right},
                 {"95 %", Table::Align::Right},
                 {"wins", Table::Align::Right}});
    for (const std::size_t candidate : count.candidates) {
        const quality::Strength& one = count.standings.strengths[candidate];
        table.row({quality::setting_words(known.plan().entrants[candidate].setting),
                   fmt::format("{:+.2f}", one.value),
                   fmt::format("{:+.2f} to {:+.2f}", one.interval.low, one.interval.high),
                   fmt::format("{:.0f} %", 100 * one.wins_against_all)});
    }
    table.draw(out, 0);
}

Result<Exit> votes(Session& session, const Flags& flags) {
    TRY_ASSIGN(
        const Known known,
        open_session(session, flags, flags.import ? World::Access::Write : World::Access::Read));
    if (flags.import) {
        TRY_ASSIGN(const std::string text, read_text_file(*flags.import, kVoteFileBytesMax));
        auto ballots = service::parse_ballots(text);
        if (!ballots) return fail_at(*flags.import, ballots.error());
        TRY_DO(service::cast_votes(known.session, *known.store, *ballots,
                                   session.world.clock.unix_ms(), session.world.random));
    }
    TRY_ASSIGN(const service::VoteCount count, service::count_votes(known.session, *known.store));
    const std::string& id = known.session.plan().session_id;
    if (flags.output) {
        TRY_ASSIGN(const auto ballots, service::list_ballots(known.session, *known.store));
        TRY_DO(
            write_text(*flags.output, json::serialize(wire::encode_ballots(id, ballots)) + "\n"));
    }
    if (session.json)
        session.answer(wire::encode_votes(id, count));
    else
        draw_votes(session.out, known.session, count);
    return Exit::Done;
}

void add_session_id(CLI::App& command, Flags& into) {
    command.add_option("session", into.session_id, "a session's id")
        ->type_name("SESSION")
        ->required();
    add_home_flags(command, into.config);
}

}  // namespace

void add_quality_look(Commands& commands, CLI::App& quality) {
    auto flags = std::make_shared<Flags>();
    const auto bound = [flags](auto act) {
        return [flags, act](Session& session) { return act(session, *flags); };
    };
    CLI::App& reporting = commands.add_below(
        quality, "report", "a session as one HTML file with its pictures, which opens anywhere",
        "plimsoll quality report SESSION --output report.html", bound(report));
    add_session_id(reporting, *flags);
    add_text(reporting, "--output", flags->output, "FILE",
             "where it is written; built-in plimsoll-quality-SESSION.html here");
    add_text(reporting, "--language", flags->language, "CODE",
             "of what it says: " + service::report_language_names() + "; built-in en");
    CLI::App& looking = commands.add_below(
        quality, "look", "what a picture lost for, and where that is to be seen",
        "plimsoll quality look SESSION --candidate 2 --block 0 --map difference.png", bound(look));
    add_session_id(looking, *flags);
    add_whole(looking, "--candidate", flags->candidate, {0, 99, 1}, "the setting's number");
    add_whole(looking, "--block", flags->block, {0, 99, 1}, "the number of prompt and seed");
    add_text(looking, "--map", flags->map, "FILE", "write what differs from the reference, as PNG");
    CLI::App& pairing = commands.add_below(
        quality, "pairs", "pairs of pictures to be judged blind, as JSON for scripts",
        "plimsoll quality pairs SESSION --count 40 --output pairs.json", bound(pairs));
    add_session_id(pairing, *flags);
    add_whole(pairing, "--count", flags->count,
              {1, static_cast<long long>(service::kPairsListedMax), 1}, "how many; built-in 20");
    add_text(pairing, "--output", flags->output, "FILE", "where they are written; built-in here");
    CLI::App& voting = commands.add_below(
        quality, "votes", "what the votes of a session say; votes from and to files",
        "plimsoll quality votes SESSION --import pairs.json", bound(votes));
    add_session_id(voting, *flags);
    add_text(voting, "--import", flags->import, "FILE",
             "votes cast elsewhere: pairs with preferred filled in, or a list that was written");
    add_text(voting, "--output", flags->output, "FILE", "write all votes as JSON");
}

}  // namespace plimsoll::cli
