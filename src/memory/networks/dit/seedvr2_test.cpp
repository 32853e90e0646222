// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/seedvr2.h"

#include "base/json.h"
#include "memory/trace.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

namespace plimsoll::memory {
namespace {

// Goal: windows cover the grid, and as many as recorded. Method: the recorded length of a block's
// joined tokens is the video's and 58 of text for each shifted window.
TEST(Seedvr2Windows, are_as_many_as_recorded_and_cover_every_token_once) {
    struct Case {
        Extent3 grid;
        std::size_t shifted;
    };
    for (const Case& c : {Case{{1, 64, 64}, 16}, Case{{2, 45, 80}, 32}, Case{{5, 45, 80}, 48}}) {
        EXPECT_EQ(seedvr2_windows(c.grid, true).size(), c.shifted);
        for (const bool shifted : {false, true}) {
            const auto windows = seedvr2_windows(c.grid, shifted);
            EXPECT_EQ(std::accumulate(windows.begin(), windows.end(), std::int64_t{0}),
                      c.grid.volume());
        }
    }
}

// Goal: the peak of a step is that of the real forward. Method: recorded lines, one where windows'
// attention makes it and one where the rotary embedding does.
TEST(Seedvr2Step, peaks_as_recorded) {
    const auto peak = [](std::string_view variant, int width, int height) {
        const std::string question = fmt::format(
            R"({{"family":"seedvr2","variant":"{}","phase":"unet_step","call":"forward",)"
            R"("width":{},"height":{},"frames":5,"batch":1,"dtype":"fp16","tokens":58,)"
            R"("comfyui":"0.33.0","recorder":"c"}})",
            variant, width, height);
        const json::value answer = parse_json(answer_trace_line(question).value()).value();
        return find_int(answer, "peak_bytes").value_or(0);
    };
    EXPECT_EQ(peak("3B", 1280, 720), 844939776);
    EXPECT_EQ(peak("7B", 1920, 1080), 2185761792);
}

}  // namespace
}  // namespace plimsoll::memory
