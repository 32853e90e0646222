// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of HunyuanImage 2.1, of its refiner and of HunyuanVideo 1.5: pixels become channels and
// back, with shortcuts that have no weights (as in DC-AE, Chen et al. 2024).
#pragma once
#include "memory/networks/vae/hunyuan_vae.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Blocks of 2 x 2 cells, and of two frames where time changes too, as channels. Where the
// convolutions are causal, the first frame of a video has no partner.
struct PixelStep {
    std::int64_t in = 0;
    std::int64_t out = 0;
    std::int64_t times = 1;
    ConvKind kind = ConvKind::Image;

    [[nodiscard]] std::int64_t cells() const { return 4 * times; }
    [[nodiscard]] bool first_apart(const FrameCarry& carry) const {
        return kind == ConvKind::Causal && times > 1 && carry.first;
    }
};

class PixelDownsample {
  public:
    PixelDownsample(Registry& registry, std::string_view path, const PixelStep& step);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, FrameCarry& carry) const;

  private:
    [[nodiscard]] Tensor fold(Tape& tape, const Tensor& x, std::int64_t times) const;
    [[nodiscard]] Tensor mean(Tape& tape, const Tensor& folded) const;
    [[nodiscard]] Tensor forward_image(Tape& tape, const Tensor& x) const;

    Module path_;
    PixelStep step_;
    VaeConv conv_;
};

class PixelUpsample {
  public:
    PixelUpsample(Registry& registry, std::string_view path, const PixelStep& step);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, FrameCarry& carry) const;

  private:
    [[nodiscard]] Tensor unfold(Tape& tape, const Tensor& x, std::int64_t times) const;
    [[nodiscard]] Tensor repeat(Tape& tape, const Tensor& x, std::int64_t repeats) const;
    [[nodiscard]] Tensor forward_image(Tape& tape, const Tensor& x) const;

    Module path_;
    PixelStep step_;
    VaeConv conv_;
};

class PixelVaeEncoder {
  public:
    PixelVaeEncoder(Registry& registry, const modelfile::PixelVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;

  private:
    struct Level {
        std::vector<VaeResidual> blocks;
        std::optional<PixelDownsample> downsample;
    };
    [[nodiscard]] Tensor read_repeated(Tape& tape, const Tensor& image, FrameCarry& carry) const;
    [[nodiscard]] Tensor run_levels(Tape& tape, Tensor x, FrameCarry& carry) const;

    Module path_;
    VaeStyle style_;
    std::int64_t frames_per_latent_;
    std::int64_t moments_;
    VaeConv conv_in_;
    std::vector<Level> levels_;
    std::optional<VideoVaeMiddle> middle_;
    std::optional<VaeNorm> norm_out_;
    std::optional<VaeConv> conv_out_;
};

class PixelVaeDecoder {
  public:
    PixelVaeDecoder(Registry& registry, const modelfile::PixelVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;

  private:
    struct Level {
        std::vector<VaeResidual> blocks;
        std::optional<PixelUpsample> upsample;
    };
    [[nodiscard]] Tensor run_levels(Tape& tape, Tensor x, FrameCarry& carry) const;

    Module path_;
    VaeStyle style_;
    std::int64_t repeats_;  // of the latent's channels
    VaeConv conv_in_;
    VideoVaeMiddle middle_;
    std::vector<Level> levels_;
    std::optional<VaeNorm> norm_out_;
    std::optional<VaeConv> conv_out_;
};

class PixelVaeNetwork final : public Vae {
  public:
    explicit PixelVaeNetwork(const modelfile::PixelVaeConfig& config);

    [[nodiscard]] const modelfile::PixelVaeConfig& config() const { return config_; }
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override {
        return config_.ffactor_temporal > 0 ? VaeKind::HunyuanVideo15 : VaeKind::HunyuanImage;
    }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = config_.ffactor_spatial,
                .frames_per_cell = config_.ffactor_temporal > 0 ? config_.ffactor_temporal : 1,
                .latent_channels = config_.z_channels};
    }
    // Videos' passed as a whole before 0.33.0, in another order of channels; the refiner's was
    // recorded for images only.
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    modelfile::PixelVaeConfig config_;
    PixelVaeEncoder encoder_;
    PixelVaeDecoder decoder_;
    Module regularization_;
};

[[nodiscard]] Result<std::shared_ptr<const PixelVaeNetwork>> build_pixel_vae(
    const modelfile::PixelVaeConfig& config);

}  // namespace plimsoll::memory
