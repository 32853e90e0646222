// SPDX-License-Identifier: Apache-2.0
//
// How far forecasts of seconds are off on the public measurements that they were fitted to. Cards
// left out of the fit: tools/fit_timing.py --summary, which ./dev bench runs after this.
#include "timing/measured_jobs.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

namespace plimsoll::bench {
namespace {

constexpr double kMedianTarget = 0.10;

void print_errors(const std::string& name, const timing::ForecastErrors& errors) {
    std::printf("        %-28s %4zu jobs, median error %5.1f %%, 90 %% below %5.1f %%\n",
                name.c_str(), errors.jobs, 100 * errors.median, 100 * errors.ninetieth);
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
