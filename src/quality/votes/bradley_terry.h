// SPDX-License-Identifier: Apache-2.0
//
// What blind votes between pictures say: strengths of the settings in the Bradley-Terry model,
// P(i beats j) = 1 / (1 + exp(strength j - strength i)), with intervals; which pair to ask about
// next; and whether there are enough votes to say anything. Pure.
#pragma once
#include "quality/lab/estimate.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace plimsoll::quality {

enum class Preferred : std::uint8_t { First, Second, Neither };

struct Vote {
    std::size_t first = 0;  // candidates
    std::size_t second = 0;
    Preferred preferred = Preferred::Neither;  // counts half a win for each
    friend bool operator==(const Vote&, const Vote&) = default;
};

// Below it nothing is said: 30 votes tell a preference of 75 : 25 from none, and no weaker one.
inline constexpr std::size_t kVotesMin = 30;

struct Strength {
    double value = 0;         // in logits; the mean over the candidates is 0
    Interval interval;        // 95 %
    double wins_against_all;  // share of votes expected against an average candidate, 0 to 1
};

struct Standings {
    std::vector<Strength> strengths;  // of all candidates
    std::size_t votes = 0;
    std::vector<std::vector<double>> covariance;  // of the strengths
    [[nodiscard]] bool enough() const { return votes >= kVotesMin; }
    // Probability that `a` is preferred to `b` by the next vote.
    [[nodiscard]] double beats(std::size_t a, std::size_t b) const;
};
// Votes about candidates that do not exist are left out. A prior of half a win each way against a
// candidate of average strength keeps those without votes at 0 with a wide interval.
[[nodiscard]] Standings stand(std::size_t candidates, std::span<const Vote> votes);

// The pair of `among` whose difference is least known; nullopt for fewer than two. Of equals the
// pair that was asked about least.
[[nodiscard]] std::optional<std::pair<std::size_t, std::size_t>> next_pair(
    const Standings& standings, std::span<const std::size_t> among, std::span<const Vote> votes);

}  // namespace plimsoll::quality
