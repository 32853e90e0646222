// SPDX-License-Identifier: Apache-2.0
//
// Running summaries: what many runs amount to, kept so that a run can be added (and taken away
// again) without looking at the others. A mean and a variance come from count, sum and sum of
// squares; seconds and bytes are positive and of one order of magnitude, so the doubles lose
// nothing that is shown (10 million runs: 9 digits are left).
//
// Enters through: RunRecord.   Leaves through: RunStats.   Threads: no shared state.
#pragma once
#include "history/run.h"

#include <cstdint>
#include <optional>
#include <string>

namespace plimsoll::history {

struct Spread {
    std::int64_t count = 0;
    double sum = 0;
    double squares = 0;
    std::optional<double> least = std::nullopt;
    std::optional<double> most = std::nullopt;

    [[nodiscard]] std::optional<double> mean() const;
    // Square root of the variance of what was counted; nullopt below two values.
    [[nodiscard]] std::optional<double> deviation() const;
};

// A run that is done and was measured gives its seconds, its peak and how far the forecast was off
// (|forecast - observed| / observed); of any other only the highest peak counts.
struct RunSums {
    std::int64_t runs = 0;  // ever recorded
    std::int64_t kept = 0;  // of them, still among the runs: retention takes rows, not their sums
    std::int64_t done = 0;
    std::int64_t out_of_memory = 0;
    Spread seconds;
    Spread peak;  // bytes; `most` is of all runs, done or not
    Spread peak_error;
    Spread seconds_error;

    [[nodiscard]] static RunSums of(const RunRecord& run);
    void add(const RunSums& other);
    [[nodiscard]] RunStats stats(std::string key) const;
    // Whether taking this away may change a least or most.
    [[nodiscard]] bool has_extremes() const { return peak.most || seconds.most; }
    // What takes it away again when it is added: counts and sums; extremes stay as they are.
    [[nodiscard]] RunSums negated() const;
};

// How a column of the summaries' tables grows.
enum class Growth : std::uint8_t { Sum, Least, Most };

// Calls use(name, growth, member) for every number, in the order of the columns.
template <class Sums, class Use>
void for_each_column(Sums& sums, Use&& use) {
    use("runs", Growth::Sum, sums.runs);
    use("kept", Growth::Sum, sums.kept);
    use("done", Growth::Sum, sums.done);
    use("out_of_memory", Growth::Sum, sums.out_of_memory);
    use("seconds_count", Growth::Sum, sums.seconds.count);
    use("seconds_sum", Growth::Sum, sums.seconds.sum);
    use("seconds_squares", Growth::Sum, sums.seconds.squares);
    use("seconds_least", Growth::Least, sums.seconds.least);
    use("seconds_most", Growth::Most, sums.seconds.most);
    use("peak_count", Growth::Sum, sums.peak.count);
    use("peak_sum", Growth::Sum, sums.peak.sum);
    use("peak_squares", Growth::Sum, sums.peak.squares);
    use("peak_least", Growth::Least, sums.peak.least);
    use("peak_most", Growth::Most, sums.peak.most);
    use("peak_error_count", Growth::Sum, sums.peak_error.count);
    use("peak_error_sum", Growth::Sum, sums.peak_error.sum);
    use("seconds_error_count", Growth::Sum, sums.seconds_error.count);
    use("seconds_error_sum", Growth::Sum, sums.seconds_error.sum);
}

// Days since 1970-01-01 (UTC) of a start, and a day as "2026-11-29".
inline constexpr std::int64_t kDayMs = 86'400'000;
[[nodiscard]] std::int64_t day_of(std::int64_t started_ms);
// Chosen: about a month, and a shift finds it.
inline constexpr int kBlockShift = 5;
[[nodiscard]] constexpr std::int64_t block_of(std::int64_t day) {
    return day >> kBlockShift;
}
[[nodiscard]] std::string day_text(std::int64_t day);

}  // namespace plimsoll::history
