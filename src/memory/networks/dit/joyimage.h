// SPDX-License-Identifier: Apache-2.0
//
// JoyAI-Image-Edit (JD 2026): blocks in which image and text tokens have weights of their own but
// attend together. Reference images join the image tokens; each has a time of its own.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/joyimage_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct JoyImageWidths {
    std::int64_t hidden = 4096;
    std::int64_t heads = 32;
    std::int64_t mlp = 16384;

    [[nodiscard]] std::int64_t head_dim() const { return hidden / heads; }
};

class JoyImageBlock {
  public:
    JoyImageBlock(Registry& registry, std::string_view path, const JoyImageWidths& widths);
    // `modulation`: [N, 6, hidden]. `table`: rotary, for the image tokens only.
    void forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& modulation,
                 const Tensor& table) const;

  private:
    struct Stream {
        Module mod;
        LayerNorm norm1;
        LayerNorm norm2;
        Linear mlp_in;
        Module mlp_act;
        Linear mlp_out;
    };
    struct Attended {
        Linear qkv;
        RmsNorm q_norm;
        RmsNorm k_norm;
        Linear proj;
    };
    struct Streams {
        Tensor img;
        Tensor txt;
    };
    [[nodiscard]] static Stream make_stream(Registry& registry, std::string_view path,
                                            std::string_view name, const JoyImageWidths& widths);
    [[nodiscard]] static Attended make_attended(Registry& registry, std::string_view path,
                                                std::string_view name,
                                                const JoyImageWidths& widths);
    [[nodiscard]] Streams attend(Tape& tape, const Tensor& img, const Tensor& txt,
                                 const Tensor& table) const;
    [[nodiscard]] Tensor modulated(Tape& tape, const Tensor& normal, const Tensor& part) const;
    void add_gated(Tape& tape, Tensor& x, const Tensor& update, const Tensor& part) const;
    [[nodiscard]] static Tensor feed_forward(Tape& tape, const Stream& stream, const Tensor& x);

    Module path_;
    Module attn_;
    JoyImageWidths widths_;
    Stream img_;
    Stream txt_;
    Attended img_attn_;
    Attended txt_attn_;
};

class JoyImageNetwork final : public Denoiser {
  public:
    explicit JoyImageNetwork(const modelfile::JoyImageConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor rotations(Tape& tape, std::int64_t tokens) const;

    modelfile::JoyImageConfig config_;
    JoyImageWidths widths_;
    Module root_;
    Conv3d img_in_;
    Module embedder_;
    MlpEmbedder time_embedder_;
    Linear time_proj_;
    MlpEmbedder text_embedder_;
    std::vector<JoyImageBlock> blocks_;
    LayerNorm norm_out_;
    Linear proj_out_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_joyimage(
    const modelfile::JoyImageConfig& config);

}  // namespace plimsoll::memory
