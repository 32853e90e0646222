// SPDX-License-Identifier: Apache-2.0
//
// Stable Audio 3 (2026): a transformer over latents along the time, with learned tokens in front of
// them. Each attention is the difference of two (Ye et al. 2024); timestep and length modulate.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/stable_audio_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct StableAudio3Widths {
    std::int64_t hidden = 1536;
    std::int64_t heads = 24;
    std::int64_t local = 257;

    [[nodiscard]] std::int64_t head_dim() const { return hidden / heads; }
};

// A root mean square norm whose scale is a parameter of its own.
class GammaRms {
  public:
    GammaRms(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
};

class StableAudio3Block {
  public:
    StableAudio3Block(Registry& registry, std::string_view path, const StableAudio3Widths& widths);
    // `modulation`: [N, 1, 6 x hidden]. `local`: [N, latents, local]. `angles`: rotary, in fp32.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 const Tensor& modulation, const Tensor& local,
                                 const Tensor& angles) const;

  private:
    [[nodiscard]] Tensor modulated(Tape& tape, const GammaRms& norm, const Tensor& x,
                                   const Tensor& part) const;
    [[nodiscard]] Tensor gated(Tape& tape, const Tensor& x, const Tensor& part) const;
    [[nodiscard]] Tensor attend_to_itself(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor attend_to_text(Tape& tape, const Tensor& x, const Tensor& context) const;
    // Of queries and keys that hold both halves, [N, 2, heads, tokens, head_dim].
    [[nodiscard]] Tensor difference(Tape& tape, Module module, const Tensor& q, const Tensor& k,
                                    const Tensor& v) const;
    [[nodiscard]] Tensor embed_local(Tape& tape, const Tensor& local, std::int64_t tokens) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    StableAudio3Widths widths_;
    GammaRms pre_norm_;
    Module self_;
    Linear to_qkv_;
    Linear self_out_;
    GammaRms self_q_norm_;
    GammaRms self_k_norm_;
    GammaRms cross_norm_;
    Module cross_;
    Linear to_q_;
    Linear to_kv_;
    Linear cross_out_;
    GammaRms cross_q_norm_;
    GammaRms cross_k_norm_;
    GammaRms ff_norm_;
    Module glu_;
    Linear ff_in_;
    Linear ff_out_;
    Linear local_in_;
    Linear local_out_;
};

// A step's latent_width counts latents along the time.
class StableAudio3Network final : public Denoiser {
  public:
    explicit StableAudio3Network(const modelfile::StableAudio3Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor make_angles(Tape& tape, std::int64_t tokens) const;

    modelfile::StableAudio3Config config_;
    StableAudio3Widths widths_;
    Module root_;
    MlpEmbedder time_in_;
    MlpEmbedder text_in_;
    MlpEmbedder global_in_;
    Module transformer_;
    Linear project_in_;
    Linear project_out_;
    Module rotary_;
    Module memory_;
    Linear shared_in_;  // the two layers that all blocks' modulation comes from
    Linear shared_out_;
    std::vector<StableAudio3Block> blocks_;
    Conv1d preprocess_;
    Conv1d postprocess_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_stable_audio_3(
    const modelfile::StableAudio3Config& config);

}  // namespace plimsoll::memory
