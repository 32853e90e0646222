// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/table.h"

#include <cmath>
#include <utility>

namespace plimsoll::quality {

Table make_table(std::size_t candidates, std::vector<Block> blocks) {
    Table table;
    table.scores.assign(candidates, std::vector<std::optional<Marks>>(blocks.size()));
    table.blocks = std::move(blocks);
    return table;
}

double quality_of(const Marks& score, Basis basis) {
    if (basis == Basis::DefectsOnly || !score.retention) return score.defects;
    return std::sqrt(*score.retention * score.defects);
}

Paired pair_up(const Table& table, std::size_t candidate, std::size_t other) {
    const auto& left = table.scores.at(candidate);
    const auto& right = table.scores.at(other);
    Paired out;
    out.basis = Basis::RetentionAndDefects;
    for (std::size_t b = 0; b < table.blocks.size(); ++b)
        if (left[b] && right[b] && (!left[b]->retention || !right[b]->retention))
            out.basis = Basis::DefectsOnly;
    for (std::size_t b = 0; b < table.blocks.size(); ++b)
        if (left[b] && right[b])
            out.differences.push_back(
                {.block = table.blocks[b],
                 .points = quality_of(*left[b], out.basis) - quality_of(*right[b], out.basis)});
    return out;
}

std::vector<Difference> pair_up_scores(const Table& table, std::size_t scorer,
                                       std::size_t candidate, std::size_t other) {
    const double sign = table.scorers.at(scorer).higher_is_better ? 1 : -1;
    const auto score = [&](std::size_t k, std::size_t block) -> std::optional<double> {
        const auto& marks = table.scores.at(k)[block];
        if (!marks || scorer >= marks->scores.size()) return std::nullopt;
        return marks->scores[scorer];
    };
    std::vector<Difference> out;
    for (std::size_t b = 0; b < table.blocks.size(); ++b) {
        const auto left = score(candidate, b);
        const auto right = score(other, b);
        if (left && right)
            out.push_back({.block = table.blocks[b], .points = sign * (*left - *right)});
    }
    return out;
}

}  // namespace plimsoll::quality
