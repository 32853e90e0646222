// SPDX-License-Identifier: Apache-2.0
//
// The project's promises, held against what a run measured: one line a target, "met" or "MISSED",
// with the ratio to the yardstick.
#pragma once
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::bench {

struct Target {
    std::string name;  // of the benchmark, its arguments included: "plan/1536/4"
    double limit_seconds = 0;
};

struct Measured {
    double seconds = 0;
    double yards = 0;  // multiples of the yardstick, 0: none
};

inline bool print_target(const Target& target, const Measured& measured) {
    const bool met = measured.seconds < target.limit_seconds;
    std::printf("%-7s %-28s %9.3f ms, target < %g ms", met ? "met" : "MISSED", target.name.c_str(),
                measured.seconds * 1e3, target.limit_seconds * 1e3);
    if (measured.yards > 0)
        std::printf(", %.3g x parsing its text with Boost.JSON", measured.yards);
    std::printf("\n");
    return met;
}

// Prints as usual and remembers.
class TargetReporter final : public benchmark::ConsoleReporter {
  public:
    TargetReporter() : benchmark::ConsoleReporter(OO_None) {}

    void ReportRuns(const std::vector<Run>& runs) override {
        for (const Run& run : runs) {
            Measured& measured = by_name_[run.benchmark_name()];
            if (run.iterations == 0) continue;  // it failed
            measured.seconds = run.cpu_accumulated_time / static_cast<double>(run.iterations);
            const auto yards = run.counters.find("x_json_parse");
            if (yards != run.counters.end()) measured.yards = yards->second;
        }
        ConsoleReporter::ReportRuns(runs);
    }
    [[nodiscard]] const std::map<std::string, Measured>& by_name() const { return by_name_; }

  private:
    std::map<std::string, Measured> by_name_;
};

// Runs what is registered. EXIT_FAILURE when a target is missed or was not measured; with a filter
// on the command line only what ran is judged.
inline int run_against(const std::vector<Target>& targets, int argc, char** argv) {
    const bool is_filtered = argc > 1;
    benchmark::Initialize(&argc, argv);
    TargetReporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    std::cout.flush();
    bool all_met = true;
    for (const Target& target : targets) {
        const auto found = reporter.by_name().find(target.name);
        if (found == reporter.by_name().end() && is_filtered) continue;
        if (found == reporter.by_name().end() || found->second.seconds == 0) {
            std::printf("MISSED  %-28s was not measured\n", target.name.c_str());
            all_met = false;
        } else {
            all_met = print_target(target, found->second) && all_met;
        }
    }
    return all_met ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace plimsoll::bench
