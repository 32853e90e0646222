// SPDX-License-Identifier: Apache-2.0
//
// Efficiency: the coefficients of the time model, read from data/timing/coefficients.csv
// (embedded).
//
// Enters through: text of a coefficients file.   Leaves through: Efficiency.   Threads: the
// defaults are built once and never change.
#pragma once
#include "base/error.h"

#include <string_view>

namespace plimsoll::timing {

// What operations reach of a card's peaks, and what the machine around the card can do. One member
// for each line of data/timing/coefficients.csv, which says what it means, in its order. The
// defaults are fitted to public measurements (docs/timing-fit.md); a machine's own runs replace
// them.
struct Efficiency {
    double matmul = 0;
    double convolution = 0;
    double attention = 0;
    double attention_on_hopper = 0;
    double fp32_lanes = 0;
    double winograd = 0;
    double softmax_flop = 0;
    double softmax_first_generation = 0;
    double softmax_before_ampere = 0;
    double softmax_overlap = 0;
    double score_passes = 0;
    double bandwidth = 0;
    double norm_bandwidth = 0;
    double layout_passes = 0;
    double cache_relief = 0;
    double tflops_per_watt = 0;
    double base_watts = 0;
    double tile_mflop = 0;
    double kernel_us = 0;
    double dispatch_us = 0;
    double server_host = 0;
    double fused_bytes = 0;
    double fused_kernels = 0;
    double pageable_gbs = 0;
    double pcie_fraction = 0;
    double disk_gbs = 0;
    double host_tflops = 0;
};
// From the text of a coefficients file. Corrupt when a line is malformed, a number is not positive,
// or a coefficient is missing or unknown.
[[nodiscard]] Result<Efficiency> parse_efficiency(std::string_view csv);
[[nodiscard]] const Efficiency& default_efficiency();

}  // namespace plimsoll::timing
