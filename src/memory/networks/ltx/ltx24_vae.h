// SPDX-License-Identifier: Apache-2.0
//
// The VAE of LTX 2.4: the encoder of LTX-Video's, and a decoder that denoises pixels in one step,
// led by what stages of neighbourhood attention made of the latent.
#pragma once
#include "memory/networks/ltx/ltx_vae.h"
#include "memory/networks/ltx/neighborhood.h"
#include "modelfile/networks/ltx24_vae_config.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Ltx24Block {
  public:
    // `diffusion`: modulated by the timestep, and led by the context.
    Ltx24Block(Registry& registry, std::string_view path, std::int64_t width, std::int64_t head_dim,
               const Extent3& window, bool diffusion);
    void forward(Tape& tape, const Tensor& x) const;
    void forward(Tape& tape, const Tensor& x, const Tensor& context,
                 const Tensor& modulation) const;

  private:
    std::int64_t width_;
    Module path_;
    std::optional<Linear> context_proj_;
    RmsNorm norm1_;
    NeighborhoodAttention attention_;
    RmsNorm norm2_;
    NeighborhoodMlp mlp_;
};

class Ltx24Upsample {
  public:
    struct Shape {
        std::int64_t in = 0;
        Extent3 stride = {};
        std::int64_t reduction = 1;
    };
    Ltx24Upsample(Registry& registry, std::string_view path, const Shape& shape);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Shape shape_;
    Linear proj_;
};

class Ltx24VaeNetwork final : public Vae {
  public:
    Ltx24VaeNetwork(const modelfile::LtxVaeConfig& encoder,
                    const modelfile::Ltx24DecoderConfig& decoder);

    [[nodiscard]] const modelfile::Ltx24DecoderConfig& config() const { return config_; }
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::LtxDiffusion; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    // Its encoder, which keeps a variance of its own, was not recorded.
    [[nodiscard]] bool encodes() const override { return false; }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;

  private:
    [[nodiscard]] Tensor make_context(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor denoise(Tape& tape, const Tensor& context, const Tensor& noise) const;

    modelfile::Ltx24DecoderConfig config_;
    Module root_;
    LtxVaeEncoder encoder_;
    Module path_;
    Linear conv_in_;
    std::vector<std::vector<Ltx24Block>> stages_;
    std::vector<Ltx24Upsample> upsamples_;
    Module embedder_;
    Linear embedder_in_;
    Module embedder_act_;
    Linear embedder_out_;
    Linear conv_in_x_t_;
    Module adaln_;
    Linear adaln_proj_;
    std::vector<Ltx24Block> diff_blocks_;
    RmsNorm norm_out_;
    Linear conv_out_;
};

[[nodiscard]] Result<std::shared_ptr<const Ltx24VaeNetwork>> build_ltx24_vae(
    const modelfile::LtxVaeConfig& encoder, const modelfile::Ltx24DecoderConfig& decoder);
// One video; `chunk_bytes` does not count.
[[nodiscard]] Walk simulate_ltx24_vae_decode(const Ltx24VaeNetwork& vae, const LtxVaeCall& call);

}  // namespace plimsoll::memory
