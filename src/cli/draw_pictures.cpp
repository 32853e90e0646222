// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_pictures.h"

#include "base/check.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

namespace {

using quality::Better;
using quality::MeasureFacts;
using quality::Scale;
using quality::Score;

// Four digits that mean something, in the measure's unit.
std::string number_of(const MeasureFacts& facts, double value) {
    if (std::isinf(value)) return "equal";
    if (facts.unit == "share") return fmt::format("{:.2f} %", value * 100);
    const double size = std::abs(value);
    const int digits = size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
    std::string text = fmt::format("{:.{}f}", value, digits);
    if (!facts.unit.empty()) text += fmt::format(" {}", facts.unit);
    return text;
}

std::string cell_of(const quality::Scores& scores, const MeasureFacts& facts, Scale scale) {
    const std::optional<double> value = scores.value(facts.measure, scale);
    return value ? number_of(facts, *value) : "-";
}

void draw_file(Screen& out, std::string_view role, const service::PictureFile& file) {
    out.line(fmt::format("{:<11}{}, {} x {} pixels, {} of {} bits{}", role, plain(file.name),
                         file.width, file.height, quality::name_of(file.format), file.bits,
                         file.is_grey ? ", grey" : ""));
    for (const std::string& note : file.notes) out.paragraph(std::string(11, ' '), plain(note), 11);
}

std::string likeness_words(const quality::Comparison& both) {
    switch (both.likeness) {
        case quality::Likeness::SamePicture:
            return "Both show the same picture: what follows says how much of it was kept.";
        case quality::Likeness::OtherPicture:
            return "They are different pictures: how alike they are says nothing about quality. "
                   "Hold "
                   "against each other what was made with the same prompt, seed, size and CFG, "
                   "without "
                   "a sampler that draws new noise at each step.";
        case quality::Likeness::Unknown:
            return "Whether both show the same picture cannot be told.";
    }
    CHECK(false);
}

bool has_any(const quality::Scores& scores, const MeasureFacts& facts) {
    return std::ranges::any_of(scores.all, [&](const Score& score) {
        return score.measure == facts.measure && score.value.has_value();
    });
}

std::string_view direction_of(Better better) {
    switch (better) {
        case Better::Higher:
            return "high is good";
        case Better::Lower:
            return "low is good";
        case Better::AsReference:
            return "as the reference";
    }
    CHECK(false);
}

void draw_pair(Screen& out, const quality::Scores& pair) {
    Table table({{"how alike", Table::Align::Left},
                 {"full", Table::Align::Right},
                 {"half", Table::Align::Right},
                 {"quarter", Table::Align::Right},
                 {"", Table::Align::Left}});
    bool is_empty = true;
    for (const MeasureFacts& facts : quality::all_measures()) {
        if (facts.needs != quality::Needs::Pair || !has_any(pair, facts)) continue;
        is_empty = false;
        const auto cell = [&](Scale scale) {
            return scale == Scale::Full || facts.has_scales ? cell_of(pair, facts, scale) : "";
        };
        table.row({std::string(facts.title), cell(Scale::Full), cell(Scale::Half),
                   cell(Scale::Quarter), std::string(direction_of(facts.better))});
    }
    if (is_empty) return;
    out.line();
    table.draw(out, 0);
}

// By how much the candidate differs, and whether that is for the worse. Under a hundredth of the
// reference's value nothing is said.
std::string change_of(const MeasureFacts& facts, double reference, double candidate) {
    const double change = candidate - reference;
    if (std::abs(change) <= 0.01 * std::abs(reference) || change == 0) return "same";
    const std::string_view way = change > 0 ? "more" : "less";
    if (facts.better == Better::AsReference) return std::string(way);
    // More sharpness than the reference has may be noise: only less of it is judged.
    if (facts.better == Better::Higher && change > 0) return std::string(way);
    const bool is_better = change < 0 && facts.better == Better::Lower;
    return fmt::format("{}, {}", way, is_better ? "better" : "worse");
}

void draw_pictures(Screen& out, const quality::Comparison& both) {
    Table table({{"each picture", Table::Align::Left},
                 {"reference", Table::Align::Right},
                 {"candidate", Table::Align::Right},
                 {"", Table::Align::Left}});
    for (const MeasureFacts& facts : quality::all_measures()) {
        if (facts.needs == quality::Needs::Pair) continue;
        const std::optional<double> reference = both.reference.value(facts.measure);
        const std::optional<double> candidate = both.candidate.value(facts.measure);
        if (!reference && !candidate) continue;
        table.row({std::string(facts.title), cell_of(both.reference, facts, Scale::Full),
                   cell_of(both.candidate, facts, Scale::Full),
                   reference && candidate ? change_of(facts, *reference, *candidate) : ""});
    }
    out.line();
    table.draw(out, 0);
}

// What each measure that has a value says.
void draw_meanings(Screen& out, const quality::Comparison& both) {
    out.line();
    out.line("what they say");
    for (const MeasureFacts& facts : quality::all_measures())
        if (has_any(both.pair, facts) || has_any(both.reference, facts) ||
            has_any(both.candidate, facts))
            out.paragraph(fmt::format("  {}: ", facts.title), facts.what, 4);
}

// One line a measure and reason.
void add_missing(const quality::Scores& scores, std::string_view whose,
                 std::vector<std::string>& lines) {
    for (const Score& score : scores.all) {
        if (score.value) continue;
        const MeasureFacts& facts = quality::facts_of(score.measure);
        std::string line(facts.title);
        if (facts.has_scales && score.scale != Scale::Full)
            line += fmt::format(" at {} size", quality::name_of(score.scale));
        if (!whose.empty()) line += fmt::format(" of the {}", whose);
        lines.push_back(fmt::format("{}: {}", line, score.reason));
    }
}

void draw_missing(Screen& out, const quality::Comparison& both) {
    std::vector<std::string> lines;
    add_missing(both.pair, "", lines);
    if (std::ranges::equal(both.reference.all, both.candidate.all,
                           [](const Score& a, const Score& b) { return a.reason == b.reason; })) {
        add_missing(both.candidate, "", lines);
    } else {
        add_missing(both.reference, "reference", lines);
        add_missing(both.candidate, "candidate", lines);
    }
    if (lines.empty()) return;
    out.line();
    out.line("not measured");
    for (const std::string& line : lines) out.paragraph("  ", plain(line), 4);
}

}  // namespace

void draw_picture_comparison(Screen& out, const service::PictureAnswer& answer) {
    draw_file(out, "reference", answer.reference);
    draw_file(out, "candidate", answer.candidate);
    out.line();
    out.paragraph("", likeness_words(answer.comparison), 0);
    draw_pair(out, answer.comparison.pair);
    draw_pictures(out, answer.comparison);
    draw_meanings(out, answer.comparison);
    draw_missing(out, answer.comparison);
}

}  // namespace plimsoll::cli
