// SPDX-License-Identifier: Apache-2.0
//
// Settings: what a person chooses for a generated picture, with the ranges in which Plimsoll
// chooses. A workflow of the user's own may hold any value; these ranges bind generated settings
// only. Plain values.
#pragma once
#include "base/error.h"
#include "base/units.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::advisor {

inline constexpr int kSideMin = 512;  // pixels
inline constexpr int kSideMax = 1536;
inline constexpr int kSideStep = 8;  // the VAE's factor
inline constexpr int kStepsMin = 8;
inline constexpr int kStepsMax = 50;
inline constexpr double kCfgMin = 1.0;
inline constexpr double kCfgMax = 15.0;
inline constexpr int kBatchMax = 64;  // chosen: far above what a card of this kind decodes

enum class Quality : std::uint8_t { Draft, Optimized, High, Ultra };
[[nodiscard]] std::string_view quality_name(
    Quality quality);  // "draft", "optimized", "high", "ultra"
[[nodiscard]] Result<Quality> parse_quality(std::string_view name);

struct Settings {
    std::string model;  // a profile's name or a checkpoint file
    int width = 1024;
    int height = 1024;
    int steps = 20;
    double cfg = 7.0;
    std::string sampler = "dpmpp_2m";
    std::string scheduler = "karras";
    int batch = 1;
    std::uint64_t seed = 0;
    bool vae_tiling = false;
    friend bool operator==(const Settings&, const Settings&) = default;
};

// InvalidInput naming the value and its range.
[[nodiscard]] Result<void> check_ranges(const Settings& settings);

// What a model is for and the values it likes. `prior_*` serve until the file itself or a run has
// been seen. Users add their own in plimsoll.toml; the service reads that.
struct ModelProfile {
    std::string name;        // "sdxl-base"
    std::string checkpoint;  // file as ComfyUI lists it
    int native_side = 1024;  // pixels: the size it was trained at
    Bytes prior_vram;
    double prior_seconds = 0;  // 1024 x 1024, 20 steps, reference card
    std::string style_words;   // appended to the prompt
    std::string negative_words;
    double best_cfg = 7.0;
    std::string sampler = "dpmpp_2m";
    std::string scheduler = "karras";
    bool distilled = false;  // turbo, lightning, LCM: few steps, CFG near 1
};
[[nodiscard]] std::span<const ModelProfile> builtin_profiles();

// The profile of a name or checkpoint file; an unknown name that ends like a model file gets a
// neutral profile around it. NotFound lists the nearest.
[[nodiscard]] Result<ModelProfile> find_profile(std::string_view name,
                                                std::span<const ModelProfile> profiles);

// The steps a quality asks for with a multistep sampler at usual CFG.
[[nodiscard]] int steps_of(Quality quality, const ModelProfile& profile);
// What the settings promise by themselves: an ordinal, not a measurement.
[[nodiscard]] Quality expected_quality(const Settings& settings, const ModelProfile& profile);

}  // namespace plimsoll::advisor
