// SPDX-License-Identifier: Apache-2.0
//
// TAESD (Boer Bohan 2023): a small autoencoder for previews, in the latent space of a larger one.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/vae.h"

#include <array>
#include <memory>
#include <vector>

namespace plimsoll::memory {

class TaesdBlock {
  public:
    TaesdBlock(Registry& registry, std::string_view path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Conv2d conv1_;
    Module relu1_;
    Conv2d conv2_;
    Module relu2_;
    Conv2d conv3_;
    Module fuse_;
};

class TaesdNetwork final : public Vae {
  public:
    explicit TaesdNetwork(std::int64_t latent_channels);
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] std::int64_t latent_channels() const { return latent_channels_; }

    static constexpr int kDownscale = 8;  // pixels to a cell, along a side

    // ComfyUI's estimate for it is the one for AutoencoderKL.
    [[nodiscard]] VaeKind kind() const override { return VaeKind::AutoencoderKl; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] bool encodes() const override { return false; }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;

  private:
    static constexpr std::size_t kLevels = 3;
    struct Level {
        std::vector<TaesdBlock> blocks;
        Module upsample;
        Conv2d conv;
    };
    void register_encoder();

    std::int64_t latent_channels_;
    Module root_;
    Module clamp_ = nullptr;
    Module relu_ = nullptr;
    std::vector<Conv2d> ends_;  // the decoder's first and last convolution
    std::vector<Level> levels_;
    std::vector<TaesdBlock> last_;
};

// Fails with InvalidInput where a latent of so many channels cannot be.
[[nodiscard]] Result<std::shared_ptr<const TaesdNetwork>> build_taesd(std::int64_t latent_channels);

}  // namespace plimsoll::memory
