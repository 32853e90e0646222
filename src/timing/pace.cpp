// SPDX-License-Identifier: Apache-2.0
#include "timing/pace.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

namespace plimsoll::timing {
namespace {

constexpr double kMadToDeviation = 1.4826;  // of a normal distribution
// Hampel's weights, in deviations: all to the first, less and less to the second, none beyond.
constexpr double kWhole = 1.5;
constexpr double kNone = 4;               // chosen: an odd run is several times as slow
constexpr double kNinetyPercent = 1.645;  // standard deviations to either side of a normal's mean
constexpr double kScaleRuns = 4;          // chosen: the table's run spread counts as many runs
// Chosen: one or two runs cannot tell a pace from an odd run. Their variance is greater by
// 1 + kFewRuns / runs^2: a single run moves the pace by less than a third of the way.
constexpr double kFewRuns = 6;

double square(double value) {
    return value * value;
}

double median_of(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    if (values.size() % 2 == 1) return *middle;
    return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double deviation_about(const std::vector<double>& values, double center) {
    std::vector<double> off;
    for (const double value : values) off.push_back(std::abs(value - center));
    return kMadToDeviation * median_of(std::move(off));
}

// How many of the newest values are from after the last step of the machine; nullopt: there was
// none. Two medians must lie apart by more than chance allows, at least four of the newer values
// must be on their side of the middle, and all but a fifth of them; of such places to cut the one
// that leaves the least apart from the medians.
std::optional<std::size_t> find_step(const std::vector<double>& newest_first) {
    constexpr std::size_t kAfterMin = 4;   // chosen: fewer may be odd runs
    constexpr std::size_t kBeforeMin = 3;  // a median that one odd run does not move
    constexpr double kScoreMin = 4;        // chosen, in deviations: see pace_test.cpp
    constexpr double kStepMin = 0.05;      // chosen: smaller ones are not worth forgetting for
    constexpr double kNoiseMin = 0.01;     // equal values have no deviation
    constexpr double kMedianError = 1.25;  // of a normal: deviation of the median, times sqrt(n)
    std::optional<std::size_t> best;
    double least = 0;
    for (std::size_t after = kAfterMin; after + kBeforeMin <= newest_first.size(); ++after) {
        const auto border = newest_first.begin() + static_cast<std::ptrdiff_t>(after);
        const std::vector<double> newer(newest_first.begin(), border);
        const std::vector<double> older(border, newest_first.end());
        const double now = median_of(newer);
        const double then = median_of(older);
        const auto moved = static_cast<std::size_t>(std::ranges::count_if(
            newer, [&](double value) { return std::abs(value - now) < std::abs(value - then); }));
        if (moved < kAfterMin || 5 * moved < 4 * after) continue;
        std::vector<double> off;
        double left = 0;
        for (const double value : newer) off.push_back(value - now);
        for (const double value : older) off.push_back(value - then);
        for (const double value : off) left += std::abs(value);
        const double noise = std::max(deviation_about(off, 0), kNoiseMin);
        const double error = kMedianError * noise *
                             std::sqrt(1.0 / static_cast<double>(newer.size()) +
                                       1.0 / static_cast<double>(older.size()));
        const double step = std::abs(now - then);
        if (step < kStepMin || step < kScoreMin * error || (best && left >= least)) continue;
        best = after;
        least = left;
    }
    return best;
}

// A mean of logarithms and what is not known about it.
struct Belief {
    double mean = 0;
    double variance = 0;
};

// Of two that know nothing of each other.
Belief together(const Belief& a, const Belief& b) {
    const double precision = 1 / a.variance + 1 / b.variance;
    return {(a.mean / a.variance + b.mean / b.variance) / precision, 1 / precision};
}

double weight_of(double deviations) {
    if (deviations <= kWhole) return 1;
    if (deviations >= kNone) return 0;
    return kWhole / deviations * (kNone - deviations) / (kNone - kWhole);
}

// What the runs of one kind of work say by themselves: from their median on, those that are far
// from the mean count for less.
Belief mean_of_runs(const std::vector<double>& logs) {
    const auto runs = static_cast<double>(logs.size());
    double mean = median_of(logs);
    const double scale =
        std::sqrt((kScaleRuns * square(kRunSpread) + runs * square(deviation_about(logs, mean))) /
                  (kScaleRuns + runs));
    double weights = runs;
    constexpr int kRounds = 20;  // it converges in a few
    for (int round = 0; round < kRounds; ++round) {
        double sum = 0;
        weights = 0;
        for (const double value : logs) {
            const double weight = weight_of(std::abs(value - mean) / scale);
            sum += weight * value;
            weights += weight;
        }
        if (!(weights > 0)) break;
        mean = sum / weights;
    }
    weights = std::max(weights, 1.0);
    const double doubt = 1 + kFewRuns / square(runs);
    return {mean, doubt * square(scale) / weights};
}

struct Work {
    std::string kind;
    std::string family;
    int runs = 0;
    Belief own;
};

// What the card's other works say about one; `left_out` may be none of them.
Belief belief_of_card(const std::vector<Work>& works, const Work* left_out) {
    Belief card{0, square(kMachineSpread)};
    for (const Work& work : works)
        if (&work != left_out)
            card = together(card, {work.own.mean, work.own.variance + square(kWorkSpread)});
    return card;
}

Pace pace_of(const Belief& belief, int runs) {
    const double reach = kNinetyPercent * std::sqrt(belief.variance);
    return {.factor = std::exp(belief.mean),
            .low = std::exp(belief.mean - reach),
            .high = std::exp(belief.mean + reach),
            .runs = runs};
}

std::optional<double> log_ratio(const TimedWork& work) {
    const bool usable = std::isfinite(work.table_seconds) && std::isfinite(work.observed_seconds) &&
                        work.table_seconds >= kPacedSecondsMin &&
                        work.observed_seconds >= kPacedSecondsMin;
    if (!usable) return std::nullopt;
    const double ratio = std::log(work.observed_seconds) - std::log(work.table_seconds);
    if (std::abs(ratio) > std::log(kRatioMax)) return std::nullopt;
    return ratio;
}

}  // namespace

Pace Paces::of(std::string_view kind, std::string_view family) const {
    for (const PaceOfWork& work : works)
        if (work.kind == kind && work.family == family) return work.pace;
    Pace borrowed = card;
    borrowed.runs = 0;
    return borrowed;
}

Paces learn_paces(std::span<const TimedRun> newest_first) {
    std::map<std::pair<std::string, std::string>, std::vector<double>> logs;
    int runs = 0;
    for (const TimedRun& run : newest_first.first(std::min(newest_first.size(), kPaceRunsMax))) {
        bool used = false;
        for (const TimedWork& work : run.works) {
            const auto ratio = log_ratio(work);
            if (!ratio) continue;
            used = true;
            auto& of_work = logs[{work.kind, run.family}];
            if (of_work.size() < kWorkRunsMax) of_work.push_back(*ratio);
        }
        runs += used ? 1 : 0;
    }
    std::vector<Work> works;
    for (auto& [key, values] : logs) {
        if (const auto after = find_step(values)) values.resize(*after);
        works.push_back({.kind = key.first,
                         .family = key.second,
                         .runs = static_cast<int>(values.size()),
                         .own = mean_of_runs(values)});
    }
    const auto of_one_work = [](Belief card) {
        card.variance += square(kWorkSpread);
        return card;
    };
    Paces paces;
    paces.card = pace_of(of_one_work(belief_of_card(works, nullptr)), runs);
    for (const Work& work : works)
        paces.works.push_back(
            {.kind = work.kind,
             .family = work.family,
             .pace = pace_of(together(of_one_work(belief_of_card(works, &work)), work.own),
                             work.runs)});
    return paces;
}

void apply_paces(const Paces& paces, std::string_view family, const memory::Forecast& forecast,
                 ForecastSeconds& seconds) {
    if (!paces.learned()) return;
    const double table = seconds.total;
    seconds.total = 0;
    seconds.without_load = 0;
    Learned learned{.runs = 0, .factor = 1, .low = 0, .high = 0};
    for (std::size_t i = 0; i < seconds.phases.size() && i < forecast.phases.size(); ++i) {
        PhaseSeconds& phase = seconds.phases[i];
        const Pace pace = paces.of(memory::phase_kind_name(forecast.phases[i].kind), family);
        const double work = phase.compute + phase.streaming;
        phase.pace = pace.factor;
        phase.compute *= pace.factor;
        phase.streaming *= pace.factor;
        phase.total = phase.compute + phase.streaming + phase.load;
        seconds.total += phase.total;
        seconds.without_load += phase.total - phase.load;
        learned.low += work * pace.low + phase.load;
        learned.high += work * pace.high + phase.load;
        if (work > 0) learned.runs = std::max(learned.runs, pace.runs);
    }
    if (learned.runs == 0) learned.runs = paces.card.runs;
    if (!(table > 0)) return;
    learned.factor = seconds.total / table;
    learned.low /= table;
    learned.high /= table;
    seconds.learned = learned;
}

}  // namespace plimsoll::timing
