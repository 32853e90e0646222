// SPDX-License-Identifier: Apache-2.0
#include "quality/votes/bradley_terry.h"

#include "quality/lab/student.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace plimsoll::quality {
namespace {

using Matrix = std::vector<std::vector<double>>;

constexpr int kRoundsMax = 50;     // Newton's method doubles its digits each; ten are enough
constexpr double kPriorGames = 1;  // half a win each way

double logistic(double x) {
    return 1 / (1 + std::exp(-x));
}

// Gauss-Jordan with pivots on the diagonal; the matrix is symmetric and positive definite. Ends as
// its inverse.
Matrix inverse_of(Matrix a) {
    const std::size_t n = a.size();
    Matrix inverse(n, std::vector<double>(n, 0));
    for (std::size_t i = 0; i < n; ++i) inverse[i][i] = 1;
    for (std::size_t i = 0; i < n; ++i) {
        const double pivot = a[i][i];
        for (std::size_t k = 0; k < n; ++k) {
            a[i][k] /= pivot;
            inverse[i][k] /= pivot;
        }
        for (std::size_t j = 0; j < n; ++j) {
            if (j == i) continue;
            const double factor = a[j][i];
            for (std::size_t k = 0; k < n; ++k) {
                a[j][k] -= factor * a[i][k];
                inverse[j][k] -= factor * inverse[i][k];
            }
        }
    }
    return inverse;
}

struct Tally {
    Matrix wins;   // of the row against the column
    Matrix games;  // symmetric
    std::size_t votes = 0;
};

Tally tally_of(std::size_t candidates, std::span<const Vote> votes) {
    Tally out{.wins = Matrix(candidates, std::vector<double>(candidates, 0)),
              .games = Matrix(candidates, std::vector<double>(candidates, 0))};
    for (const Vote& vote : votes) {
        if (vote.first >= candidates || vote.second >= candidates || vote.first == vote.second)
            continue;
        const double share = vote.preferred == Preferred::First    ? 1
                             : vote.preferred == Preferred::Second ? 0
                                                                   : 0.5;
        out.wins[vote.first][vote.second] += share;
        out.wins[vote.second][vote.first] += 1 - share;
        ++out.games[vote.first][vote.second];
        ++out.games[vote.second][vote.first];
        ++out.votes;
    }
    return out;
}

// Slope and curvature of the logarithm of the posterior at `strengths`; the prior is a game against
// a candidate of strength 0.
void slope_at(const Tally& tally, const std::vector<double>& strengths, std::vector<double>& slope,
              Matrix& curvature) {
    const std::size_t n = strengths.size();
    for (std::size_t i = 0; i < n; ++i) {
        const double prior = logistic(strengths[i]);
        slope[i] = kPriorGames * (0.5 - prior);
        std::ranges::fill(curvature[i], 0);
        curvature[i][i] = kPriorGames * prior * (1 - prior);
        for (std::size_t j = 0; j < n; ++j) {
            if (tally.games[i][j] == 0) continue;
            const double p = logistic(strengths[i] - strengths[j]);
            slope[i] += tally.wins[i][j] - tally.games[i][j] * p;
            const double weight = tally.games[i][j] * p * (1 - p);
            curvature[i][i] += weight;
            curvature[i][j] -= weight;
        }
    }
}

// Only differences are known: strengths are told from their own mean, which no vote can move.
void centre(std::vector<double>& strengths, Matrix& covariance) {
    const auto n = static_cast<double>(strengths.size());
    const double mean = std::accumulate(strengths.begin(), strengths.end(), 0.0) / n;
    for (double& strength : strengths) strength -= mean;
    std::vector<double> rows;
    for (const auto& row : covariance)
        rows.push_back(std::accumulate(row.begin(), row.end(), 0.0) / n);
    const double all = std::accumulate(rows.begin(), rows.end(), 0.0) / n;
    for (std::size_t i = 0; i < strengths.size(); ++i)
        for (std::size_t j = 0; j < strengths.size(); ++j)
            covariance[i][j] += all - rows[i] - rows[j];
}

double variance_of_difference(const Matrix& covariance, std::size_t a, std::size_t b) {
    return covariance[a][a] + covariance[b][b] - 2 * covariance[a][b];
}

}  // namespace

double Standings::beats(std::size_t a, std::size_t b) const {
    return logistic(strengths.at(a).value - strengths.at(b).value);
}

Standings stand(std::size_t candidates, std::span<const Vote> votes) {
    const Tally tally = tally_of(candidates, votes);
    std::vector<double> strengths(candidates, 0);
    std::vector<double> slope(candidates, 0);
    Matrix curvature(candidates, std::vector<double>(candidates, 0));
    for (int round = 0; round < kRoundsMax; ++round) {
        slope_at(tally, strengths, slope, curvature);
        const Matrix inverse = inverse_of(curvature);
        double most = 0;
        for (std::size_t i = 0; i < candidates; ++i) {
            double step = 0;
            for (std::size_t j = 0; j < candidates; ++j) step += inverse[i][j] * slope[j];
            // A step may overshoot where one side won everything.
            step = std::clamp(step, -1.0, 1.0);
            strengths[i] += step;
            most = std::max(most, std::abs(step));
        }
        if (most < 1e-10) break;
    }
    slope_at(tally, strengths, slope, curvature);
    Standings out;
    out.votes = tally.votes;
    out.covariance = inverse_of(std::move(curvature));
    centre(strengths, out.covariance);
    const double reach = normal_quantile(0.975);
    for (std::size_t i = 0; i < candidates; ++i) {
        const double half = reach * std::sqrt(std::max(0.0, out.covariance[i][i]));
        out.strengths.push_back({.value = strengths[i],
                                 .interval = {strengths[i] - half, strengths[i] + half},
                                 .wins_against_all = logistic(strengths[i])});
    }
    return out;
}

std::optional<std::pair<std::size_t, std::size_t>> next_pair(const Standings& standings,
                                                             std::span<const std::size_t> among,
                                                             std::span<const Vote> votes) {
    std::optional<std::pair<std::size_t, std::size_t>> best;
    double most = 0;
    const auto asked = [&](std::size_t a, std::size_t b) {
        return std::ranges::count_if(votes, [&](const Vote& vote) {
            return (vote.first == a && vote.second == b) || (vote.first == b && vote.second == a);
        });
    };
    for (std::size_t i = 0; i < among.size(); ++i)
        for (std::size_t j = i + 1; j < among.size(); ++j) {
            const std::size_t a = among[i];
            const std::size_t b = among[j];
            const double variance = variance_of_difference(standings.covariance, a, b);
            const bool equal = best && std::abs(variance - most) < 1e-9;
            if (best && !equal && variance < most) continue;
            if (equal && asked(a, b) >= asked(best->first, best->second)) continue;
            best = {a, b};
            most = variance;
        }
    return best;
}

}  // namespace plimsoll::quality
