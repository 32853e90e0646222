// SPDX-License-Identifier: Apache-2.0
#include "quality/votes/minded.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::quality {
namespace {

constexpr double kSpread = 0.7;  // of the prior, in logarithms
constexpr double kReach = 4;     // spreads of the prior that are looked at, either way
constexpr std::size_t kGrid = 401;

double log_weight_at(std::size_t i) {
    return kSpread * kReach * (2.0 * static_cast<double>(i) / (kGrid - 1) - 1);
}

bool tells(const PricedVote& vote) {
    return std::isfinite(vote.points) && std::abs(vote.points) >= kTellingPoints;
}

// ln P(votes); a vote for neither is half a vote for each.
double log_likelihood(std::span<const PricedVote> votes, double weight) {
    double sum = 0;
    for (const PricedVote& vote : votes) {
        if (!tells(vote)) continue;
        const double logit = weight * kLogitsOfPoint * vote.points;
        const double first = -std::log1p(std::exp(-logit));
        const double second = -std::log1p(std::exp(logit));
        sum += vote.preferred == Preferred::First    ? first
               : vote.preferred == Preferred::Second ? second
                                                     : (first + second) / 2;
    }
    return sum;
}

}  // namespace

Minded how_much_is_minded(std::span<const PricedVote> votes) {
    Minded out;
    out.votes = static_cast<std::size_t>(std::ranges::count_if(votes, tells));
    if (!out.enough()) return out;
    std::array<double, kGrid> density{};
    for (std::size_t i = 0; i < kGrid; ++i) {
        const double at = log_weight_at(i) / kSpread;
        density.at(i) = log_likelihood(votes, std::exp(log_weight_at(i))) - at * at / 2;
    }
    const double most = std::ranges::max(density);
    double sum = 0;
    for (double& value : density) {
        value = std::exp(value - most);
        sum += value;
    }
    const auto quantile = [&](double p) {
        double below = 0;
        for (std::size_t i = 0; i < kGrid; ++i) {
            below += density.at(i);
            if (below >= p * sum) return std::exp(log_weight_at(i));
        }
        return std::exp(log_weight_at(kGrid - 1));
    };
    out.weight = quantile(0.5);
    out.interval = {.low = quantile(0.025), .high = quantile(0.975)};
    return out;
}

}  // namespace plimsoll::quality
