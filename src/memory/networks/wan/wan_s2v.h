// SPDX-License-Identifier: Apache-2.0
//
// Wan 2.2 S2V (Alibaba 2025): a reference image speaks or sings as an audio track does. After the
// video's tokens come the reference's and those of earlier frames, packed the more coarsely the
// longer ago they were; after some blocks every frame attends to its audio.
#pragma once
#include "memory/networks/wan/temporal_conv.h"
#include "memory/networks/wan/wan.h"

#include <vector>

namespace plimsoll::memory {

// From Wav2Vec 2's layers to five tokens a latent frame, and one for all of them.
class SpeechEncoder {
  public:
    SpeechEncoder(Registry& registry, std::string_view path, std::int64_t width);
    struct Speech {
        Tensor whole;   // [N, T, 1, width]
        Tensor tokens;  // [N, T, 5, width]
    };
    [[nodiscard]] Speech forward(Tape& tape, const Tensor& features) const;

    static constexpr std::int64_t kLayers = 25;  // of Wav2Vec 2 large, its embedding included
    static constexpr std::int64_t kFeatures = 1024;

  private:
    [[nodiscard]] Tensor weighted_sum(Tape& tape, const Tensor& features) const;
    // The layers after the first convolution.
    [[nodiscard]] Tensor encode(Tape& tape, Tensor first) const;

    std::int64_t width_;
    Module path_;
    Module weights_act_;
    Module encoder_;
    CausalConv1d conv1_local_;
    CausalConv1d conv1_global_;
    LayerNorm norm1_;
    Module act_;
    CausalConv1d conv2_;
    CausalConv1d conv3_;
    Linear final_;
    LayerNorm norm2_;
    LayerNorm norm3_;
};

// Adds to the video's tokens what they attend to in the audio of their frame.
class SpeechInjector {
  public:
    SpeechInjector(Registry& registry, std::string_view path, const WanWidths& widths);
    // In place, after the block of that number, where it is one of those with speech.
    void forward(Tape& tape, int block, const Tensor& x, std::int64_t own_tokens,
                 const SpeechEncoder::Speech& speech) const;

  private:
    struct Adapted {  // a norm shifted and scaled by the whole audio
        Module path;
        Module silu;
        Linear linear;
        LayerNorm norm;
    };
    [[nodiscard]] Tensor adapt(Tape& tape, const Adapted& layer, const Tensor& x,
                               const Tensor& whole) const;

    Module path_;
    std::int64_t dim_;
    std::vector<WanCrossAttention> attentions_;
    std::vector<Adapted> adapted_;
};

class WanS2vNetwork final : public WanNetwork {
  public:
    explicit WanS2vNetwork(const modelfile::WanConfig& config);

    // `more`: the audio's features, the reference's latent, those of earlier frames.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;

  private:
    struct Tokens {
        Tensor values;
        Tensor rope;
    };
    [[nodiscard]] Tokens pack_motion(Tape& tape, const Tensor& latents) const;
    // The trained vector that says which kind of tokens they are.
    [[nodiscard]] Tensor mark(Tape& tape, const Tensor& tokens) const;

    Module kinds_;
    SpeechEncoder speech_;
    Conv3d control_embedding_;
    SpeechInjector injector_;
    Module packer_;
    Conv3d near_;
    Conv3d middle_;
    Conv3d far_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan_s2v(
    const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
