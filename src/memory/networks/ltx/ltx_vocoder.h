// SPDX-License-Identifier: Apache-2.0
//
// The vocoder behind LTX-2's VAE for sound (HiFi-GAN, Kong et al. 2020): from a spectrogram to
// samples, through transposed convolutions and residual blocks of several widths.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/ltx_audio_vae_config.h"

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
    };
    struct Stage {
        SampleConv up;
        std::vector<Block> blocks;
    };
    [[nodiscard]] Tensor forward_block(Tape& tape, const Block& block, const Tensor& x) const;

    Module path_;
    Module act_;
    SampleConv conv_pre_;
    std::vector<Stage> stages_;
    std::vector<SampleConv> conv_post_;  // one, made after the stages
};

}  // namespace plimsoll::memory
