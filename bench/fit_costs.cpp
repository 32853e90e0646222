// SPDX-License-Identifier: Apache-2.0
//
// What our walks say that each row of data/timing/measured.csv costs, as JSON lines for
// tools/fit_timing.py: the fit sees what a forecast sees. Classes: FLOPs, bytes, kernels, scores.
#include "timing/measured_jobs.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace plimsoll::bench {
namespace {

std::string classes_text(const memory::OpCosts& costs) {
    std::string text;
    for (std::size_t i = 0; i < memory::kOpClasses; ++i) {
        const auto op_class = static_cast<memory::OpClass>(i);
        const memory::OpCost& cost = costs[op_class];
        text += fmt::format(R"({}"{}": [{}, {}, {}, {}])", i == 0 ? "" : ", ",
                            memory::op_class_name(op_class), cost.flops, cost.bytes_moved,
                            cost.kernels, cost.scores);
    }
    return text;
}

std::string read_file(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

int print_costs(const char* rows, const char* coefficients) {
    const auto jobs = timing::read_measured_jobs(read_file(rows));
    const auto efficiency = timing::parse_efficiency(read_file(coefficients));
    if (!jobs || !efficiency) {
        std::fprintf(stderr, "%s\n", (jobs ? efficiency.error() : jobs.error()).message.c_str());
        return EXIT_FAILURE;
    }
    for (const timing::MeasuredJob& job : *jobs) {
        std::string parts;
        for (const timing::MeasuredPart& part : job.parts)
            parts += fmt::format(R"({}{{"phase": "{}", "forwards": {}, "classes": {{{}}}}})",
                                 parts.empty() ? "" : ", ", part.phase, part.forwards,
                                 classes_text(part.costs));
        std::fputs(
            fmt::format("{{\"id\": \"{}\", \"forecast_seconds\": {:.9g}, \"parts\": [{}]}}\n",
                        job.id, timing::forecast_seconds(job, *efficiency), parts)
                .c_str(),
            stdout);
    }
    return EXIT_SUCCESS;
}

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: fit_costs data/timing/measured.csv data/timing/coefficients.csv\n",
                   stderr);
        return EXIT_FAILURE;
    }
    return plimsoll::bench::print_costs(argv[1], argv[2]);
}
