// SPDX-License-Identifier: Apache-2.0
//
// Cosmos-1's video tokenizer in its continuous form (NVIDIA 2025): wavelets, then convolutions over
// space and over time in turn, which look back in time only. The whole video passes at once.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/vae.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// What lies before the first frame is that frame again. The frames and the margin are copied, the
// latter even where it is empty.
class CosmosConv {
  public:
    CosmosConv(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
               const Extent3& kernel, const Extent3& stride = {}, std::int64_t margin = 0);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Extent3 kernel_;
    Extent3 stride_;
    std::int64_t margin_;
    Conv3d conv_;
};

// Over rows and columns, then over time.
class CosmosConvPair {
  public:
    CosmosConvPair(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    CosmosConv space_;
    CosmosConv time_;
};

// Frame by frame.
class CosmosNorm {
  public:
    CosmosNorm(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    GroupNorm norm_;
};

class CosmosResidual {
  public:
    CosmosResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    CosmosNorm norm1_;
    CosmosConvPair conv1_;
    CosmosNorm norm2_;
    CosmosConvPair conv2_;
    std::optional<CosmosConv> shortcut_;
};

enum class CosmosAxis : std::uint8_t { Space, Time };

class CosmosVaeAttention {
  public:
    CosmosVaeAttention(Registry& registry, std::string_view path, std::int64_t channels,
                       CosmosAxis axis);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor attend_in_frames(Tape& tape, Tensor q, Tensor k, Tensor v) const;
    [[nodiscard]] Tensor attend_in_time(Tape& tape, Tensor q, Tensor k, Tensor v) const;

    Module path_;
    CosmosAxis axis_;
    CosmosNorm norm_;
    CosmosConv q_;
    CosmosConv k_;
    CosmosConv v_;
    CosmosConv out_;
};

class CosmosMiddle {
  public:
    CosmosMiddle(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    CosmosResidual block1_;
    CosmosVaeAttention space_;
    CosmosVaeAttention time_;
    CosmosResidual block2_;
};

// Twice or half the rows, columns and (but for the first) frames.
class CosmosResampling {
  public:
    enum class Direction : std::uint8_t { Down, Up };
    CosmosResampling(Registry& registry, std::string_view path, std::int64_t channels,
                     Direction direction);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor shrink(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor grow(Tape& tape, const Tensor& x) const;

    Module path_;
    Direction direction_;
    CosmosConv conv1_;
    CosmosConv conv2_;
    CosmosConv conv3_;
};

// Haar wavelets over time, rows and columns.
class CosmosWavelets {
  public:
    enum class Direction : std::uint8_t { Forward, Inverse };
    CosmosWavelets(Registry& registry, std::string_view path, Direction direction);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor inverse(Tape& tape, Tensor x) const;

  private:
    struct Filters {
        Tensor low;
        Tensor high;
    };
    [[nodiscard]] Filters make_filters(Tape& tape, std::int64_t channels) const;
    [[nodiscard]] Tensor convolve(Tape& tape, const Tensor& x, const Tensor& filter,
                                  const Shape& result) const;
    [[nodiscard]] Tensor transform(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor restore(Tape& tape, const Tensor& x) const;

    Module path_;
};

struct CosmosLevel {
    std::vector<CosmosResidual> blocks;
    std::optional<CosmosResampling> resampling;
};

class CosmosVaeNetwork final : public Vae {
  public:
    CosmosVaeNetwork();

    static constexpr std::int64_t kLatentChannels = 16;
    static constexpr std::int64_t kDownscale = 8;  // of frames (but the first), rows and columns
    // [N, 16, T, H, W] and back, [N, 3, T, H, W].
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::Cosmos1; }
    [[nodiscard]] VaeGrid grid() const override;
    // Recorded of ComfyUI 0.3.64.
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    // Frames: 1 more than a multiple of 8, others do not reach the network.
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    [[nodiscard]] Tensor statistics(Tape& tape, std::int64_t frames) const;

    Module root_;
    CosmosWavelets wavelets_;
    Module encoder_;
    CosmosConvPair encoder_in_;
    std::vector<CosmosLevel> down_;
    CosmosMiddle encoder_middle_;
    CosmosNorm encoder_norm_;
    CosmosConvPair encoder_out_;
    CosmosWavelets inverse_;
    Module decoder_;
    CosmosConvPair decoder_in_;
    CosmosMiddle decoder_middle_;
    std::vector<CosmosLevel> up_;  // deepest first
    CosmosNorm decoder_norm_;
    CosmosConvPair decoder_out_;
    CosmosConv quant_;
    CosmosConv post_quant_;
};

}  // namespace plimsoll::memory
