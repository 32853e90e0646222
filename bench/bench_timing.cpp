// SPDX-License-Identifier: Apache-2.0
//
// How far forecasts of seconds are off on the public measurements that they were fitted to. Cards
// left out of the fit: tools/fit_timing.py --summary, which ./dev bench runs after this.
#include "timing/measured_jobs.h"
#include "timing/pace.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

namespace plimsoll::bench {
namespace {

constexpr double kMedianTarget = 0.10;

void print_errors(const std::string& name, const timing::ForecastErrors& errors) {
    std::printf("        %-28s %4zu jobs, median error %5.1f %%, 90 %% below %5.1f %%\n",
                name.c_str(), errors.jobs, 100 * errors.median, 100 * errors.ninetieth);
}

double quantile(std::vector<double> values, double share) {
    std::ranges::sort(values);
    return values.empty() ? 0
                          : values[static_cast<std::size_t>(
                                std::lround(share * static_cast<double>(values.size() - 1)))];
}

timing::TimedRun run_of(const timing::MeasuredJob& job) {
    return {.family = job.network,
            .works = {{.kind = job.timed,
                       .table_seconds = timing::forecast_seconds(job),
                       .observed_seconds = job.seconds}}};
}

// Who measured with a card is one machine. Each of its jobs is forecast with the pace of `known`
// others of it, the ones that follow it in the table; jobs of machines with fewer are left out of
// both columns. Seconds of a step are short: they are told to the learner as those of a thousand.
void print_learning(const std::vector<timing::MeasuredJob>& jobs, std::size_t known) {
    constexpr double kManySteps = 1000;
    std::map<std::pair<std::string, std::string>, std::vector<const timing::MeasuredJob*>> machines;
    for (const timing::MeasuredJob& job : jobs)
        machines[{job.source, job.card->key}].push_back(&job);
    std::vector<double> without;
    std::vector<double> with;
    int took_part = 0;
    for (const auto& [machine, own] : machines) {
        if (own.size() <= known) continue;
        ++took_part;
        for (std::size_t i = 0; i < own.size(); ++i) {
            std::vector<timing::TimedRun> others;
            for (std::size_t k = 1; k <= known; ++k) {
                others.push_back(run_of(*own[(i + k) % own.size()]));
                others.back().works.front().table_seconds *= kManySteps;
                others.back().works.front().observed_seconds *= kManySteps;
            }
            const timing::Pace pace =
                timing::learn_paces(others).of(own[i]->timed, own[i]->network);
            const double table = timing::forecast_seconds(*own[i]);
            without.push_back(std::abs(table / own[i]->seconds - 1));
            with.push_back(std::abs(table * pace.factor / own[i]->seconds - 1));
        }
    }
    std::printf(
        "        learned from %2zu other jobs of the same machine: %2d machines, %3zu jobs: median "
        "error %4.1f %% -> %4.1f %%, 90 %% below %4.1f %% -> %4.1f %%\n",
        known, took_part, with.size(), 100 * quantile(without, 0.5), 100 * quantile(with, 0.5),
        100 * quantile(without, 0.9), 100 * quantile(with, 0.9));
}

int print_all(const char* path) {
    std::ifstream file(path);
    const std::string csv((std::istreambuf_iterator<char>(file)), {});
    const auto jobs = timing::read_measured_jobs(csv);
    if (!jobs) {
        std::fprintf(stderr, "%s\n", jobs.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::vector<const timing::MeasuredJob*> all;
    std::map<std::string, std::vector<const timing::MeasuredJob*>> by_card;
    for (const timing::MeasuredJob& job : *jobs) {
        all.push_back(&job);
        by_card[job.card->key].push_back(&job);
    }
    for (const auto& [card, some] : by_card) print_errors(card, timing::forecast_errors(some));
    for (const std::size_t known : {1, 3, 5, 10, 30}) print_learning(*jobs, known);
    const timing::ForecastErrors errors = timing::forecast_errors(all);
    const bool met = errors.median <= kMedianTarget;
    print_errors("all", errors);
    std::printf("%-7s seconds, cards in the fit: median error %.1f %%, target <= %.0f %%\n",
                met ? "met" : "MISSED", 100 * errors.median, 100 * kMedianTarget);
    return met ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    return plimsoll::bench::print_all(argc > 1 ? argv[1] : "data/timing/measured.csv");
}
