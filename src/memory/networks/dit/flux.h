// SPDX-License-Identifier: Apache-2.0
//
// Flux (Black Forest Labs 2024): blocks in which text and image tokens have weights of their own
// but attend together, then blocks over both in one stream.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/flux_config.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

// Query and key, normalised each over the head.
class QkNorm {
  public:
    QkNorm(Registry& registry, std::string_view path, std::int64_t head_dim);
    [[nodiscard]] Tensor query(Tape& tape, const Tensor& q) const {
        return query_.forward(tape, q);
    }
    [[nodiscard]] Tensor key(Tape& tape, const Tensor& k) const { return key_.forward(tape, k); }

  private:
    RmsNorm query_;
    RmsNorm key_;
};

// From the vector of timestep, guidance and text to shifts, scales and gates.
class FluxModulation {
  public:
    FluxModulation(Registry& registry, std::string_view path, std::int64_t width, int sets);
    // [N, 1, 3 x sets x width]
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& vec) const;

  private:
    Module path_;
    Linear lin_;
};

struct FluxWidths {
    std::int64_t hidden = 3072;
    std::int64_t heads = 24;
    std::int64_t mlp = 12288;
    bool qkv_bias = true;
};

class FluxDoubleBlock {
  public:
    FluxDoubleBlock(Registry& registry, std::string_view path, const FluxWidths& widths);
    void forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& vec, const Tensor& pe) const;

  private:
    struct Stream {
        FluxModulation mod;
        LayerNorm norm1;
        Linear qkv;
        QkNorm norm;
        Linear proj;
        LayerNorm norm2;
        Linear mlp_in;
        Module mlp_act;
        Linear mlp_out;
    };
    [[nodiscard]] static Stream make_stream(Registry& registry, std::string_view path,
                                            std::string_view name, const FluxWidths& widths);

    Module path_;
    FluxWidths widths_;
    Stream img_;
    Stream txt_;
};

class FluxSingleBlock {
  public:
    FluxSingleBlock(Registry& registry, std::string_view path, const FluxWidths& widths);
    // Adds to `x` in place.
    void forward(Tape& tape, Tensor& x, const Tensor& vec, const Tensor& pe) const;

  private:
    Module path_;
    FluxWidths widths_;
    Linear linear1_;
    Linear linear2_;
    QkNorm norm_;
    LayerNorm pre_norm_;
    Module act_;
    FluxModulation modulation_;
};

class FluxNetwork final : public Denoiser {
  public:
    explicit FluxNetwork(const modelfile::FluxConfig& config);

    [[nodiscard]] const std::vector<ModuleEntry>& modules() const override {
        return registry_.modules();
    }
    [[nodiscard]] std::int64_t params() const override { return registry_.params(); }
    [[nodiscard]] Bytes weights(ComputeType storage) const override {
        return registry_.weights(storage);
    }

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    // Without distilled guidance ComfyUI takes its plain flow schedule.
    [[nodiscard]] Prediction prediction() const override {
        return guidance_in_ ? Prediction::Flow : Prediction::FlowScaled;
    }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_condition(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor forward_tokens(Tape& tape, const StepInputs& in, const Tensor& patches,
                                        const Tensor& img_ids, const Tensor& txt_ids) const;
    // `own`: [N, image tokens, width], a view without text and references.
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& own, const Tensor& vec) const;

    modelfile::FluxConfig config_;
    FluxWidths widths_;
    Registry registry_;
    Module root_;
    Module pe_;
    Linear img_in_;
    MlpEmbedder time_in_;
    std::optional<MlpEmbedder> vector_in_;
    std::optional<MlpEmbedder> guidance_in_;
    Linear txt_in_;
    std::vector<FluxDoubleBlock> double_blocks_;
    std::vector<FluxSingleBlock> single_blocks_;
    Module final_;
    Linear final_linear_;
    Module final_silu_;
    Linear final_modulation_;
    LayerNorm final_norm_;
};

}  // namespace plimsoll::memory
