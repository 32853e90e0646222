// SPDX-License-Identifier: Apache-2.0
//
// HunyuanVideo's VAE: AutoencoderKL with convolutions over time, eight pixels along a side and four
// frames, but for the first one, to a cell of the latent.
#pragma once
#include "memory/networks/vae.h"
#include "memory/networks/vae/video_layers.h"
#include "modelfile/networks/hunyuan_vae_config.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Nearest neighbours, then a convolution. Where time grows, the first frame grows in space only.
class VideoUpsample {
  public:
    VideoUpsample(Registry& registry, std::string_view path, std::int64_t channels,
                  std::int64_t times);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, FrameCarry* carry) const;

  private:
    [[nodiscard]] Tensor enlarge(Tape& tape, const Tensor& x, std::int64_t frames, bool strided,
                                 bool first) const;

    Module path_;
    std::int64_t times_;
    VaeConv conv_;
};

struct VideoVaeLevel {
    std::vector<VaeResidual> blocks;
    Module downsample_path = nullptr;
    std::optional<VaeConv> downsample;
    std::optional<VideoUpsample> upsample;
};

class HunyuanVaeEncoder {
  public:
    HunyuanVaeEncoder(Registry& registry, const modelfile::HunyuanVideoVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;

  private:
    Module path_;
    std::int64_t time_compress_;
    VaeConv conv_in_;
    std::vector<VideoVaeLevel> levels_;
    std::optional<VideoVaeMiddle> middle_;
    std::optional<VaeNorm> norm_out_;
    std::optional<VaeConv> conv_out_;
};

class HunyuanVaeDecoder {
  public:
    HunyuanVaeDecoder(Registry& registry, const modelfile::HunyuanVideoVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;

  private:
    [[nodiscard]] Tensor run_levels(Tape& tape, Tensor x, FrameCarry* carry) const;

    Module path_;
    VaeConv conv_in_;
    VideoVaeMiddle middle_;
    std::vector<VideoVaeLevel> levels_;  // levels_[0] is the finest, as in the file
    std::optional<VaeNorm> norm_out_;
    std::optional<VaeConv> conv_out_;
};

class HunyuanVaeNetwork final : public Vae {
  public:
    explicit HunyuanVaeNetwork(const modelfile::HunyuanVideoVaeConfig& config);

    [[nodiscard]] const modelfile::HunyuanVideoVaeConfig& config() const { return config_; }
    [[nodiscard]] std::int64_t downscale() const {
        return std::int64_t{1} << (config_.ch_mult.size() - 1);
    }
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::HunyuanVideo; }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = static_cast<int>(downscale()),
                .frames_per_cell = config_.time_compress,
                .latent_channels = config_.z_channels};
    }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    modelfile::HunyuanVideoVaeConfig config_;
    HunyuanVaeEncoder encoder_;
    HunyuanVaeDecoder decoder_;
    VaeConv quant_conv_;
    VaeConv post_quant_conv_;
    Module regularization_;
};

[[nodiscard]] Result<std::shared_ptr<const HunyuanVaeNetwork>> build_hunyuan_vae(
    const modelfile::HunyuanVideoVaeConfig& config);

}  // namespace plimsoll::memory
