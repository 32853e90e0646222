// SPDX-License-Identifier: Apache-2.0
//
// Mage-VAE (Microsoft 2026): a convolutional encoder and a one-step diffusion decoder that writes
// the pixels of each patch with a small network of its own.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/vae.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Also over each channel by itself, and without a bias.
class MageConv {
  public:
    enum class Channels : std::uint8_t { Mixed, Apart };

    MageConv(Registry& registry, Module path, std::int64_t in, std::int64_t out, ConvShape shape,
             Channels channels = Channels::Mixed, Bias bias = Bias::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, H, W]

  private:
    Module path_;
    std::int64_t in_;  // that each output channel sees
    std::int64_t out_;
    ConvShape shape_;
    bool bias_;
};

// Normalised over the channels, which are moved last and back: two copies.
class MageNorm {
  public:
    MageNorm(Registry& registry, Module path, std::int64_t channels, Affine affine);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
    Affine affine_;
};

// Convolutions with a channel attention, then a feed-forward part; modulated, or not in the
// encoder's head.
class MageBlock {
  public:
    enum class Modulated : std::uint8_t { No, Yes };

    MageBlock(Registry& registry, std::string_view path, std::int64_t width, Modulated modulated);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& time) const;

  private:
    [[nodiscard]] Tensor prepare(Tape& tape, const MageNorm& norm, const Tensor& x,
                                 const Tensor& part) const;

    Module path_;
    std::int64_t width_;
    MageConv conv1_;
    MageConv conv2_;
    MageConv conv3_;
    Module pool_;
    MageConv attention_;
    Module sigmoid_;
    MageConv conv4_;
    MageConv conv5_;
    MageNorm norm1_;
    MageNorm norm2_;
    Module modulation_act_;
    std::optional<Linear> modulation_;
};

class MageTime {
  public:
    MageTime(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& timesteps,
                                 ghost::ElementType type) const;

  private:
    Module path_;
    Linear in_;
    Module act_;
    Linear out_;
};

class MageEncoder {
  public:
    MageEncoder(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;

  private:
    Module path_;
    MageConv patch_in_;
    std::vector<MageBlock> head_;
    MageConv proj_down_;
    MageConv z_proj_;
    MageConv fuse_proj_;
    MageTime time_;
    std::vector<MageBlock> blocks_;
    MageNorm norm_out_;
    MageConv proj_out_;
};

// From the latent to what conditions the decoder.
class MageConditioner {
  public:
    MageConditioner(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;

  private:
    struct Resnet {
        Module path;
        GroupNorm norm1;
        MageConv conv1;
        GroupNorm norm2;
        MageConv conv2;
    };
    struct Attention {
        Module path;
        GroupNorm norm;
        MageConv q;
        MageConv k;
        MageConv v;
        MageConv out;
    };
    [[nodiscard]] static Resnet make_resnet(Registry& registry, std::string_view path);
    [[nodiscard]] static Attention make_attention(Registry& registry, std::string_view path);
    [[nodiscard]] static Tensor forward_resnet(Tape& tape, const Resnet& block, const Tensor& x);
    [[nodiscard]] static Tensor forward_attention(Tape& tape, const Attention& block,
                                                  const Tensor& x);

    Module path_;
    MageConv conv_in_;
    Resnet resnet0_;
    Attention attention1_;
    Resnet resnet2_;
    Attention attention3_;
    Resnet resnet4_;
    GroupNorm norm_out_;
    MageConv conv_out_;
};

class MageDecoder {
  public:
    MageDecoder(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;

  private:
    struct PixelBlock {
        Module path;
        LayerNorm norm;
        Linear mlp_in;
        Module mlp_act;
        Linear mlp_out;
        Module modulation_act;
        Linear modulation;
    };
    [[nodiscard]] static PixelBlock make_pixel_block(Registry& registry, std::string_view path);
    [[nodiscard]] static Tensor forward_pixels(Tape& tape, const PixelBlock& block, const Tensor& x,
                                               const Tensor& condition);
    [[nodiscard]] Tensor embed_pixels(Tape& tape, const Tensor& noise,
                                      const Tensor& condition) const;
    [[nodiscard]] Tensor run_pixels(Tape& tape, const Tensor& x, const Tensor& tokens) const;
    [[nodiscard]] Tensor normalise_last(Tape& tape, const Tensor& x) const;

    Module path_;
    MageTime time_;
    MageConv condition_in_;
    Module embedder_;
    Linear embedder_in_;
    Module patch_;
    MageConv patch_in_;
    MageConv patch_fuse_;
    std::vector<MageBlock> blocks_;
    Module pixels_;
    Linear token_in_;
    Linear pixel_in_;
    std::vector<PixelBlock> pixel_blocks_;
    Module final_norm_;
    Linear final_linear_;
    MageConditioner conditioner_;
};

inline constexpr int kMageVaePixels = 16;  // of a cell of the latent along a side

class MageVaeNetwork final : public Vae {
  public:
    MageVaeNetwork();
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const {
        return encoder_.forward(tape, pixels);
    }
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const {
        return decoder_.forward(tape, z);
    }

    [[nodiscard]] VaeKind kind() const override { return VaeKind::Mage; }
    [[nodiscard]] VaeGrid grid() const override;
    // Recorded of ComfyUI 0.33.0.
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    MageEncoder encoder_;
    MageDecoder decoder_;
};

}  // namespace plimsoll::memory
