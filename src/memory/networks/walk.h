// SPDX-License-Identifier: Apache-2.0
//
// The door of the ghost networks: one function per phase, each a walk over the network as its
// Python forward runs. A Network is immutable after it was built and may be walked from any number
// of threads at once.
#pragma once
#include "base/error.h"
#include "base/units.h"
#include "memory/compute_type.h"
#include "memory/live_tensor.h"
#include "memory/networks/module_entry.h"
#include "memory/ops.h"
#include "memory/reference_method.h"
#include "modelfile/network_config.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace plimsoll::memory {

// How a walk keeps its books. The recorded traces come from two kinds of recorder that differ in
// nothing else.
enum class Accounting : std::uint8_t {
    CastsApart,     // weight copies in max_cast, not in the peak; inputs are named among the live
                    // tensors
    CastsIncluded,  // weight copies are tensors like others; kernels' temporaries are named, inputs
                    // are not
};

// Watches a walk's operations one by one, for comparing them with a recording.
namespace ghost {
struct OpEvent;
}
using OpObserver = std::function<void(const ghost::OpEvent&)>;

// Which forwards: ComfyUI's own code changed between versions, PyTorch's kernels too.
struct ForwardRules {
    int comfyui_minor_key =
        3064;  // major * 1'000'000 + minor * 1000 + patch: 0.3.64 -> 3064, 0.33.0 -> 33000
    bool fused_rms_norm = false;         // torch >= 2.9
    bool fused_rope = false;             // ComfyUI's own kernels, cu130 builds
    bool efficient_attention = false;    // mem-efficient instead of flash where both could run
    bool math_attention_in_vae = false;  // the VAE's single head of 512 as the math kernel
    double card_gib = 0;  // of the whole card, by which some networks cut their work; 0: not known
    Accounting accounting = Accounting::CastsApart;
    const OpObserver* observer = nullptr;  // outlives the call
};

// What a walk tells. All bytes rounded up to 512 per storage, as the CUDA caching allocator does.
struct Walk {
    Bytes weights;  // parameters and buffers, resident; not part of the peak
    std::int64_t params = 0;
    Bytes input;     // tensors that the caller keeps alive; not part of the peak
    Bytes peak;      // most bytes allocated at once during the call, the output included
    Bytes max_cast;  // most bytes of weight copies in compute type alive at once; not part of the
                     // peak
    OpCosts costs;
    std::string peak_module;
    std::string peak_op;
    std::vector<LiveTensor> top_live;  // at the peak, largest first, at most 8
};

class Network {
  public:
    virtual ~Network() = default;
    [[nodiscard]] virtual const std::vector<ModuleEntry>& modules()
        const = 0;                                          // castable and not, in load order
    [[nodiscard]] virtual std::int64_t params() const = 0;  // parameters (buffers not counted)
    [[nodiscard]] virtual Bytes weights(ComputeType storage) const = 0;  // parameters and buffers
};

class Denoiser;
class ControlNetNetwork;
class ModelPatchNetwork;
class T2iAdapterNetwork;
class Vae;
class KlVaeNetwork;
class ClipNetwork;

// Fail with InvalidInput when the numbers contradict each other (a level without channels, heads
// that do not divide...).
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_unet(
    const modelfile::UnetConfig& config);
// Stable Video Diffusion's: `temporal` is set. A step's batch is videos x frames.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_video_unet(
    const modelfile::UnetConfig& config);
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_flux(
    const modelfile::FluxConfig& config);
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_denoiser(
    const modelfile::DenoiserConfig& config);
