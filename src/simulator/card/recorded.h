// SPDX-License-Identifier: Apache-2.0
//
// What the simulated card knows, all of it recorded from real software or taken from data sheets
// (data/simulator/, made by tools/make_simulator_data.py): cards, bytes of every module, peaks of
// every network. Nothing here comes from Plimsoll's own forecaster.
//
// Leaves through: CardSpec, Modules, Activation.   Threads: immutable after the first use.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

struct CardSpec {
    std::string key;
    std::string name;              // as the driver says it
    int compute_capability = 0;    // 86 is 8.6
    std::int64_t total_bytes = 0;  // what cudaMemGetInfo reports as total
    double peak_tflops = 0;        // 16-bit matrix units, fp32 accumulation
    double reached = 0;            // share of it that a UNet forward reaches
    double bandwidth_gbs = 0;
    int pcie_gen = 0;
    int pcie_lanes = 0;
    double tdp_w = 0;
};

// NotFound with the nearest names.
[[nodiscard]] Result<CardSpec> find_card(std::string_view key);
[[nodiscard]] std::vector<std::string> card_keys();

// A leaf of a network: the unit in which ComfyUI loads, streams and evicts.
struct ModuleBytes {
    std::string name;
    std::int64_t bytes = 0;
    bool castable = true;  // may be streamed instead of loaded
};
// Modules of "sd15", "sdxl", "te_clip_l", "vae_kl4"... in 16 bit, in named_modules() order; empty
// for a name that was not recorded.
[[nodiscard]] std::span<const ModuleBytes> recorded_modules(std::string_view network);

// One run of a network.
struct Activation {
    std::int64_t peak_bytes = 0;   // most bytes alive at once, output included, inputs not
    std::int64_t input_bytes = 0;  // what the caller keeps alive
    std::int64_t cast_bytes = 0;   // largest weight copy in another type
    double flops = 0;
    double kernels = 0;
};

struct RunQuestion {
    std::string_view network;
    std::string_view phase;  // forward, guidance_extra, control_extra, encode, decode, upscale
    int element_bytes = 2;
    std::int64_t extent = 0;  // latent cells; pixels for upscale; tokens for text
    std::int64_t batch = 1;
};
// Interpolated between the recorded points: linear in the extent between the two nearest ones (and
// beyond the ends along the last two), linear in the batch. NotFound for an unknown network.
[[nodiscard]] Result<Activation> recorded_activation(const RunQuestion& question);

// The whole of GET /object_info's structure as recorded, one JSON object.
[[nodiscard]] const std::string& recorded_object_info();

}  // namespace plimsoll::simulator
