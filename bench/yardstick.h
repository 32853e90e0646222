// SPDX-License-Identifier: Apache-2.0
//
// Times are those of one core (CPU time of the thread), so that a busy machine does not change
// them. They are shown as ratios too, against work whose cost everybody can judge: Boost.JSON
// parsing a given text on this machine in this run. That makes numbers of different machines
// comparable.
#pragma once
#include "base/json.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <ctime>
#include <string>

namespace plimsoll::bench {

// Seconds that this thread has computed.
inline double thread_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Work>
double seconds_per_call(Work work, int calls) {
    const double start = thread_seconds();
    for (int i = 0; i < calls; ++i) work();
    return (thread_seconds() - start) / calls;
}

inline double parse_seconds(const std::string& text, int calls) {
    return seconds_per_call([&] { benchmark::DoNotOptimize(json::parse(text)); }, calls);
}

// A benchmark of `work` with its ratio to parsing `text`.
template <class Work>
void against_parsing(benchmark::State& state, const std::string& text, Work work) {
    const double yard = parse_seconds(text, text.size() > 100'000 ? 20 : 2000);
    const double start = thread_seconds();
    for ([[maybe_unused]] auto _ : state) work();
    const double seconds = thread_seconds() - start;
    state.counters["x_json_parse"] = seconds / static_cast<double>(state.iterations()) / yard;
}

}  // namespace plimsoll::bench
