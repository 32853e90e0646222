// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step 1.5 (ACE Studio and StepFun 2026): music from text, lyrics and the timbre of a reference
// sound. Each step codes the conditions anew: the reference passes a tokenizer of one code for five
// latents and back.
#pragma once
#include "memory/networks/audio/ace_step15_layers.h"
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/denoiser.h"
#include "modelfile/networks/ace_step15_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class AceTimestep {
  public:
    AceTimestep(Registry& registry, std::string_view path, std::int64_t width);
    struct Embedded {
        Tensor vector;      // [N, width]
        Tensor modulation;  // [N, 6, width]
    };
    [[nodiscard]] Embedded forward(Tape& tape, const Tensor& timesteps,
                                   ghost::ElementType type) const;

  private:
    Module path_;
    std::int64_t width_;
    Linear in_;
    Linear out_;
    Linear modulation_;
};

// The denoiser proper.
class AceDecoder {
  public:
    AceDecoder(Registry& registry, const modelfile::AceStep15Config& config);
    // `x`: [N, T, channels], `context`: latents of the reference and a mask beside it.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& timesteps,
                                 const Tensor& encoded, const Tensor& context) const;

  private:
    [[nodiscard]] Tensor patches(Tape& tape, const Tensor& x, const Tensor& context) const;

    modelfile::AceStep15Config config_;
    Module path_;
    Conv1d proj_in_;
    AceTimestep time_;
    AceTimestep time_r_;
    Linear condition_;
    std::vector<AceDecoderLayer> layers_;
    RmsNorm norm_out_;
    Conv1d proj_out_;
};

// Encodes the lyrics or the reference's timbre: a Linear layer and a stack.
class AceEncoder {
  public:
    AceEncoder(Registry& registry, std::string_view path, std::int64_t in, int layers,
               const AceWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, Tensor embedded) const;
    [[nodiscard]] const Linear& embedding() const { return in_; }

  private:
    Linear in_;
    RmsNorm norm_;
    std::vector<AceEncoderLayer> layers_;
};

class AceConditionEncoder {
  public:
    AceConditionEncoder(Registry& registry, const modelfile::AceStep15Config& config);
    // [N, lyrics, timbre and text, width]
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& text, const Tensor& lyrics,
                                 const Tensor& reference) const;

  private:
    [[nodiscard]] Tensor encode_timbre(Tape& tape, const Tensor& reference) const;

    Module path_;
    Linear text_;
    AceEncoder lyrics_;
    Module timbre_path_;
    AceEncoder timbre_;
};

// Finite scalar quantisation (Mentzer et al. 2023) of the pooled reference.
class AceTokenizer {
  public:
    AceTokenizer(Registry& registry, const modelfile::AceStep15Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& reference) const;

  private:
    [[nodiscard]] Tensor pool(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor quantise(Tape& tape, const Tensor& x) const;

    modelfile::AceStep15Config config_;
    Linear proj_;
    Module pooler_;
    Linear pooler_in_;
    RmsNorm pooler_norm_;
    std::vector<AceEncoderLayer> pooler_layers_;
    Module quantizer_;
    Linear quantizer_in_;
    Linear quantizer_out_;
};

class AceDetokenizer {
  public:
    AceDetokenizer(Registry& registry, const modelfile::AceStep15Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& codes) const;

  private:
    modelfile::AceStep15Config config_;
    Module path_;
    Linear in_;
    std::vector<AceEncoderLayer> layers_;
    RmsNorm norm_;
    Linear out_;
};

// A step's latent_width counts latents along the time.
class AceStep15Network final : public Denoiser {
  public:
    explicit AceStep15Network(const modelfile::AceStep15Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    modelfile::AceStep15Config config_;
    Module root_;
    AceDecoder decoder_;
    AceConditionEncoder encoder_;
    AceTokenizer tokenizer_;
    AceDetokenizer detokenizer_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_ace_step15(
    const modelfile::AceStep15Config& config);

}  // namespace plimsoll::memory
