// SPDX-License-Identifier: Apache-2.0
//
// The layers of LTX-2's VAE for sound, over [N, channels, time, bins], causal in time; and its
// encoder, which makes the spectrogram itself.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/ltx_audio_vae_config.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Padded in front in time, on both sides in frequency, always by a copy.
class LtxAudioConv {
  public:
    LtxAudioConv(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                 std::int64_t kernel = 3);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t kernel_;
    Conv2d conv_;
};

class LtxAudioResidual {
  public:
    LtxAudioResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Module norm1_;
    Module act_;
    LtxAudioConv conv1_;
    Module norm2_;
    LtxAudioConv conv2_;
    std::optional<LtxAudioConv> shortcut_;
};

// From a sound at 44.1 kHz to the mean of its latents.
class LtxAudioEncoder {
  public:
    LtxAudioEncoder(Registry& registry, std::string_view path,
                    const modelfile::LtxAudioCoderConfig& config);
    // `samples`: [N, 2, samples at 44.1 kHz]. Gives normalised latents.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& samples) const;

  private:
    struct Level {
        std::vector<LtxAudioResidual> blocks;
        Module downsample_path = nullptr;
        std::optional<Conv2d> downsample;
    };
    [[nodiscard]] Tensor resample(Tape& tape, const Tensor& samples) const;
    [[nodiscard]] Tensor make_spectrogram(Tape& tape, const Tensor& samples) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& mel) const;
    [[nodiscard]] Tensor normalise(Tape& tape, const Tensor& both) const;

    modelfile::LtxAudioCoderConfig config_;
    Module root_;
    Module norm_out_;
    Module act_;
    std::optional<LtxAudioConv> conv_in_;
    std::vector<Level> levels_;  // finest first
    std::vector<LtxAudioResidual> middle_;
    std::optional<LtxAudioConv> conv_out_;
};

// [N, channels, latents, bins] as rows of the channels and bins together, which the statistics of
// the two are for; with the times of the patcher that nobody reads.
[[nodiscard]] Tensor ltx_audio_rows(Tape& tape, Module module, const Tensor& z);
inline constexpr std::int64_t kLtxAudioStatistics = 128;  // of channels and bins together
[[nodiscard]] std::int64_t ltx_audio_width(const modelfile::LtxAudioCoderConfig& config,
                                           std::size_t level);

}  // namespace plimsoll::memory
