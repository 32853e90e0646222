// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/race.h"

#include "quality/lab/estimate.h"
#include "quality/lab/student.h"

#include <algorithm>
#include <numeric>

namespace plimsoll::quality {
namespace {

// Never quite 0 or 1: a race of few pictures knows nothing for certain.
constexpr double kDoubt = 1e-6;

double above(const Estimate& estimate, double bound) {
    if (estimate.pairs == 0) return 0.5;
    if (estimate.standard_error == 0) return estimate.points > bound ? 1 - kDoubt : kDoubt;
    const double t = (estimate.points - bound) / estimate.standard_error;
    return std::clamp(student_below(t, static_cast<double>(estimate.clusters - 1)), kDoubt,
                      1 - kDoubt);
}

// The middle scatter of differences between two settings: with two blocks a candidate's own says
// next to nothing.
double usual_scatter(const Table& table, std::span<const std::size_t> alive,
                     std::size_t reference) {
    std::vector<double> scatters;
    for (const std::size_t candidate : alive) {
        if (candidate == reference) continue;
        const Paired paired = pair_up(table, candidate, reference);
        if (paired.differences.size() >= 2) scatters.push_back(scatter_of(paired.differences));
    }
    if (scatters.empty()) return 0;
    const auto middle = scatters.begin() + static_cast<std::ptrdiff_t>(scatters.size() / 2);
    std::ranges::nth_element(scatters, middle);
    return *middle;
}

// As sure as the least sure of the scorers that decide. One that failed has no say.
double by_scorers(const Table& table, std::size_t candidate, std::size_t leader) {
    double least = 1;
    for (std::size_t j = 0; j < table.scorers.size(); ++j) {
        if (!table.scorers[j].margin) continue;
        const auto differences = pair_up_scores(table, j, candidate, leader);
        if (differences.size() < 2) continue;
        least = std::min(least, above(glance_at_difference(differences, scatter_of(differences)),
                                      -*table.scorers[j].margin));
    }
    return least;
}

}  // namespace

bool is_cheaper(const Cost& a, const Cost& b) {
    return a.seconds != b.seconds ? a.seconds < b.seconds : a.peak < b.peak;
}

std::vector<std::size_t> stages_of(const RaceRules& rules) {
    std::vector<std::size_t> stages;
    for (std::size_t n = std::max<std::size_t>(rules.blocks_first, 1); n < rules.blocks_max; n *= 2)
        stages.push_back(n);
    stages.push_back(rules.blocks_max);
    return stages;
}

std::size_t images_max(std::size_t candidates, const RaceRules& rules) {
    std::size_t alive = candidates;
    std::size_t before = 0;
    std::size_t images = 0;
    for (const std::size_t blocks : stages_of(rules)) {
        images += alive * (blocks - before);
        before = blocks;
        // The reference may be kept on top of the half.
        alive = std::min(alive, std::max((alive + 1) / 2, rules.finalists) + 1);
    }
    return images;
}

std::vector<Promise> promises(const Table& table, std::span<const Cost> costs,
                              std::span<const std::size_t> alive, std::size_t reference,
                              double margin) {
    const double scatter = usual_scatter(table, alive, reference);
    std::size_t leader = reference;
    double most = 0;
    for (const std::size_t candidate : alive) {
        const Paired paired = pair_up(table, candidate, reference);
        const double points = glance_at_difference(paired.differences, scatter).points;
        // Without retention a setting cannot lead those that have it: it was looked at less
        // closely.
        const bool closely =
            candidate == reference || paired.basis == pair_up(table, reference, reference).basis;
        if (candidate != reference && closely && points > most) {
            leader = candidate;
            most = points;
        }
    }
    std::vector<Promise> out;
    for (const std::size_t candidate : alive) {
        Promise promise{.candidate = candidate, .not_worse = 1 - kDoubt, .is_best = 1};
        if (candidate != leader) {
            const Estimate estimate =
                glance_at_difference(pair_up(table, candidate, leader).differences, scatter);
            promise.not_worse =
                std::min(above(estimate, -margin), by_scorers(table, candidate, leader));
            promise.is_best = above(estimate, 0);
        }
        out.push_back(promise);
    }
    std::vector<std::size_t> order(out.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
        return is_cheaper(costs[out[a].candidate], costs[out[b].candidate]);
    });
    double no_cheaper_one = 1;
    for (const std::size_t i : order) {
        out[i].is_answer = out[i].not_worse * no_cheaper_one;
        no_cheaper_one *= 1 - out[i].not_worse;
    }
    return out;
}

std::vector<std::size_t> survivors(const Table& table, std::span<const Cost> costs,
                                   std::span<const std::size_t> alive, std::size_t reference,
                                   const RaceRules& rules) {
    const std::size_t keep = std::max((alive.size() + 1) / 2, rules.finalists);
    if (alive.size() <= keep) return {alive.begin(), alive.end()};
    std::vector<Promise> order = promises(table, costs, alive, reference, rules.margin);
    std::ranges::stable_sort(order, std::ranges::greater{}, &Promise::sum);
    std::vector<std::size_t> kept;
    for (const std::size_t candidate : alive) {
        const auto rank = static_cast<std::size_t>(
            std::ranges::find(order, candidate, &Promise::candidate) - order.begin());
        if (rank < keep || candidate == reference) kept.push_back(candidate);
    }
    return kept;
}

}  // namespace plimsoll::quality
