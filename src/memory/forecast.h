// SPDX-License-Identifier: Apache-2.0
//
// Forecast: bytes over time, per phase, with reasons. Made by simulate_program (memory/simulate.h),
// priced by `timing`, judged against the load line by `advisor`. Plain values.
#pragma once
#include "base/phrase.h"
#include "base/units.h"
#include "memory/compute_type.h"
#include "memory/live_tensor.h"
#include "memory/ops.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

enum class PhaseKind : std::uint8_t {
    Load,
    TextEncode,
    ImageEncode,
    Sample,
    VaeEncode,
    VaeDecode,
    Upscale,
    Other,
    Unknown
};
[[nodiscard]] std::string_view phase_kind_name(PhaseKind kind);  // "text_encode", "sample", ...

enum class Verdict : std::uint8_t { Fits, FitsSlowly, WillNotFit, Unknown };
[[nodiscard]] std::string_view verdict_name(
    Verdict verdict);  // "fits", "fits_slowly", "will_not_fit", "unknown"

// One model as the loader left it when the phase ran.
struct Residency {
    std::string model;       // "sd_xl_base_1.0.safetensors / unet"
    Bytes size;              // whole
    Bytes resident;          // on the card
    Bytes streamed;          // copied over PCIe on every forward
    Bytes largest_streamed;  // the module whose copy is in flight
    int streamed_modules = 0;
    bool in_use = false;  // the phase computes with it; others merely stay
};

// The host's memory, without Python, torch and the CUDA runtime themselves.
struct HostMemory {
    Bytes weights;  // modules that are not on the card, and what patched ones were before
    Bytes loras;    // as their files have them
    Bytes outputs;  // of nodes, in ComfyUI's cache
    // Pages of files that are read or weights that are left in them: the system may drop them, and
    // reads them again.
    Bytes mapped;

    // What must be there.
    [[nodiscard]] Bytes held() const { return weights + loras + outputs; }
};

// What is known of a phase whose network nobody walked.
struct PhaseBound {
    Bytes weights;               // of its files, exactly
    Bytes lower;                 // no less is on the card at once
    std::optional<Bytes> upper;  // all weights resident and the most that computing may take; empty
                                 // where the size of its input is not known
    Phrase reason;               // what the numbers are made of
};

// One phase: one node that touches the card. Allocated bytes; context and cached blocks are outside
// (see `reserved`).
struct Phase {
    PhaseKind kind = PhaseKind::Other;
    std::string node_id;
    std::string class_type;
    Bytes peak;         // resident + activations + casts in flight: most bytes allocated at once
    Bytes floor;        // of these, what cannot be paged: activations, casts, one module in flight
    Bytes comfort;      // everything this phase uses resident, plus activations
    Bytes resident;     // weights on the card during the phase, all models
    Bytes activations;  // Walk::peak + Walk::input of the largest forward
    Bytes cast;         // weight copies in flight (dtype cast or streaming, patches with them)
    Bytes merging;      // most weights at once while LoRAs were merged into them as the phase
                        // began, with the copies that merging takes; 0: none were
    Bytes working_set;  // tensors, copies and kernels' workspaces: what computing holds at its
                        // height where there is room for it, without weights
    Bytes reserved;     // bound on what the allocator holds then: see Forecast::reserved
    HostMemory host;
    std::vector<Residency> models;
    Bytes loaded;          // bytes copied to the card when the phase began
    Bytes evicted;         // bytes that left the card when the phase began
    Bytes read_from_disk;  // bytes of files read, first job only
    Bytes streamed_per_forward;
    std::int64_t forwards =
        0;  // forwards in the phase: steps x NFE x (1 or 2), or VAE slices or tiles
    int batch_per_forward = 1;  // cond and uncond together count 2
    OpCosts cost_per_forward;
    ComputeType compute = ComputeType::Float16;
    bool runs_on_card = true;
    bool tiled = false;       // the VAE fell back to, or asked for, tiles
    std::string peak_module;  // site of the activation peak
    std::string peak_op;
    std::vector<LiveTensor> top_live;
    Phrases reasons;                  // why resident, evicted, streamed: sentences for --explain
    std::optional<PhaseBound> bound;  // of an unknown phase whose files were seen
};

struct Forecast {
    Verdict verdict =
        Verdict::Unknown;  // against the card itself (will it run), not against the load line
    Bytes peak;            // max over phases, allocated
    Bytes floor;
    Bytes comfort;
    Bytes working_set;
    // Bound on what nvidia-smi shows above the context: segments of the caching allocator and
    // workspaces of kernels, as far as the card has room for them. They give way where it has none.
    Bytes reserved;
    Bytes card_limit;           // what torch can have on this card
    Bytes host;                 // most that any phase holds in the host's memory
    Bytes host_mapped;          // with the pages that the system may drop, most of any phase
    std::vector<Phase> phases;  // in execution order
    Phrases unknown_nodes;      // "12 MyCustomNode": not understood, the verdict is widened
    Phrases warnings;
    // Where phases are unknown: what the job takes at least and at most, the known phases with it;
    // `upper` is empty where a phase has none.
    struct Bound {
        Bytes lower;
        std::optional<Bytes> upper;
    };
    std::optional<Bound> bound;
};

}  // namespace plimsoll::memory
