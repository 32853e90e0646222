// SPDX-License-Identifier: Apache-2.0
//
// Seconds from costs: every class of operation takes the longer of computing and moving its bytes,
// at the fraction of the card's peak that such operations reach (Efficiency); PyTorch's dispatch
// hides behind that or sets the pace; streamed weights and loads are added over PCIe and disk.
// Steps, NFE per step and CFG are already in Phase::forwards and batch.
//
// Enters through: memory::Phase.   Leaves through: PhaseSeconds.   Threads: no shared state.
#pragma once
#include "base/phrase.h"
#include "memory/forecast.h"
#include "timing/cards.h"
#include "timing/efficiency.h"

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::timing {

enum class Offload : std::uint8_t {
    Blocking,  // ComfyUI 0.3.64: a streamed weight is copied from pageable RAM, then used
    Async,     // --async-offload or newer defaults: pinned RAM, copies overlap with computing
};

enum class AttentionKernels : std::uint8_t {
    Flash2,           // PyTorch 2.2 and later, on Ampere and later
    FirstGeneration,  // FlashAttention 1, xformers of its time; memory-efficient attention
    Flash3,           // on Hopper, beside PyTorch
    WritesScores,     // matrix products with the scores in memory between them
};

// How the networks are run, where it is not ComfyUI's way.
struct Software {
    bool compiled = false;       // torch.compile with CUDA graphs: element-wise work is fused
    bool tf32_matmul = false;    // fp32 matmuls may use TF32, as NVIDIA's containers set it
    bool channels_last = false;  // activations of convolutions lie as the matrix units want them
    AttentionKernels attention = AttentionKernels::Flash2;
};

struct PhaseSeconds {
    double compute = 0;    // on the card, all forwards
    double streaming = 0;  // PCIe time that computing does not hide
    double load = 0;       // weights from disk and to the card when the phase begins
    double total = 0;
    double pace = 1;  // that `compute` and `streaming` have been multiplied by (timing/pace.h)
    bool dispatch_bound = false;  // the host sets the pace
    Phrases reasons;              // sentences for --explain
};

// What the machine's own runs did to a forecast's seconds, over all phases.
struct Learned {
    int runs = 0;       // that they rest upon
    double factor = 1;  // total / what the table alone says
    double low = 1;     // of the factor, 90 % (timing/pace.h)
    double high = 1;
};

struct ForecastSeconds {
    double total = 0;
    double without_load = 0;                        // the second run of the same job
    std::vector<PhaseSeconds> phases;               // one per Forecast::phases, same order
    std::optional<Learned> learned = std::nullopt;  // nullopt: from the table of cards alone
};

// Peak of the unit that runs a class in a type, in TFLOPS. Rules of the architectures: no matrix
// units or a type without them falls back to fp32 lanes (Pascal keeps fp16 storage but computes in
// fp32); fp32 convolutions use TF32 from compute capability 8.0 on (PyTorch's default), fp32
// matmuls only where the software says so.
[[nodiscard]] double peak_tflops(const Card& card, memory::OpClass op_class,
                                 memory::ComputeType compute, const Software& software = {});

// One way over the link, both directions not counted: 10^9 bytes per second, encoding already taken
// off.
[[nodiscard]] double pcie_gbs(const Card& card);

// Seconds of one forward without streaming.
[[nodiscard]] double forward_seconds(const memory::OpCosts& costs, memory::ComputeType compute,
                                     const Card& card, const Efficiency& efficiency,
                                     const Software& software = {});

[[nodiscard]] PhaseSeconds estimate_seconds(const memory::Phase& phase, const Card& card,
                                            const Efficiency& efficiency = default_efficiency(),
                                            Offload offload = Offload::Blocking);

[[nodiscard]] ForecastSeconds estimate_forecast(const memory::Forecast& forecast, const Card& card,
                                                const Efficiency& efficiency = default_efficiency(),
                                                Offload offload = Offload::Blocking);

}  // namespace plimsoll::timing
