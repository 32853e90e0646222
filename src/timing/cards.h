// SPDX-License-Identifier: Apache-2.0
//
// The card catalogue: what the vendors' specifications say about each card, read from
// data/cards.csv (embedded). Facts only; how much of a peak is reached is Efficiency's business
// (timing/roofline.h).
//
// Leaves through: Card.   Threads: the catalogue is built once and never changes.
#pragma once
#include "base/error.h"
#include "base/units.h"
#include "memory/server.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::timing {

struct Card {
    std::string key;   // "rtx3050-6gb": the name of --card
    std::string name;  // "NVIDIA GeForce RTX 3050 6GB", as the driver calls it
    memory::Vendor vendor = memory::Vendor::Nvidia;
    std::string arch;                // "ampere", "gfx1100", "xe-hpg"
    int compute_capability = 0;      // NVIDIA: 10 x major + minor; 0 elsewhere
    Bytes vram;                      // nominal
    Bytes visible;                   // total as cudaMemGetInfo reports it on Linux
    bool visible_from_text = false;  // seen in public PyTorch texts; else a rule of its generation
    int bus_bits = 0;
    double memory_gbps = 0;    // per pin
    double bandwidth_gbs = 0;  // 10^9 bytes per second
    int cores = 0;             // fp32 lanes
    int boost_mhz = 0;
    double fp32_tflops = 0;
    std::optional<double> fp16_tflops;  // matrix units, dense, fp32 accumulation; nullopt: none
    std::optional<double> bf16_tflops;
    int pcie_gen = 0;
    int pcie_lanes = 0;
    int tdp_w = 0;
    std::string source;
};

// In the file's order: vendor, then generation, then size.
[[nodiscard]] std::span<const Card> card_catalogue();

// Accepts a key, a driver's name, and what ComfyUI makes of it ("cuda:0 NVIDIA GeForce RTX 3050 6GB
// Laptop GPU : cudaMallocAsync"). Where a name is sold with several memories, `total` (as the
// driver reports it) decides; without it the first of the catalogue. NotFound names the nearest
// keys.
[[nodiscard]] Result<const Card*> find_card(std::string_view name, std::optional<Bytes> total = {});

// What the CUDA context and the driver take outside torch's allocator once kernels are loaded: 300
// MiB up to Ampere, 430 from Ada on (public measurements: 256 MiB RTX 3090 with CUDA 12.8, 426 MiB
// RTX 6000 Ada with CUDA 13).
[[nodiscard]] Bytes context_bytes(const Card& card);

// The card as `memory` wants it. Windows reports nearly all of the nominal memory as total, Linux
// what the driver leaves.
[[nodiscard]] memory::Device device_from(
    const Card& card, memory::OperatingSystem os = memory::OperatingSystem::Linux,
    std::optional<Bytes> used_by_others = {});

// From the text of a catalogue file. Corrupt with the line when a line is malformed.
[[nodiscard]] Result<std::vector<Card>> parse_cards(std::string_view csv);

}  // namespace plimsoll::timing
