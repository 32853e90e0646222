// SPDX-License-Identifier: Apache-2.0
//
// The advisor's answers on the reference card: a plan (target < 50 ms) for the job that is parked,
// the one that fits changed and the one that needs most trying, and the three largest-that-fits
// (target < 100 ms).
#include "advisor/largest.h"
#include "advisor/plan.h"
#include "advisor/reference_job.h"
#include "targets.h"
#include "yardstick.h"

namespace plimsoll::bench {
namespace {

void plan(benchmark::State& state) {
    const advisor::Forecaster forecaster =
        advisor::make_forecaster(advisor::reference_surroundings());
    const auto side = static_cast<int>(state.range(0));
    const std::string text = advisor::sdxl_workflow(side, side, static_cast<int>(state.range(1)));
    advisor::PlanRequest request;
    request.workflow = text;
    request.control = advisor::ServerControl::Ours;
    against_parsing(state, text,
                    [&] { benchmark::DoNotOptimize(advisor::solve_plan(request, forecaster)); });
    const auto solved = advisor::solve_plan(request, forecaster);
    state.SetLabel(solved ? std::string(advisor::plan_verdict_name(solved->verdict))
                          : solved.error().message);
}
BENCHMARK(plan)
    ->Args({1024, 1})
    ->Args({1536, 4})
    ->Args({2048, 1})
    ->Args({2048, 16})
    ->Unit(benchmark::kMillisecond);

void largest_that_fits(benchmark::State& state) {
    const advisor::Forecaster forecaster =
        advisor::make_forecaster(advisor::reference_surroundings());
    const auto knob = static_cast<advisor::Knob>(state.range(0));
    const std::string text = advisor::sdxl_workflow();
    against_parsing(state, text, [&] {
        benchmark::DoNotOptimize(
            advisor::largest(text, knob, advisor::default_limits(knob), {}, forecaster));
    });
    const auto found = advisor::largest(text, knob, advisor::default_limits(knob), {}, forecaster);
    state.SetLabel(std::string(advisor::knob_name(knob)) + " " +
                   (found && found->value ? std::to_string(*found->value) : std::string("none")));
}
BENCHMARK(largest_that_fits)->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    return plimsoll::bench::run_against({{"plan/1024/1", 50e-3},
                                         {"plan/1536/4", 50e-3},
                                         {"plan/2048/1", 50e-3},
                                         {"plan/2048/16", 50e-3},
                                         {"largest_that_fits/0", 100e-3},
                                         {"largest_that_fits/1", 100e-3},
                                         {"largest_that_fits/2", 100e-3}},
                                        argc, argv);
}
