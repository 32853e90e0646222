// SPDX-License-Identifier: Apache-2.0
//
// The words of the quality report, in each language that it can be written in. A new language is
// one more ReportWords in report_words.cpp; a test holds it to English: the same blanks, none
// missing. Names, prompts and the words of others stay as they are.
//
// Enters through: a language's code.   Leaves through: ReportWords.   Threads: constants.
#pragma once
#include "base/phrase.h"

#include <fmt/args.h>
#include <fmt/format.h>

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::service {

// Everything that the report says: {name} are blanks.
enum class ReportText : std::uint8_t {
    Title,
    Heading,
    Summary,
    Why,  // after the summary, why the session stands as it does
    GradeA,
    GradeB,
    GradeC,
    GradeD,
    Grade,
    AnswerNone,
    AnswerBest,
    AnswerChosen,
    Tied,
    PlotHeading,
    PlotLabel,
    PlotSeconds,
    PlotPoints,
    PlotSpoken,
    PlotChosen,
    PlotFront,
    PlotLegend,
    TableHeading,
    Setting,
    Seconds,
    Peak,
    Quality,
    ToBest,
    Pairs,
    ComparedBy,
    Finding,
    ByPixels,
    ByDefects,
    SettingWords,
    Tiled,
    Chosen,
    TooFew,
    Worse,
    Undecided,
    AsGood,
    Mostly,
    Reference,
    OnFront,
    Span,
    PicturesHeading,
    Block,
    ReferencePicture,
    ChosenPicture,
    PictureGone,
    NotAll,
    NoDefect,
    NoPlace,
    MarkDifference,
    Mark,
    MarkBeside,
    MarkShare,
    MarkLevels,
    VotesHeading,
    Votes,
    VotesFew,
    Strength,
    Interval,
    Wins,
    HowHeading,
    How,
    Negative,
    Count_,
};

struct ReportEntry {
    ReportText text;
    std::string_view words;
};
struct ReportCode {
    std::string_view code;  // of a phrase ("lab.paused"), or a word of ours ("noise", "done")
    std::string_view words;
};
struct ReportWords {
    std::string_view code;  // "en"
    std::string_view name;  // as the language calls itself
    std::span<const ReportEntry> texts;
    std::span<const ReportCode> codes;  // empty: English says them by itself

    [[nodiscard]] std::string_view of(ReportText text) const;
    // A word of ours; one that is not listed is shown as it is.
    [[nodiscard]] std::string word(std::string_view code) const;
    // A sentence of ours; the English one where the language does not word its code.
    [[nodiscard]] std::string say(const Phrase& phrase) const;
    template <class... Args>
    [[nodiscard]] std::string fill(ReportText text, const Args&... args) const {
        return fmt::format(fmt::runtime(of(text)), args...);
    }
};

// The first is English.
[[nodiscard]] std::span<const ReportWords> report_languages();
// English where `code` names none of them.
[[nodiscard]] const ReportWords& report_words(std::string_view code);
// "en, zh"
[[nodiscard]] std::string report_language_names();

}  // namespace plimsoll::service
