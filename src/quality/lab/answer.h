// SPDX-License-Identifier: Apache-2.0
//
// What a session found out: the cheapest setting that is not worse than the best, what cannot be
// told apart from the best, the front of quality, seconds and memory, and why each of the others
// lost. Every claim carries how sure it is. Pure.
#pragma once
#include "quality/lab/estimate.h"
#include "quality/lab/race.h"
#include "quality/lab/table.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

enum class Finding : std::uint8_t {
    Best,       // none was better
    NotWorse,   // at most the margin below the best, with 95 % confidence
    Undecided,  // neither shown to be worse nor to be as good
    Worse,      // below the best, with 95 % confidence
    TooFew,     // fewer than kPairsMin pictures beside the best's: nothing is claimed
};
[[nodiscard]] std::string_view finding_name(Finding finding);

// How far the answer can be trusted: by the half width of the chosen one's interval (to the best,
// or of the runner-up to it where the best itself was chosen), and by what could be looked at.
enum class Grade : std::uint8_t { A, B, C, D };
[[nodiscard]] std::string_view grade_name(Grade grade);

// What one of the user's scorers says of a candidate, in its own units; above 0: better.
struct ScorerVerdict {
    Estimate to_reference;
    Estimate to_best;
};

struct Verdict {
    std::size_t candidate = 0;
    Finding finding = Finding::TooFew;
    Basis basis = Basis::DefectsOnly;
    Estimate to_reference;     // points above (below) the reference setting
    Estimate to_best;          // points below the best
    bool tied = false;         // the interval of `to_best` holds 0
    bool on_front = false;     // nothing is surely as good, as fast and as small
    double quality = 0;        // mean, 0 to 100, of the pictures that it has
    std::string worst_defect;  // the one that most of its pictures suffer from; empty: none
    std::string why;           // why it was not chosen; empty for the chosen one
    std::vector<ScorerVerdict> scorers = {};  // by the table's
};

// How a scorer took part.
struct ScorerPart {
    ScorerRules rules;
    std::size_t scored = 0;       // pictures
    bool decides = false;         // it has a margin, and scored enough to be heard
    std::string why_silent;       // why one with a margin was not heard; empty: it was
    std::string why_failed = {};  // on some pictures, or all; empty: on none
};

struct Answer {
    std::optional<std::size_t> chosen;  // nullopt: too little was seen
    std::size_t best = 0;
    double margin = kMarginPoints;
    Grade grade = Grade::D;
    std::string words;              // the answer in a sentence
    std::vector<Verdict> verdicts;  // of all candidates, by their numbers
    std::vector<ScorerPart> scorers = {};
};

// `seed` fixes the bootstrap. `names` are words for the candidates (setting_words).
[[nodiscard]] Answer find_answer(const Table& table, std::span<const Cost> costs,
                                 std::span<const std::string> names, std::size_t reference,
                                 double margin, std::uint64_t seed);

}  // namespace plimsoll::quality
