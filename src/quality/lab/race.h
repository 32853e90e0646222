// SPDX-License-Identifier: Apache-2.0
//
// Successive halving over shared blocks: all candidates draw the first blocks, the less promising
// half is dropped, the rest draws twice as many, until few are left. Promising is what may still be
// the answer, the cheapest setting that is not worse than the best, or be that best. Pure.
#pragma once
#include "base/units.h"
#include "quality/lab/table.h"

#include <cstddef>
#include <span>
#include <vector>

namespace plimsoll::quality {

struct Cost {
    double seconds = 0;  // of a picture
    Bytes peak;
    friend bool operator==(const Cost&, const Cost&) = default;
};
// Fewer seconds, or the same and less memory.
[[nodiscard]] bool is_cheaper(const Cost& a, const Cost& b);

inline constexpr double kMarginPoints = 3;  // chosen: what "not worse" may cost, of 100 points

struct RaceRules {
    std::size_t blocks_first = 2;
    // 64: what is left after pairing scatters by 4 points and more, so 32 blocks leave intervals of
    // +-1.6 and settings a point below the best are not claimed. The last doubling is drawn by the
    // finalists alone: it costs a sixth of a full grid of 32. Where time is short there are fewer.
    std::size_t blocks_max = 64;
    std::size_t finalists = 4;  // never fewer than these (where there are as many)
    double margin = kMarginPoints;
    friend bool operator==(const RaceRules&, const RaceRules&) = default;
};

// Blocks that every candidate still in the race has after each stage: 2, 4, 8, 16, 32, 64.
[[nodiscard]] std::vector<std::size_t> stages_of(const RaceRules& rules);

// Most pictures that a race can take; the first stage alone is `candidates * blocks_first`.
[[nodiscard]] std::size_t images_max(std::size_t candidates, const RaceRules& rules);

struct Promise {
    std::size_t candidate = 0;
    double not_worse = 0;  // probability of lying within the margin of the leader
    double is_answer = 0;  // ... and no cheaper one does
    double is_best = 0;    // of being better than the leader; 1 for the leader
    [[nodiscard]] double sum() const { return is_answer + is_best; }
};
// Of each of `alive`, in their order. `reference` is what all are first compared with.
[[nodiscard]] std::vector<Promise> promises(const Table& table, std::span<const Cost> costs,
                                            std::span<const std::size_t> alive,
                                            std::size_t reference, double margin);

// Those that stay after a stage, in the order of `alive`; the reference always does.
[[nodiscard]] std::vector<std::size_t> survivors(const Table& table, std::span<const Cost> costs,
                                                 std::span<const std::size_t> alive,
                                                 std::size_t reference, const RaceRules& rules);

}  // namespace plimsoll::quality
