// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step's vocoder: ConvNeXt (Liu et al. 2022) over the frames of a mel spectrogram, then
// HiFi-GAN (Kong et al. 2020) without noise. It has one size. Stereo is a batch of two.
#pragma once
#include "memory/networks/audio/conv1d.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

inline constexpr std::int64_t kMusicMels = 128;
inline constexpr std::int64_t kSamplesPerMelFrame = 512;

// Over channels, written out step by step.
class ChannelNorm {
  public:
    ChannelNorm(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, C, T]

  private:
    Module path_;
    std::int64_t channels_;
};

class ConvNextBlock {
  public:
    ConvNextBlock(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
    Conv1d depthwise_;
    LayerNorm norm_;
    Linear widen_;
    Linear narrow_;
};

class HifiResidual {
  public:
    HifiResidual(Registry& registry, std::string_view path, std::int64_t channels,
                 std::int64_t kernel);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::vector<Conv1d> dilated_;
    std::vector<Conv1d> plain_;
};

class MusicVocoder {
  public:
    MusicVocoder(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& mel) const;  // [N, mels, frames]

  private:
    [[nodiscard]] Tensor run_backbone(Tape& tape, const Tensor& mel) const;

    Module backbone_;
    Module head_;
    Module stem_;
    std::vector<ChannelNorm> norms_;
    std::vector<Conv1d> widenings_;  // the first one is the stem
    std::vector<std::vector<ConvNextBlock>> stages_;
    std::vector<ChannelNorm> last_norm_;
    Conv1d pre_;
    std::vector<Conv1d> ups_;
    std::vector<HifiResidual> residuals_;
    Conv1d post_;
};

}  // namespace plimsoll::memory
