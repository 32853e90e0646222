// SPDX-License-Identifier: Apache-2.0
//
// The VAE of Stable Video Diffusion (Blattmann et al. 2023): Stable Diffusion's encoder, and a
// decoder whose blocks mix what they see of each frame with what they see over time.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/kl_vae.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// A convolution block over frames alone: its input is [N, C, T, H, W].
class SvdTimeStack {
  public:
    SvdTimeStack(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    GroupNorm norm1_;
    Module act1_;
    Conv3d conv1_;
    GroupNorm norm2_;
    Module act2_;
    Conv3d conv2_;
};

class SvdVaeBlock {
  public:
    SvdVaeBlock(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // [frames, C, H, W]

  private:
    Module path_;
    VaeResBlock spatial_;
    SvdTimeStack temporal_;
};

class SvdVaeNetwork final : public RegisteredNetwork {
  public:
    explicit SvdVaeNetwork(const modelfile::KlVaeConfig& config);
    // All frames of one video together.
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;
    [[nodiscard]] const modelfile::KlVaeConfig& config() const { return config_; }

  private:
    struct Level {
        std::vector<SvdVaeBlock> blocks;
        Module upsample_path = nullptr;
        std::optional<Conv2d> upsample;
    };
    [[nodiscard]] Tensor forward_out(Tape& tape, const Tensor& x) const;

    modelfile::KlVaeConfig config_;
    VaeEncoder encoder_;
    Module path_;
    Conv2d conv_in_;
    SvdVaeBlock middle1_;
    VaeAttention attention_;
    SvdVaeBlock middle2_;
    std::vector<Level> levels_;  // the finest first, as in the file
    GroupNorm norm_out_;
    Conv2d conv_out_;
    Conv3d time_out_;
};

// Fails with InvalidInput where a KL VAE of that configuration cannot be.
[[nodiscard]] Result<std::shared_ptr<const SvdVaeNetwork>> build_svd_vae(
    const modelfile::KlVaeConfig& config);
// `batch`: frames.
[[nodiscard]] Walk simulate_svd_vae_decode(const SvdVaeNetwork& vae, const VaeCall& call);

}  // namespace plimsoll::memory
