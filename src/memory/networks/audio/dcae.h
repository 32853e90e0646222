// SPDX-License-Identifier: Apache-2.0
//
// Deep compression autoencoder (Chen et al. 2024) as ACE-Step trained it on spectrograms: residual
// blocks, linear attention at the deepest level, rates changed beside a shortcut that folds cells
// into channels.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/music_dcae_config.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::memory {

struct DcConvShape {
    std::int64_t kernel = 3;
    std::int64_t stride = 1;
    std::int64_t groups = 1;
};

// A convolution over frequency and time that keeps the size, but for its stride.
class DcConv {
  public:
    DcConv(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           const DcConvShape& shape = {}, Bias bias = Bias::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, H, W]

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    DcConvShape shape_;
    bool bias_;
};

// Root mean square over channels, which are moved to the end for it, and a bias.
class DcNorm {
  public:
    DcNorm(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, C, H, W]

  private:
    Module path_;
    std::int64_t width_;
};

class DcResBlock {
  public:
    DcResBlock(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    DcConv conv1_;
    DcConv conv2_;
    DcNorm norm_;
};

// Attention whose scores are those of channels, in fp32; a gated convolution follows.
class DcAttentionBlock {
  public:
    DcAttentionBlock(Registry& registry, std::string_view path, std::int64_t channels,
                     std::int64_t head_dim);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor mix(Tape& tape, const Tensor& all) const;
    [[nodiscard]] Tensor gate(Tape& tape, const Tensor& x) const;

    std::int64_t channels_;
    std::int64_t head_dim_;
    Module attention_;
    Module glu_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    DcConv scale_in_;
    DcConv scale_out_;
    Linear to_out_;
    DcNorm norm_out_;
    DcConv inverted_;
    DcConv depth_;
    DcConv point_;
    DcNorm norm_;
};

// Half as large, or twice.
class DcResampling {
  public:
    enum class Direction : std::uint8_t { Down, Up };
    DcResampling(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                 Direction direction);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t out_;
    Direction direction_;
    DcConv conv_;
};

using DcBlock = std::variant<DcResBlock, DcAttentionBlock, DcResampling>;
using DcLevel = std::vector<DcBlock>;

class DcEncoder {
  public:
    DcEncoder(Registry& registry, std::string_view path, const modelfile::MusicDcaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& mel) const;

  private:
    Module path_;
    std::int64_t latent_channels_;
    DcConv conv_in_;
    std::vector<DcLevel> levels_;
    DcConv conv_out_;
};

class DcDecoder {
  public:
    DcDecoder(Registry& registry, std::string_view path, const modelfile::MusicDcaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& latent) const;

  private:
    Module path_;
    std::int64_t repeats_;
    DcConv conv_in_;
    std::vector<DcLevel> levels_;  // the last one runs first
    DcNorm norm_out_;
    DcConv conv_out_;
};

}  // namespace plimsoll::memory
