// SPDX-License-Identifier: Apache-2.0
//
// The true quality of a simulated picture: which defects a set of settings causes, and how strong.
// All of the simulator's "taste" is in this one pair of files, so that a quality lab can be judged
// against it: what the lab finds out by looking at pictures must agree with these functions.
//
// The shapes of the curves imitate what samplers do; the constants are chosen, not measured.
//
//   noise       0.30 exp(-steps x rate(sampler) / 8) x factor(scheduler): error left over when
//               sampling stops early. Falls with every step; dpmpp_2m at 12 is euler at 20.
//   drift       1 for ancestral and SDE samplers: their composition keeps moving with the number of
//               steps and never settles.
//   contrast    1 + 0.02 (cfg - 7) in between; above 9 another 0.16 a unit, so that values clip.
//   saturation  as contrast, 0.12 a unit above 9: burnt colours.
//   wash        (4 - cfg) / 3 below 4, at most 1: grey and blurred, the prompt is hardly followed.
//   softness    0.75 - side / native below three quarters of the side the model was trained at.
//   doubling    side / native - 1.35 above a third more than it: subjects appear twice.
//
// `badness` adds them up as a person would mind them; 0 is the best picture that a model can make.
#pragma once
#include <string_view>

namespace plimsoll::simulator {

struct PictureSettings {
    int width = 512;
    int height = 512;
    int steps = 20;
    double cfg = 7;
    double denoise = 1;
    std::string_view sampler = "euler";
    std::string_view scheduler = "normal";
    int native_side = 512;  // of the model
};

struct Defects {
    double noise = 0;       // standard deviation, of full scale
    double drift = 0;       // 0 or 1
    double contrast = 1;    // gain around middle grey
    double saturation = 1;  // gain
    double wash = 0;        // 0 to 1
    double softness = 0;    // 0 to 0.75
    double doubling = 0;    // 0 and more
};

[[nodiscard]] Defects true_defects(const PictureSettings& settings);
[[nodiscard]] double badness(const Defects& defects);

// How fast a sampler converges, against Euler. Unknown samplers are taken as Euler.
[[nodiscard]] double sampler_rate(std::string_view sampler);
// Forwards of the network per step. dpm_adaptive, which chooses its own steps, is counted as 2.
[[nodiscard]] int forwards_per_step(std::string_view sampler);

}  // namespace plimsoll::simulator
