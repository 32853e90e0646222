// SPDX-License-Identifier: Apache-2.0
//
// plimsoll history paces: by what this machine's runs say that the table's seconds are multiplied.
#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/history_flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/pace.h"
#include "wire/encode_history.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <string>
#include <utility>
#include <vector>

namespace plimsoll::cli {

namespace {

using PacesOfCard = std::pair<std::string, timing::Paces>;

std::vector<std::string> pace_cells(const std::string& card, const std::string& kind,
                                    const std::string& family, const timing::Pace& pace) {
    return {plain(card),
            plain(kind),
            plain(family),
            fmt::format("{}", pace.runs),
            fmt::format("{:.2f} x", pace.factor),
            fmt::format("{:.2f} to {:.2f}", pace.low, pace.high)};
}

void draw_paces(Screen& screen, const std::vector<PacesOfCard>& cards) {
    Table table({{"card", Table::Align::Left},
                 {"work", Table::Align::Left},
                 {"family", Table::Align::Left},
                 {"runs", Table::Align::Right},
                 {"the table", Table::Align::Right},
                 {"nine of ten", Table::Align::Right}});
    bool any = false;
    for (const auto& [card, paces] : cards) {
        if (!paces.learned()) continue;
        any = true;
        for (const timing::PaceOfWork& work : paces.works)
            table.row(pace_cells(card, spoken(work.kind), work.family, work.pace));
        table.row(pace_cells(card, "what it never ran", "", paces.card));
    }
    if (any)
        table.draw(screen, 0);
    else
        screen.line("nothing is learned yet: runs that are done teach how long work takes here");
}

Result<Exit> paces(Session& session, const HistoryFlags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    std::vector<std::string> names;
    if (flags.filter.card) {
        names.push_back(*flags.filter.card);
    } else {
        TRY_ASSIGN(const auto cards, store->stats_of({}, history::StatsBy::Card));
        for (const history::RunStats& card : cards) names.push_back(card.key);
    }
    std::vector<PacesOfCard> learned;
    for (const std::string& name : names) {
        TRY_ASSIGN(timing::Paces of_card, service::read_paces(*store, name));
        learned.emplace_back(name, std::move(of_card));
    }
    if (!session.json) {
        draw_paces(session.out, learned);
        return Exit::Done;
    }
    json::array list;
    for (const auto& [card, of_card] : learned)
        list.emplace_back(wire::encode_paces(card, of_card));
    session.answer({{"cards", std::move(list)}});
    return Exit::Done;
}

}  // namespace

void add_history_paces(Commands& commands, CLI::App& history,
                       const std::shared_ptr<HistoryFlags>& flags) {
    CLI::App& command = commands.add_below(
        history, "paces", "show how much longer work takes here than the table of cards says",
        "plimsoll history paces --card rtx3060-12gb",
        [flags](Session& session) { return paces(session, *flags); });
    add_text(command, "--card", flags->filter.card, "NAME", "only this card");
    add_home_flags(command, flags->config);
}

}  // namespace plimsoll::cli
