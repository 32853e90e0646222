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

}  // namespace plimsoll::quality
