// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/estimate.h"

#include "quality/lab/draws.h"
#include "quality/lab/student.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

namespace plimsoll::quality {
namespace {

using Cluster = std::vector<double>;

double mean_of(std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<Cluster> clusters_of(std::span<const Difference> differences) {
    std::map<std::size_t, Cluster> by_prompt;
    for (const Difference& d : differences) by_prompt[d.block.prompt].push_back(d.points);
    std::vector<Cluster> clusters;
    // One prompt: what is said is about this prompt, and its seeds are what scatters.
    if (by_prompt.size() == 1)
        for (const double points : by_prompt.begin()->second) clusters.push_back({points});
    else
        for (auto& [prompt, points] : by_prompt) clusters.push_back(std::move(points));
    return clusters;
}

std::vector<double> means_of(const std::vector<Cluster>& clusters) {
    std::vector<double> means;
    means.reserve(clusters.size());
    for (const Cluster& cluster : clusters) means.push_back(mean_of(cluster));
    return means;
}

double deviation_of(std::span<const double> values) {
    if (values.size() < 2) return 0;
    const double mean = mean_of(values);
    double sum = 0;
    for (const double value : values) sum += (value - mean) * (value - mean);
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Estimate unbounded(std::span<const Difference> differences) {
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    Estimate out;
    out.pairs = differences.size();
    out.clusters = differences.size();
    out.points = differences.empty() ? 0 : differences.front().points;
    out.standard_error = kInfinite;
    out.interval = {.low = -kInfinite, .high = kInfinite};
    out.lower_bound = -kInfinite;
    return out;
}

double quantile(const std::vector<double>& sorted, double p) {
    const double at = p * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

}  // namespace

double Estimate::p_not_worse(double margin) const {
    if (!std::isfinite(standard_error) || clusters < 2) return 1;
    if (standard_error == 0) return points > -margin ? 0 : 1;
    return 1 - student_below((points + margin) / standard_error, static_cast<double>(clusters - 1));
}

Estimate estimate_difference(std::span<const Difference> differences, std::uint64_t seed) {
    if (differences.size() < 2) return unbounded(differences);
    const std::vector<Cluster> clusters = clusters_of(differences);
    const std::size_t count = clusters.size();
    Estimate out;
    out.pairs = differences.size();
    out.clusters = count;
    const std::vector<double> means = means_of(clusters);
    out.points = mean_of(means);

    std::vector<double> drawn;
    drawn.reserve(kBootstrapDraws);
    Draws draws(seed);
    for (int i = 0; i < kBootstrapDraws; ++i) {
        double sum = 0;
        for (std::size_t c = 0; c < count; ++c) sum += means[draws.next_below(count)];
        drawn.push_back(sum / static_cast<double>(count));
    }
    std::ranges::sort(drawn);
    const double dof = static_cast<double>(count) - 1;
    // The bootstrap's variance of a mean is (n - 1) / n of the unbiased one.
    const double unbiased = std::sqrt(static_cast<double>(count) / dof);
    const double two_sided = unbiased * student_quantile(0.975, dof) / normal_quantile(0.975);
    const double one_sided = unbiased * student_quantile(0.95, dof) / normal_quantile(0.95);
    out.standard_error = deviation_of(drawn) * unbiased;
    out.interval = {.low = out.points + two_sided * (quantile(drawn, 0.025) - out.points),
                    .high = out.points + two_sided * (quantile(drawn, 0.975) - out.points)};
    out.lower_bound = out.points + one_sided * (quantile(drawn, 0.05) - out.points);
    return out;
}

double scatter_of(std::span<const Difference> differences) {
    std::vector<double> points;
    points.reserve(differences.size());
    for (const Difference& d : differences) points.push_back(d.points);
    return deviation_of(points);
}

Estimate glance_at_difference(std::span<const Difference> differences, double usual_scatter) {
    if (differences.empty()) return unbounded(differences);
    const std::vector<Cluster> clusters = clusters_of(differences);
    const std::vector<double> means = means_of(clusters);
    const auto count = static_cast<double>(means.size());
    const double per_cluster = static_cast<double>(differences.size()) / count;
    const double own = deviation_of(means);
    // The scatter of a cluster's mean, if blocks were independent.
    const double usual = usual_scatter / std::sqrt(per_cluster);
    const double freedom = kScatterWeight + count - 1;
    const double scatter =
        std::sqrt((kScatterWeight * usual * usual + (count - 1) * own * own) / freedom);
    Estimate out;
    out.pairs = differences.size();
    out.clusters = static_cast<std::size_t>(freedom) + 1;
    out.points = mean_of(means);
    out.standard_error = scatter / std::sqrt(count);
    const double reach = student_quantile(0.975, freedom) * out.standard_error;
    out.interval = {.low = out.points - reach, .high = out.points + reach};
    out.lower_bound = out.points - student_quantile(0.95, freedom) * out.standard_error;
    return out;
}

std::string points_text(const Estimate& estimate) {
    const auto signed_points = [](double points) {
        return std::abs(points) < 0.05 ? std::string("0.0") : fmt::format("{:+.1f}", points);
    };
    return fmt::format("{} ({} to {})", signed_points(estimate.points),
                       signed_points(estimate.interval.low), signed_points(estimate.interval.high));
}

}  // namespace plimsoll::quality
