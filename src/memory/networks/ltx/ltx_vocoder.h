// SPDX-License-Identifier: Apache-2.0
//
// The vocoder behind LTX-2's VAE for sound (HiFi-GAN, Kong et al. 2020): from a spectrogram to
// samples, through transposed convolutions and residual blocks of several widths. LTX 2.3 has two
// with BigVGAN's activations, one behind the other.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/ltx/alias_free.h"
#include "modelfile/networks/ltx_audio_vae_config.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Over samples, [N, C, L].
class SampleConv {
  public:
    struct Shape {
        std::int64_t in = 0;
        std::int64_t out = 0;
        std::int64_t kernel = 1;
        std::int64_t upsample = 0;  // stride of a transposed one; 0: none, the length stays
        bool bias = true;
    };
    SampleConv(Registry& registry, Module path, const Shape& shape);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Shape shape_;
};

class LtxVocoder {
  public:
    LtxVocoder(Registry& registry, std::string_view path, const modelfile::LtxVocoderConfig& config,
               std::int64_t bins);
    // `mel`: [N, 2, frames, bins], both channels' spectrograms. Gives [N, 2, samples].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& mel) const;

  private:
    struct Block {
        Module path;
        std::vector<SampleConv> dilated;
        std::vector<SampleConv> plain;
        std::vector<AliasFreeSnake> before_dilated;  // none: leaky ReLUs
        std::vector<AliasFreeSnake> before_plain;
    };
    struct Stage {
        SampleConv up;
        std::vector<Block> blocks;
    };
    [[nodiscard]] static Block make_block(Registry& registry, const std::string& path,
                                          std::int64_t width,
                                          const modelfile::LtxVocoderConfig& config,
                                          std::size_t index);
    [[nodiscard]] Tensor forward_block(Tape& tape, const Block& block, const Tensor& x) const;

    bool alias_free_;
    bool ends_active_;
    Module path_;
    Module act_;
    SampleConv conv_pre_;
    std::vector<Stage> stages_;
    std::optional<AliasFreeSnake> act_post_;
    std::vector<SampleConv> conv_post_;  // one, made after the stages
};

// LTX 2.3's second: see LtxBandwidthConfig.
class LtxBandwidthExtension {
  public:
    LtxBandwidthExtension(Registry& registry, std::string_view path,
                          const modelfile::LtxBandwidthConfig& config);
    // `samples`: [N, 2, L], as many as whole frames have. Gives [N, 2, L * ratio].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& samples) const;

  private:
    [[nodiscard]] Tensor make_spectrogram(Tape& tape, const Tensor& samples) const;

    modelfile::LtxBandwidthConfig config_;
    std::int64_t frequencies_;
    Module root_;
    LtxVocoder generator_;
    Module mel_;
    Module stft_;
    SampleUp resampler_;
};

}  // namespace plimsoll::memory
