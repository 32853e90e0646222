// SPDX-License-Identifier: Apache-2.0
//
// The latent upsampler of LTX-Video and LTX-2 (Lightricks 2025): residual blocks of convolutions
// over space and time before and after the cells of each frame, or the frames, are spread. Since
// 0.29 its layers are ComfyUI's own; before, they were PyTorch's, and it ran outside of the loader.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/walk.h"
#include "modelfile/networks/latent_upscaler_config.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct LatentUpscaleCall {
    int batch = 1;
    int frames = 1;  // of the latent
    int height = 16;
    int width = 24;
    ComputeType compute = ComputeType::BFloat16;
    ForwardRules rules = {};
};

class LatentUpscaler final : public RegisteredNetwork {
  public:
    explicit LatentUpscaler(const modelfile::LatentUpscalerConfig& config);

    [[nodiscard]] const modelfile::LatentUpscalerConfig& config() const { return config_; }
    [[nodiscard]] LatentExtent enlarged(const LatentExtent& latent) const;
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& latent) const;  // [N, C, T, H, W]

  private:
    // Of a video, frames by themselves lie apart in memory.
    enum class Frames : std::uint8_t { Together, Apart };
    struct Block {
        Block(Registry& registry, std::string_view path, std::int64_t channels);
        [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, Frames given) const;

        Module path;
        Module activation;
        Conv3d conv1;
        GroupNorm norm1;
        Conv3d conv2;
        GroupNorm norm2;
    };
    [[nodiscard]] int spread_by() const;  // of the sides
    [[nodiscard]] Tensor spread(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor blur(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor spread_in_time(Tape& tape, const Tensor& x) const;

    modelfile::LatentUpscalerConfig config_;
    Module root_;
    Conv3d initial_;
    GroupNorm initial_norm_;
    Module activation_;
    std::vector<Block> before_;
    Module upsampler_;
    Module blur_;
    std::optional<Conv2d> spread_;
    std::optional<Conv3d> spread_in_time_;
    std::vector<Block> after_;
    std::optional<Conv3d> final_;
};

// Fails with InvalidInput where the numbers contradict each other, or are of one that is not
// walked: in two dimensions, over space and time at once.
[[nodiscard]] Result<std::shared_ptr<const LatentUpscaler>> build_latent_upscaler(
    const modelfile::LatentUpscalerConfig& config);
// With the VAE's statistics taken off before and put on again.
[[nodiscard]] Walk simulate_latent_upscale(const LatentUpscaler& network,
                                           const LatentUpscaleCall& call);

}  // namespace plimsoll::memory
