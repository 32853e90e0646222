// SPDX-License-Identifier: Apache-2.0
//
// HunyuanVideo: Flux's blocks over the tokens of a video; the text goes through a small transformer
// of its own first. HunyuanImage 2.1: the same for images, with a second text of glyphs and, where
// it was distilled, with the time of the next step. HunyuanVideo 1.5: double blocks only, and a
// vision encoder's tokens of the first image beside text and glyphs.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/flux_blocks.h"
#include "modelfile/networks/hunyuan_video_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// A convolution whose windows do not overlap: one token of each patch of frames, rows and columns.
class PatchEmbedding {
  public:
    PatchEmbedding(Registry& registry, std::string_view path, std::int64_t channels,
                   std::int64_t hidden, std::vector<int> patch);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& video) const;  // [N, tokens, hidden]

  private:
    Module path_;
    Module proj_;
    std::int64_t channels_;
    std::int64_t hidden_;
    std::vector<int> patch_;
};

class TextRefiner {
  public:
    TextRefiner(Registry& registry, std::string_view path, std::int64_t in, std::int64_t hidden,
                std::int64_t heads, std::int64_t mlp);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& text, const Tensor& timesteps) const;

  private:
    struct Block {
        Module path;
        Module silu;
        Linear modulation;
        LayerNorm norm1;
        Linear qkv;
        Linear proj;
        LayerNorm norm2;
        Linear mlp_in;
        Module mlp_act;
        Linear mlp_out;
    };
    [[nodiscard]] Tensor refine(Tape& tape, const Block& block, const Tensor& x,
                                const Tensor& condition) const;

    Module path_;
    std::int64_t hidden_;
    std::int64_t heads_;
    Linear input_;
    MlpEmbedder time_;
    MlpEmbedder context_;
    std::vector<Block> blocks_;
};

// Glyphs, encoded by ByT5, to the network's width.
class GlyphMapper {
  public:
    GlyphMapper(Registry& registry, std::string_view path, std::int64_t hidden);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& glyphs) const;

  private:
    LayerNorm norm_;
    Linear fc1_;
    Module act1_;
    Linear fc2_;
    Module act2_;
    Linear fc3_;
};

// A vision encoder's tokens to the network's width.
class VisionProjection {
  public:
    VisionProjection(Registry& registry, std::string_view path, std::int64_t in,
                     std::int64_t hidden);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& tokens) const;

  private:
    LayerNorm norm_in_;
    Linear fc1_;
    Module act_;
    Linear fc2_;
    LayerNorm norm_out_;
};

// One learned vector for each kind of tokens, kept and looked up in fp32.
class KindEmbedding {
  public:
    KindEmbedding(Registry& registry, std::string_view path, std::int64_t hidden);
    // `mark`: the operation that writes the kind's number for each of the tokens.
    [[nodiscard]] Tensor forward(Tape& tape, Module owner, const Tensor& tokens,
                                 std::string_view mark) const;

  private:
    Module path_;
    std::int64_t hidden_;
};

// What a step brings besides latent, text and time.
struct HunyuanExtras {
    std::int64_t glyphs = 0;  // tokens
    std::int64_t vision = 0;  // tokens
    bool schedule = false;    // the sampler tells all its sigmas
};

class HunyuanVideoNetwork final : public Denoiser {
  public:
    HunyuanVideoNetwork(const modelfile::HunyuanVideoConfig& config, const HunyuanExtras& extras);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    // The vector of time, pooled text and guidance; of the next time's, what stays in variables.
    struct Condition;
    [[nodiscard]] Condition embed_condition(Tape& tape, const StepInputs& in) const;
    struct Text;
    [[nodiscard]] Text embed_text(Tape& tape, const StepInputs& in, const Tensor& txt_ids) const;
    void add_glyphs(Tape& tape, const Tensor& glyphs, Text& text) const;
    void add_vision(Tape& tape, const Tensor& vision, Text& text) const;
    [[nodiscard]] Tensor forward_tokens(Tape& tape, const StepInputs& in, const Tensor& img_ids,
                                        const Tensor& txt_ids) const;

    modelfile::HunyuanVideoConfig config_;
    HunyuanExtras extras_;
    FluxWidths widths_;
    Module root_;
    Module pe_;
    PatchEmbedding img_in_;
    MlpEmbedder time_in_;
    std::optional<MlpEmbedder> vector_in_;
    std::optional<MlpEmbedder> guidance_in_;
    TextRefiner txt_in_;
    std::vector<FluxDoubleBlock> double_blocks_;
    std::vector<FluxSingleBlock> single_blocks_;
    std::optional<GlyphMapper> byt5_in_;
    std::optional<MlpEmbedder> time_r_in_;
    FluxFinalLayer final_layer_;
    std::optional<VisionProjection> vision_in_;
    std::optional<KindEmbedding> kinds_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_hunyuan_video(
    const modelfile::HunyuanVideoConfig& config, const HunyuanExtras& extras = {});

}  // namespace plimsoll::memory
