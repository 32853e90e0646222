// SPDX-License-Identifier: Apache-2.0
//
// What a person chooses for a generated picture. Plain values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace plimsoll {

// How good a picture is wanted: decides the steps, in the way that suits the model.
enum class Quality : std::uint8_t { Draft, Optimized, High, Ultra };

// All of it. Ranges: sides 512 to 1536 pixels in steps of 8, steps 8 to 50, CFG 1 to 15, batch 1 to
// 64.
struct Settings {
    std::string model;  // a profile's name ("sdxl-base") or a checkpoint file as ComfyUI lists it
    int width = 1024;   // pixels
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

// As much of it as somebody cares about; the model's profile fills in the rest.
struct Wishes {
    std::optional<std::string> model;
    std::optional<std::string> negative;  // the negative prompt
    std::optional<int> width;
    std::optional<int> height;
    std::optional<int> batch;
    std::optional<int> steps;
    std::optional<double> cfg;
    std::optional<std::string> sampler;
    std::optional<std::string> scheduler;
    std::optional<Quality> quality;
    std::optional<std::uint64_t> seed;
    bool vae_tiling = false;

    Wishes() = default;
    explicit Wishes(const Settings& settings)
        : model(settings.model),
          width(settings.width),
          height(settings.height),
          batch(settings.batch),
          steps(settings.steps),
          cfg(settings.cfg),
          sampler(settings.sampler),
          scheduler(settings.scheduler),
          seed(settings.seed),
          vae_tiling(settings.vae_tiling) {}

    friend bool operator==(const Wishes&, const Wishes&) = default;
};

}  // namespace plimsoll
