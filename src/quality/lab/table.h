// SPDX-License-Identifier: Apache-2.0
//
// What has been seen so far: a score for each candidate on each block. A block is one prompt with
// one seed; candidates are compared on blocks that both have, never across them, because prompts
// and seeds differ far more than settings do. Plain values.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::quality {

// Of one picture. Parts that could not be had are missing, not zero.
struct Marks {
    std::optional<double> retention;  // 0 to 100, see lab/score.h; where comparing pixels is valid
    double defects = 100;             // 0 to 100; 100: none beyond the reference's own
    std::string worst_defect;         // "noise"; empty: none
    // By Table::scorers, in their own units; nullopt: that scorer failed on this picture.
    std::vector<std::optional<double>> scores = {};
};

// A column of numbers that a program of the user's gives (service/quality/scorer.h). Nobody knows
// how many of our points its units are worth, so they are never mixed: it is compared with itself.
struct ScorerRules {
    std::string name;
    bool higher_is_better = true;
    // In its own units: by how much less a setting is still "not worse". nullopt: it is shown and
    // decides nothing. One that decides can veto a setting, never lift one.
    std::optional<double> margin;
    friend bool operator==(const ScorerRules&, const ScorerRules&) = default;
};

struct Block {
    std::size_t prompt = 0;
    std::size_t seed = 0;  // its number; the seed itself is the session's
    friend bool operator==(const Block&, const Block&) = default;
};

struct Table {
    std::vector<Block> blocks;
    std::vector<std::vector<std::optional<Marks>>> scores;  // [candidate][block]
    std::vector<ScorerRules> scorers;

    [[nodiscard]] std::size_t candidates() const { return scores.size(); }
};
[[nodiscard]] Table make_table(std::size_t candidates, std::vector<Block> blocks);

// Which parts of two candidates' scores are comparable with one another.
enum class Basis : unsigned char { RetentionAndDefects, DefectsOnly };

// 0 to 100: the geometric mean of the parts, so that one bad part cannot be outweighed.
[[nodiscard]] double quality_of(const Marks& score, Basis basis);

struct Difference {
    Block block;
    double points = 0;  // `candidate` less `other`
};
struct Paired {
    Basis basis = Basis::DefectsOnly;
    std::vector<Difference> differences;
};
// On the blocks that both have, in the order of the blocks. Retention counts where both have it on
// all of them.
[[nodiscard]] Paired pair_up(const Table& table, std::size_t candidate, std::size_t other);

// The same in the units of a scorer, above 0 where `candidate` is the better one, on the blocks
// where it scored both.
[[nodiscard]] std::vector<Difference> pair_up_scores(const Table& table, std::size_t scorer,
                                                     std::size_t candidate, std::size_t other);

}  // namespace plimsoll::quality
