// SPDX-License-Identifier: Apache-2.0
#include "timing/efficiency.h"

#include "base/check.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace plimsoll::embedded {
std::string_view coefficients_csv();
}

namespace plimsoll::timing {
namespace {

struct Coefficient {
    std::string_view name;
    double Efficiency::* member;
};
constexpr std::array kCoefficients = std::to_array<Coefficient>({
    {"matmul", &Efficiency::matmul},
    {"convolution", &Efficiency::convolution},
    {"attention", &Efficiency::attention},
    {"attention_on_hopper", &Efficiency::attention_on_hopper},
    {"fp32_lanes", &Efficiency::fp32_lanes},
    {"winograd", &Efficiency::winograd},
    {"softmax_flop", &Efficiency::softmax_flop},
    {"softmax_first_generation", &Efficiency::softmax_first_generation},
    {"softmax_before_ampere", &Efficiency::softmax_before_ampere},
    {"softmax_overlap", &Efficiency::softmax_overlap},
    {"score_passes", &Efficiency::score_passes},
    {"bandwidth", &Efficiency::bandwidth},
    {"norm_bandwidth", &Efficiency::norm_bandwidth},
    {"layout_passes", &Efficiency::layout_passes},
    {"cache_relief", &Efficiency::cache_relief},
    {"tflops_per_watt", &Efficiency::tflops_per_watt},
    {"base_watts", &Efficiency::base_watts},
    {"tile_mflop", &Efficiency::tile_mflop},
    {"kernel_us", &Efficiency::kernel_us},
    {"dispatch_us", &Efficiency::dispatch_us},
    {"server_host", &Efficiency::server_host},
    {"fused_bytes", &Efficiency::fused_bytes},
    {"fused_kernels", &Efficiency::fused_kernels},
    {"pageable_gbs", &Efficiency::pageable_gbs},
    {"pcie_fraction", &Efficiency::pcie_fraction},
    {"disk_gbs", &Efficiency::disk_gbs},
    {"host_tflops", &Efficiency::host_tflops},
});

}  // namespace

Result<Efficiency> parse_efficiency(std::string_view csv) {
    Efficiency efficiency;
    bool header_seen = false;
    int line_number = 0;
    for (std::string_view line : split(csv, '\n')) {
        ++line_number;
        line = trim(line);
        if (line.empty() || line.front() == '#') continue;
        if (!header_seen) {
            header_seen = true;
            continue;
        }
        const auto fields = split(line, ',');
        const auto coefficient =
            std::ranges::find(kCoefficients, trim(fields.front()), &Coefficient::name);
        if (coefficient == kCoefficients.end())
            return fail(Errc::Corrupt, fmt::format("coefficients, line {}: no coefficient '{}'",
                                                   line_number, fields.front()));
        const auto value = fields.size() > 1 ? parse_number(trim(fields[1])) : std::nullopt;
        if (!value || *value <= 0)
            return fail(Errc::Corrupt, fmt::format("coefficients, line {}: {} must be above zero",
                                                   line_number, fields.front()));
        efficiency.*(coefficient->member) = *value;
    }
    for (const Coefficient& coefficient : kCoefficients)
        if (efficiency.*(coefficient.member) <= 0)
            return fail(Errc::Corrupt, fmt::format("coefficients: no {}", coefficient.name));
    return efficiency;
}

const Efficiency& default_efficiency() {
    static const Efficiency defaults = [] {
        auto parsed = parse_efficiency(embedded::coefficients_csv());
        CHECK(parsed.has_value());  // embedded at build time and tested
        return *parsed;
    }();
    return defaults;
}

}  // namespace plimsoll::timing
