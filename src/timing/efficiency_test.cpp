// SPDX-License-Identifier: Apache-2.0
#include "timing/efficiency.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace plimsoll::timing {
namespace {

std::string coefficients_text() {
    std::ifstream file(PLIMSOLL_TEST_DATA "/../../data/timing/coefficients.csv");
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ParseEfficiency, reads_what_is_embedded) {
    const auto read = parse_efficiency(coefficients_text());
    ASSERT_TRUE(read.has_value()) << read.error().message;
    EXPECT_EQ(read->matmul, default_efficiency().matmul);
    EXPECT_EQ(read->host_tflops, default_efficiency().host_tflops);
}

// Nothing can be faster than the hardware: shares of a peak are at most one.
TEST(DefaultEfficiency, stays_below_the_peaks) {
    const Efficiency& e = default_efficiency();
    for (const double share :
         {e.matmul, e.convolution, e.attention, e.attention_on_hopper, e.fp32_lanes, e.bandwidth,
          e.norm_bandwidth, e.cache_relief, e.fused_bytes, e.fused_kernels, e.pcie_fraction}) {
        EXPECT_GT(share, 0);
        EXPECT_LE(share, 1);
    }
}

TEST(ParseEfficiency, refuses_unknown_missing_and_impossible_coefficients) {
    const std::string text = coefficients_text();
    const auto changed = [&](std::string_view from, std::string_view to) {
        std::string out = text;
        out.replace(out.find(from), from.size(), to);
        return out;
    };
    for (const std::string& bad :
         {changed("\nmatmul,", "\nmetmul,"), changed("\nmatmul,", "\n#matmul,"),
          changed("\nmatmul,", "\nmatmul,-"), changed("\nmatmul,", "\nmatmul,x"), std::string(),
          std::string("name\nmatmul")}) {
        const auto refused = parse_efficiency(bad);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_EQ(refused.error().code, Errc::Corrupt);
    }
}

}  // namespace
}  // namespace plimsoll::timing
