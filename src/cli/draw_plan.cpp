// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_plan.h"

#include "cli/text.h"

#include <fmt/format.h>

#include <string>

namespace plimsoll::cli {

namespace {

Style style_of(advisor::PlanVerdict verdict) {
    switch (verdict) {
        case advisor::PlanVerdict::Fits:
        case advisor::PlanVerdict::FitsChanged:
            return Style::Good;
        case advisor::PlanVerdict::FitsParked:
        case advisor::PlanVerdict::Unknown:
            return Style::Notice;
        case advisor::PlanVerdict::NothingFits:
            break;
    }
    return Style::Bad;
}

std::string_view words_of(advisor::PlanVerdict verdict) {
    switch (verdict) {
        case advisor::PlanVerdict::Fits:
            return "fits as it is";
        case advisor::PlanVerdict::FitsChanged:
            return "fits with changes";
        case advisor::PlanVerdict::FitsParked:
            return "fits, but parked weights stand above the line";
        case advisor::PlanVerdict::NothingFits:
            return "nothing fits";
        case advisor::PlanVerdict::Unknown:
            break;
    }
    return "not understood well enough to judge, runs as it is";
}

std::string quality_words(const advisor::Change& change) {
    std::string text =
        change.quality_words.empty() ? "none" : plain(change.quality_words.message());
    if (change.changes_composition) text += ", another composition";
    return text;
}

// What it is, and below what it costs: both may be long.
void draw_change(Screen& screen, int number, const advisor::Change& change) {
    screen.paragraph(fmt::format("  {}. ", number), plain(change.what.message()), 5);
    screen.paragraph("     ",
                     fmt::format("{:+.2f} GiB   {:+.2f} s   quality: {}{}", -change.saves.gib(),
                                 change.seconds_delta, quality_words(change),
                                 change.needs_restart ? "   needs a restart" : ""),
                     5);
}

}  // namespace

void draw_plan(Screen& screen, const advisor::Plan& plan, const advisor::Budget& budget,
               advisor::ServerControl control) {
    screen.line(fmt::format("{}: {}", screen.styled(Style::Bold, "plan"),
                            screen.styled(style_of(plan.verdict), words_of(plan.verdict))));
    if (plan.verdict == advisor::PlanVerdict::NothingFits && !plan.changes.empty())
        screen.line("  what helps, but not enough:");
    int number = 0;
    for (const advisor::Change& change : plan.changes) draw_change(screen, ++number, change);
    for (const advisor::Change& change : plan.environment) draw_change(screen, ++number, change);
    const bool advised = control == advisor::ServerControl::Theirs && plan.reserve_vram.has_value();
    if (advised)
        screen.paragraph("  ",
                         "the server's flag is advice: your ComfyUI keeps its own until you start "
                         "it with this one",
                         2);
    screen.paragraph("  ", plain(plan.explanation.message()), 2);
    if (plan.workflows.size() > 1)
        screen.line(fmt::format("  {} runs, together {}", plan.workflows.size(),
                                seconds_text(plan.seconds_all)));
    if (plan.after.memory.peak != plan.before.memory.peak) {
        screen.line(fmt::format("  peak  {} -> {}, the line is at {}",
                                to_text(plan.before.memory.peak), to_text(plan.after.memory.peak),
                                to_text(budget.load_line)));
        screen.line(fmt::format("  time  {} -> {}", seconds_text(plan.before.seconds.total),
                                seconds_text(plan.seconds_all)));
    }
    for (const Phrase& refused : plan.refused) {
        screen.paragraph("  not touched: ", plain(refused.message()), 4);
    }
    screen.paragraph("  run anyway: ", plain(plan.run_anyway.message()), 4);
}

}  // namespace plimsoll::cli
