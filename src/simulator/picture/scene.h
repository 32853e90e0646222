// SPDX-License-Identifier: Apache-2.0
//
// The picture: a smooth scene of coloured shapes. Prompt and model decide palette and kinds of
// shapes, the seed where they are, the settings how well it is done (quality.h). Same recipe, same
// pixels.
//
// Threads: no shared state.
#pragma once
#include "simulator/picture/pixels.h"
#include "simulator/picture/quality.h"

#include <cstdint>
#include <memory>
#include <string>

namespace plimsoll::simulator {

// How one item of a latent batch came about. What the simulator carries instead of numbers.
struct Recipe {
    std::string positive;
    std::string negative;
    std::string model;
    std::uint64_t seed = 0;
    int index = 0;  // of the item in its batch
    int steps = 0;  // 0: never sampled, an empty latent
    double cfg = 7;
    double denoise = 1;
    std::string sampler = "euler";
    std::string scheduler = "normal";
    int native_side = 512;
    // The size at which the composition was made, which an upscaled latent keeps. Pixels.
    int composed_width = 0;
    int composed_height = 0;
    double left_over_noise = 0;  // of an earlier, unfinished pass
    // What sampling began with: a picture that was encoded, or an earlier pass.
    std::shared_ptr<const Pixels> start;
    std::shared_ptr<const Recipe> before;

    [[nodiscard]] bool begins_with_something() const { return start || before; }
};

// What is left of the noise after `done` of `total` steps is added for previews.
[[nodiscard]] Pixels render_scene(const Recipe& recipe, int width, int height);
[[nodiscard]] Pixels render_preview(const Recipe& recipe, int width, int height, int done,
                                    int total);

}  // namespace plimsoll::simulator