[[nodiscard]] Result<std::shared_ptr<const Vae>> build_vae(const modelfile::VaeConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ControlNetNetwork>> build_controlnet(
    const modelfile::ControlConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ModelPatchNetwork>> build_model_patch(
    const modelfile::PatchConfig& config);
[[nodiscard]] Result<std::shared_ptr<const T2iAdapterNetwork>> build_t2i_adapter(
    const modelfile::T2iAdapterConfig& config);
[[nodiscard]] Result<std::shared_ptr<const KlVaeNetwork>> build_kl_vae(
    const modelfile::KlVaeConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ClipNetwork>> build_clip(
    const modelfile::ClipTextConfig& config);
// The same objects seen as Network, for loaders.
[[nodiscard]] std::shared_ptr<const Network> as_network(std::shared_ptr<const Denoiser> network);
[[nodiscard]] std::shared_ptr<const Network> as_network(
    std::shared_ptr<const ControlNetNetwork> network);
[[nodiscard]] std::shared_ptr<const Network> as_network(
    std::shared_ptr<const T2iAdapterNetwork> network);
[[nodiscard]] std::shared_ptr<const Network> as_network(
    std::shared_ptr<const KlVaeNetwork> network);
[[nodiscard]] std::shared_ptr<const Network> as_network(std::shared_ptr<const ClipNetwork> network);

enum class StepEntry : std::uint8_t {
    ApplyModel,        // fp32 latents and conds handed in, casts included
    Forward,           // the network alone, inputs already in compute type
    SamplingFunction,  // ComfyUI puts `conds` conditions into one forward; `batch` is the effective
                       // one
};

// Size of a latent, in cells.
struct LatentExtent {
    int frames = 1;
    int height = 0;
    int width = 0;
};

struct StepCall {
    StepEntry entry = StepEntry::ApplyModel;
    int batch = 1;            // effective: cond + uncond together
    int latent_height = 128;  // cells
    int latent_width = 128;
    int tokens = 77;  // text tokens
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float16;
    // SamplingFunction: 2 where cond and uncond share the forward; 1 with CFG 1, or where they run
    // one after the other. `batch` is conds x images.
    int conds = 2;
    // SamplingFunction runs it first, and its control tensors die as the UNet takes them.
    // ApplyModel is handed tensors of its shapes by the caller, as inputs.
    const ControlNetNetwork* controlnet = nullptr;
    int control_types = 1;  // of a union ControlNet: 0 where the workflow names no type
    const ModelPatchNetwork* patch = nullptr;  // runs inside the network's forward
    int latent_frames = 1;
    int audio_latents = 0;            // of the sound beside a video
    int lyrics = 512;                 // tokens of what is sung; those of the recordings
    bool timestep_per_frame = false;  // rather than one for each latent
    bool timestep_per_token = false;  // the same for networks that take one for each token
    // Of reference images. Initialised, so that designated initialisers may leave it out.
    std::vector<LatentExtent> references = {};  // NOLINT(readability-redundant-member-init)
    ReferenceMethod reference_method = ReferenceMethod::Usual;
    ForwardRules rules = {};
};

struct AdapterCall {
    int batch = 1;
    int height = 512;  // pixels of the hint
    int width = 512;
    ComputeType compute = ComputeType::Float16;
    ForwardRules rules = {};
};

struct VaeCall {
    int batch = 1;
    int frames = 1;     // of pixels; the networks of images take one
    int height = 1024;  // pixels
    int width = 1024;
    int latents = 0;  // of a sound, along the time; instead of frames and sizes
    ComputeType compute = ComputeType::BFloat16;
    ComputeType storage = ComputeType::BFloat16;
    ForwardRules rules = {};
};

struct ClipCall {
    int batch = 1;
    int tokens = 77;
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    bool stop_at_hidden_minus_two = false;  // SDXL's clip_l: layer "hidden", index -2
    ForwardRules rules = {};
};

[[nodiscard]] Walk simulate_step(const Denoiser& model, const StepCall& call);
[[nodiscard]] Walk simulate_controlnet(const ControlNetNetwork& controlnet, const StepCall& call);
[[nodiscard]] Walk simulate_t2i_adapter(const T2iAdapterNetwork& adapter, const AdapterCall& call);
[[nodiscard]] Walk simulate_vae_decode(const KlVaeNetwork& vae, const VaeCall& call);
[[nodiscard]] Walk simulate_vae_encode(const KlVaeNetwork& vae, const VaeCall& call);
[[nodiscard]] Walk simulate_text_encode(const ClipNetwork& clip, const ClipCall& call);

}  // namespace plimsoll::memory
