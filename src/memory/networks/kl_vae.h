// SPDX-License-Identifier: Apache-2.0
//
// AutoencoderKL in the LDM layout: decode and encode, whole images or tiles alike.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/vae.h"

namespace plimsoll::memory {

class VaeResBlock {
  public:
    VaeResBlock(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    GroupNorm norm1_;
    Conv2d conv1_;
    GroupNorm norm2_;
    Conv2d conv2_;
    std::optional<Conv2d> shortcut_;
    Module act_;
};

class VaeAttention {
  public:
    VaeAttention(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    GroupNorm norm_;
    Conv2d q_;
    Conv2d k_;
    Conv2d v_;
    Conv2d out_;
};

class VaeMiddle {
  public:
    VaeMiddle(Registry& registry, std::string_view path, std::int64_t channels);
    // Takes the caller's variable: the calling Python function rebinds it after each part.
    [[nodiscard]] Tensor forward(Tape& tape, Tensor x) const;

  private:
    VaeResBlock block_1_;
    VaeAttention attn_1_;
    VaeResBlock block_2_;
};

class VaeEncoder {
  public:
    VaeEncoder(Registry& registry, const modelfile::KlVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    struct Level {
        std::vector<VaeResBlock> blocks;
        std::optional<Conv2d> downsample;  // on an input padded right and below
        Module downsample_path = nullptr;
    };
    Module path_;
    Conv2d conv_in_;
    std::vector<Level> levels_;
    std::optional<VaeMiddle> middle_;
    std::optional<GroupNorm> norm_out_;
    std::optional<Conv2d> conv_out_;
};

// Whether the middle block's result stays alive while the levels run: ComfyUI 0.33.0 does, 0.3.64
// did not.
enum class KeepMiddle : std::uint8_t { No, Yes };
[[nodiscard]] KeepMiddle keep_middle(const ForwardRules& rules);

class VaeDecoder {
  public:
    VaeDecoder(Registry& registry, const modelfile::KlVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z, KeepMiddle keep) const;

  private:
    struct Level {
        std::vector<VaeResBlock> blocks;
        std::optional<Conv2d> upsample;
        Module upsample_path = nullptr;
    };
    Module path_;
    Conv2d conv_in_;
    VaeMiddle middle_;
    std::vector<Level> levels_;  // levels_[0] is the finest, as in the file
    std::optional<GroupNorm> norm_out_;
    std::optional<Conv2d> conv_out_;
};

// The Gaussian posterior's mean, a view of `moments`: its deviation and variance are computed even
// where only the mean is used.
[[nodiscard]] Tensor kl_mean(Tape& tape, Module regularization, const Tensor& moments);

// Flux 2's latent: 2 x 2 cells as channels of one, normalised by statistics that were learned.
class LatentNorm {
  public:
    LatentNorm(Registry& registry, std::int64_t z_channels);
    [[nodiscard]] static Shape packed(const Shape& latent);
    [[nodiscard]] Tensor pack(Tape& tape, const Tensor& mean) const;
    // Leaves the deviation, which stays in a variable, in `deviation`.
    [[nodiscard]] Tensor unpack(Tape& tape, const Tensor& z, Tensor& deviation) const;

  private:
    [[nodiscard]] std::int64_t statistics_bytes(const Tensor& like) const {
        return channels_ * ghost::element_bytes(like.type());
    }

    Module root_;
    Module path_;
    std::int64_t channels_;
};

class KlVaeNetwork final : public Vae {
  public:
    explicit KlVaeNetwork(const modelfile::KlVaeConfig& config);

    [[nodiscard]] const modelfile::KlVaeConfig& config() const { return config_; }
    [[nodiscard]] std::int64_t downscale() const;  // pixels per latent cell along one side
    // What is decoded: `height` and `width` in pixels.
    [[nodiscard]] Shape latent_shape(std::int64_t batch, std::int64_t height,
                                     std::int64_t width) const;

    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z, KeepMiddle keep) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override {
        return latent_norm_ ? VaeKind::Flux2 : VaeKind::AutoencoderKl;
    }
    [[nodiscard]] VaeGrid grid() const override {
        // Flux 2 packs 2 x 2 cells into one.
        const int packed = latent_norm_ ? 2 : 1;
        return {.pixels_per_cell = packed * static_cast<int>(downscale()),
                .frames_per_cell = 1,
                .latent_channels = packed * packed * config_.z_channels};
    }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override {
        return simulate_vae_decode(*this, call);
    }
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override {
        return simulate_vae_encode(*this, call);
    }

  private:
    modelfile::KlVaeConfig config_;
    std::optional<VaeEncoder> encoder_;
    VaeDecoder decoder_;
    std::optional<Conv2d> quant_conv_;
    std::optional<Conv2d> post_quant_conv_;
    Module regularization_;
    std::optional<LatentNorm> latent_norm_;
};

}  // namespace plimsoll::memory
