// SPDX-License-Identifier: Apache-2.0
//
// One way to draw a picture of a given prompt and seed: what the lab varies and compares. Plain
// values.
#pragma once
#include <string>
#include <string_view>

namespace plimsoll::quality {

struct Setting {
    std::string checkpoint;  // as ComfyUI lists it: precisions of a model are files of their own
    int width = 1024;
    int height = 1024;
    int steps = 20;
    double cfg = 7.0;
    std::string sampler = "dpmpp_2m";
    std::string scheduler = "karras";
    bool vae_tiling = false;
    friend bool operator==(const Setting&, const Setting&) = default;
};

// "dpmpp_2m karras, 20 steps, CFG 7, 1024 x 1024, tiled decode"
[[nodiscard]] std::string setting_words(const Setting& setting);

}  // namespace plimsoll::quality
