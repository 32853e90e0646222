// SPDX-License-Identifier: Apache-2.0
//
// Times are shown as ratios too, against work whose cost everybody can judge: Boost.JSON parsing a
// given text on this machine in this run. That makes numbers of different machines comparable.
#pragma once
#include "base/json.h"

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace plimsoll::bench {

template <class Work>
double seconds_per_call(Work work, int calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

inline double parse_seconds(const std::string& text, int calls) {
    return seconds_per_call([&] { benchmark::DoNotOptimize(json::parse(text)); }, calls);
}

// A benchmark of `work` with its ratio to parsing `text`.
template <class Work>
void against_parsing(benchmark::State& state, const std::string& text, Work work) {
    const double yard = parse_seconds(text, text.size() > 100'000 ? 20 : 2000);
    const auto start = std::chrono::steady_clock::now();
    for ([[maybe_unused]] auto _ : state) work();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.counters["x_json_parse"] = seconds / static_cast<double>(state.iterations()) / yard;
}

}  // namespace plimsoll::bench
