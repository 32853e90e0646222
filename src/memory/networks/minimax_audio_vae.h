// SPDX-License-Identifier: Apache-2.0
//
// The sound's VAE of MiniMax H3 (2026): an encoder of DAC's kind (Kumar et al. 2023) and a BigVGAN
// decoder (Lee et al. 2023), whose activations run at twice the rate between two filters. The
// encoder is loaded; only the decoder is walked.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/vae.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct AudioConvShape {
    std::int64_t kernel = 3;
    std::int64_t stride = 1;
    std::int64_t dilation = 1;
    std::int64_t padding = 0;
};

class AudioConv {
  public:
    enum class Direction : std::uint8_t { Plain, Transposed };

    AudioConv(Registry& registry, Module path, std::int64_t in, std::int64_t out,
              const AudioConvShape& shape, Direction direction = Direction::Plain,
              Bias bias = Bias::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, samples]

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    AudioConvShape shape_;
    Direction direction_;
    bool bias_;
};

// x + sin^2(alpha x) / beta at twice the rate.
class AudioActivation {
  public:
    AudioActivation(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor upsample(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor snake(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor downsample(Tape& tape, const Tensor& x) const;
    // One filter for each channel: a copy of the buffer.
    [[nodiscard]] Tensor filter(Tape& tape, Module module, ghost::ElementType type) const;

    std::int64_t channels_;
    Module act_;
    Module upsample_;
    Module downsample_;
};

class AudioResidual {
  public:
    AudioResidual(Registry& registry, std::string_view path, std::int64_t channels,
                  std::int64_t kernel);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::vector<AudioConv> first_;
    std::vector<AudioConv> second_;
    std::vector<AudioActivation> activations_;
};

class MiniMaxAudioVaeNetwork final : public Vae {
  public:
    MiniMaxAudioVaeNetwork();
    // [N, channels, 2, T] to [N, 2, samples].
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::MiniMaxSound; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    [[nodiscard]] bool encodes() const override { return false; }
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;

  private:
    struct Stage {
        AudioConv up;
        std::vector<AudioResidual> residuals;
    };
    Module root_;
    AudioConv in_;
    Module decoder_;
    AudioConv pre_;
    std::vector<Stage> stages_;
    AudioActivation post_activation_;
    AudioConv post_;
};

}  // namespace plimsoll::memory
