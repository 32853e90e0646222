// SPDX-License-Identifier: Apache-2.0
#include "history/sums.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace plimsoll::history {

namespace {

Spread spread_of(double value) {
    return {.count = 1, .sum = value, .squares = value * value, .least = value, .most = value};
}

// Without extremes: nobody asks for those of an error.
Spread error_of(double forecast, double observed) {
    return {.count = 1, .sum = std::abs(forecast - observed) / observed};
}

void add_to(std::optional<double>& extreme, const std::optional<double>& other, Growth growth) {
    if (!other) return;
    if (!extreme)
        extreme = other;
    else
        extreme = growth == Growth::Least ? std::min(*extreme, *other) : std::max(*extreme, *other);
}

void add_to(Spread& spread, const Spread& other) {
    spread.count += other.count;
    spread.sum += other.sum;
    spread.squares += other.squares;
    add_to(spread.least, other.least, Growth::Least);
    add_to(spread.most, other.most, Growth::Most);
}

Spread negated(const Spread& spread) {
    return {.count = -spread.count, .sum = -spread.sum, .squares = -spread.squares};
}

}  // namespace

std::optional<double> Spread::mean() const {
    if (count <= 0) return std::nullopt;
    return sum / static_cast<double>(count);
}

std::optional<double> Spread::deviation() const {
    if (count < 2) return std::nullopt;
    const auto n = static_cast<double>(count);
    return std::sqrt(std::max(0.0, (squares - sum * sum / n) / n));
}

RunSums RunSums::of(const RunRecord& run) {
    RunSums sums;
    sums.runs = 1;
    sums.kept = 1;
    sums.out_of_memory = run.outcome == Outcome::OutOfMemory ? 1 : 0;
    if (run.observed_peak) sums.peak.most = static_cast<double>(run.observed_peak->count);
    if (run.outcome != Outcome::Done) return sums;
    sums.done = 1;
    if (run.observed_seconds) {
        sums.seconds = spread_of(*run.observed_seconds);
        if (*run.observed_seconds > 0)
            sums.seconds_error = error_of(run.forecast_seconds, *run.observed_seconds);
    }
    if (run.observed_peak) {
        const auto observed = static_cast<double>(run.observed_peak->count);
        sums.peak = spread_of(observed);
        if (observed > 0)
            sums.peak_error = error_of(static_cast<double>(run.forecast_peak.count), observed);
    }
    return sums;
}

void RunSums::add(const RunSums& other) {
    runs += other.runs;
    kept += other.kept;
    done += other.done;
    out_of_memory += other.out_of_memory;
    add_to(seconds, other.seconds);
    add_to(peak, other.peak);
    add_to(peak_error, other.peak_error);
    add_to(seconds_error, other.seconds_error);
}

RunSums RunSums::negated() const {
    return {.runs = -runs,
            .kept = -kept,
            .done = -done,
            .out_of_memory = -out_of_memory,
            .seconds = history::negated(seconds),
            .peak = history::negated(peak),
            .peak_error = history::negated(peak_error),
            .seconds_error = history::negated(seconds_error)};
}

RunStats RunSums::stats(std::string key) const {
    RunStats stats{.key = std::move(key), .runs = runs, .done = done};
    stats.out_of_memory = out_of_memory;
    stats.seconds_mean = seconds.mean();
    stats.seconds_deviation = seconds.deviation();
    stats.seconds_min = seconds.least;
    stats.seconds_max = seconds.most;
    const auto bytes = [](const std::optional<double>& value) -> std::optional<Bytes> {
        if (!value) return std::nullopt;
        return Bytes(std::llround(*value));
    };
    stats.peak_mean = bytes(peak.mean());
    stats.peak_max = bytes(peak.most);
    stats.forecast_peak_error_mean = peak_error.mean();
    stats.forecast_seconds_error_mean = seconds_error.mean();
    return stats;
}

std::int64_t day_of(std::int64_t started_ms) {
    return started_ms >= 0 ? started_ms / kDayMs : -((-started_ms + kDayMs - 1) / kDayMs);
}

std::string day_text(std::int64_t day) {
    const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
    return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace plimsoll::history
