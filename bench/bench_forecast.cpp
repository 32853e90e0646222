// SPDX-License-Identifier: Apache-2.0
//
// Forecast of the SDXL 1024 x 1024 text-to-image job on the reference card, from workflow text to
// priced phases. The first one of the process is timed by itself (target < 5 ms); the others are
// warm (target < 1 ms). The same of a Wan 14B video of 81 frames (targets < 20 ms and < 2 ms).
#include "advisor/reference_job.h"
#include "targets.h"
#include "wan_job.h"
#include "yardstick.h"

#include <cstdlib>

namespace plimsoll::bench {
namespace {

void forecast_warm(benchmark::State& state) {
    const advisor::Forecaster forecaster =
        advisor::make_forecaster(advisor::reference_surroundings());
    const auto side = static_cast<int>(state.range(0));
    const std::string text = advisor::sdxl_workflow(side, side);
    against_parsing(state, text, [&] {
        benchmark::DoNotOptimize(forecaster({.workflow = text, .reserve_vram = {}}));
    });
}
BENCHMARK(forecast_warm)->Arg(1024)->Arg(1536)->Unit(benchmark::kMicrosecond);

void forecast_wan_warm(benchmark::State& state) {
    const advisor::Forecaster forecaster = advisor::make_forecaster(wan_surroundings());
    against_parsing(state, kWanWorkflow, [&] {
        benchmark::DoNotOptimize(forecaster({.workflow = kWanWorkflow, .reserve_vram = {}}));
    });
}
BENCHMARK(forecast_wan_warm)->Unit(benchmark::kMicrosecond);

// A size that no forecast of the process has seen: nothing cached helps.
void forecast_new_size(benchmark::State& state) {
    const advisor::Forecaster forecaster =
        advisor::make_forecaster(advisor::reference_surroundings());
    int width = 512;
    for ([[maybe_unused]] auto _ : state) {
        const std::string text = advisor::sdxl_workflow(width, 1024);
        width = width == 4096 ? 512 : width + 8;
        benchmark::DoNotOptimize(forecaster({.workflow = text, .reserve_vram = {}}));
    }
}
BENCHMARK(forecast_new_size)->Unit(benchmark::kMicrosecond);

}  // namespace

// False when it failed or was too slow.
static bool time_first_forecast(const char* name, double target_seconds, const std::string& text,
                                advisor::Surroundings (*surroundings)()) {
    const double start = thread_seconds();
    const advisor::Forecaster forecaster = advisor::make_forecaster(surroundings());
    const auto forecast = forecaster({.workflow = text, .reserve_vram = {}});
    const double seconds = thread_seconds() - start;
    if (!forecast) {
        std::fprintf(stderr, "forecast failed: %s\n", forecast.error().message.c_str());
        return false;
    }
    const double yard = parse_seconds(text, 2000);
    std::printf("peak %.1f MiB, floor %.1f MiB, verdict %s, %zu phases, %.1f s\n",
                forecast->memory.peak.mib(), forecast->memory.floor.mib(),
                std::string(memory::verdict_name(forecast->memory.verdict)).c_str(),
                forecast->memory.phases.size(), forecast->seconds.total);
    return print_target({name, target_seconds}, {seconds, seconds / yard});
}

}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    namespace bench = plimsoll::bench;
    const bool sdxl_met =
        bench::time_first_forecast("first forecast", 5e-3, plimsoll::advisor::sdxl_workflow(),
                                   plimsoll::advisor::reference_surroundings);
    const bool wan_met = bench::time_first_forecast("first forecast of a video", 20e-3,
                                                    bench::kWanWorkflow, bench::wan_surroundings);
    const int warm = plimsoll::bench::run_against(
        {{"forecast_warm/1024", 1e-3}, {"forecast_warm/1536", 1e-3}, {"forecast_wan_warm", 2e-3}},
        argc, argv);
    return sdxl_met && wan_met ? warm : EXIT_FAILURE;
}
