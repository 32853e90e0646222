// SPDX-License-Identifier: Apache-2.0
//
// The VAE of LTX-Video and LTX-2: 8 frames of 32 x 32 pixels to one latent cell, the first frame
// alone. ComfyUI 0.33.0 runs it chunk by chunk, the larger the card, the larger the chunks.
#pragma once
#include "memory/networks/ltx/ltx_vae_layers.h"
#include "memory/networks/vae.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// Bytes of a chunk on a card of that size, in a decoder of ComfyUI 0.33.0.
[[nodiscard]] std::int64_t ltx_vae_chunk_bytes(double total_vram_gib);

enum class LtxVaeForm : std::uint8_t { Whole, Chunked };  // ComfyUI 0.3.64, 0.33.0

class LtxVaeEncoder {
  public:
    LtxVaeEncoder(Registry& registry, const modelfile::LtxVaeConfig& config, LtxVaeForm form);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;
    [[nodiscard]] Tensor forward_chunked(Tape& tape, const Tensor& pixels,
                                         std::int64_t chunk_bytes) const;

  private:
    [[nodiscard]] Tensor to_patches(Tape& tape, const Tensor& pixels) const;
    // Undefined where a chunk gives no latent frame yet.
    [[nodiscard]] Tensor run(Tape& tape, Tensor x, LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const;

    Module path_;
    Module norm_out_;
    Module act_;
    std::int64_t patch_;
    std::int64_t in_;
    std::int64_t base_;
    LtxConv conv_in_;
    std::vector<LtxVaeLayer> blocks_;
    std::optional<LtxConv> conv_out_;
};

class LtxVaeDecoder {
  public:
    LtxVaeDecoder(Registry& registry, const modelfile::LtxVaeConfig& config, LtxVaeForm form);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;
    // The video is put together in the host's memory.
    void forward_chunked(Tape& tape, const Tensor& z, std::int64_t chunk_bytes) const;

  private:
    struct Run {
        LtxVaeStream stream;
        Tensor timestep;    // undefined: not conditioned
        Tensor modulation;  // of the last norm
        std::int64_t chunk_bytes = 0;
    };
    void run_up(Tape& tape, Run& run, std::size_t index, Tensor x, bool ended) const;
    [[nodiscard]] Tensor scale_timestep(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor last_modulation(Tape& tape, const Tensor& timestep) const;
    [[nodiscard]] Tensor finish(Tape& tape, Tensor x, const Tensor& modulation,
                                LtxVaeStream* stream) const;
    [[nodiscard]] Tensor from_patches(Tape& tape, const Tensor& x) const;

    Module path_;
    Module norm_out_;
    Module act_;
    std::int64_t patch_;
    std::int64_t out_;
    std::optional<LtxConv> conv_in_;
    std::vector<LtxVaeLayer> blocks_;
    std::optional<LtxConv> conv_out_;
    std::int64_t width_;  // of the last level
    std::optional<LtxVaeTimestep> last_time_embedder_;
};

inline constexpr int kLtxVaeFrames = 8;   // of pixels in a cell
inline constexpr int kLtxVaePixels = 32;  // along a side

class LtxVaeNetwork final : public Vae {
  public:
    // `older`: the same in the form of ComfyUI before 0.33.0, where its calls go; may be nullptr.
    LtxVaeNetwork(const modelfile::LtxVaeConfig& config, LtxVaeForm form,
                  std::shared_ptr<const LtxVaeNetwork> older);

    [[nodiscard]] const modelfile::LtxVaeConfig& config() const { return config_; }
    // `chunk_bytes` counts in the chunked form.
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z, std::int64_t chunk_bytes) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels, std::int64_t chunk_bytes) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::Ltx; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    // Frames: 1 more than a multiple of 8, others do not reach the network.
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    modelfile::LtxVaeConfig config_;
    LtxVaeForm form_;
    std::shared_ptr<const LtxVaeNetwork> older_;
    Module root_;
    LtxVaeEncoder encoder_;
    LtxVaeDecoder decoder_;
};

struct LtxVaeCall {
    int batch = 1;
    int frames = 1;  // of pixels, one more than a multiple of 8
    int height = 512;
    int width = 768;
    std::int64_t chunk_bytes = 0;
    ComputeType compute = ComputeType::BFloat16;
    ComputeType storage = ComputeType::BFloat16;
    ForwardRules rules = {};
};

// In one form.
[[nodiscard]] Result<std::shared_ptr<const LtxVaeNetwork>> build_ltx_vae(
    const modelfile::LtxVaeConfig& config, LtxVaeForm form);
// In the form that a call's version of ComfyUI has; its modules are those of the newer one.
[[nodiscard]] Result<std::shared_ptr<const Vae>> build_ltx_vae(
    const modelfile::LtxVaeConfig& config);
[[nodiscard]] Walk simulate_ltx_vae_decode(const LtxVaeNetwork& vae, const LtxVaeCall& call);
[[nodiscard]] Walk simulate_ltx_vae_encode(const LtxVaeNetwork& vae, const LtxVaeCall& call);

}  // namespace plimsoll::memory
