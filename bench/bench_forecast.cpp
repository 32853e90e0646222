// SPDX-License-Identifier: Apache-2.0
//
// Forecast of the SDXL 1024 x 1024 text-to-image job on the reference card, from workflow text to
// priced phases. The first one of the process is timed by itself (target < 5 ms); the others are
// warm (target < 1 ms).
#include "advisor/reference_job.h"
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

static int print_first_forecast() {
    const auto start = std::chrono::steady_clock::now();
    const advisor::Forecaster forecaster =
        advisor::make_forecaster(advisor::reference_surroundings());
    const std::string text = advisor::sdxl_workflow();
    const auto forecast = forecaster({.workflow = text, .reserve_vram = {}});
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!forecast) {
        std::fprintf(stderr, "forecast failed: %s\n", forecast.error().message.c_str());
        return EXIT_FAILURE;
    }
    const double yard = parse_seconds(text, 2000);
    std::printf(
        "first forecast of the process: %.3f ms, %.0f x parsing the workflow with Boost.JSON\n",
        seconds * 1e3, seconds / yard);
    std::printf("peak %.1f MiB, floor %.1f MiB, verdict %s, %zu phases, %.1f s\n",
                forecast->memory.peak.mib(), forecast->memory.floor.mib(),
                std::string(memory::verdict_name(forecast->memory.verdict)).c_str(),
                forecast->memory.phases.size(), forecast->seconds.total);
    return EXIT_SUCCESS;
}

}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    if (const int status = plimsoll::bench::print_first_forecast(); status != EXIT_SUCCESS)
        return status;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return EXIT_SUCCESS;
}
