// SPDX-License-Identifier: Apache-2.0
//
// Qwen-Image (Wu et al. 2025): blocks in which text and image tokens have weights of their own but
// attend together. Reference images join the image tokens.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/qwen_image_config.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct QwenWidths {
    std::int64_t hidden = 3072;
    std::int64_t heads = 24;
    std::int64_t head_dim = 128;
};

// What all blocks of a walk are given beside the two streams.
struct QwenCondition {
    Tensor timestep;         // [N, width]; [2 N, width] where references have one of their own
    Tensor table;            // rotary, for text and image tokens
    std::int64_t own = 0;    // image tokens that are no reference's
    bool zero_time = false;  // references are modulated as of timestep zero
};

class QwenAttention {
  public:
    QwenAttention(Registry& registry, std::string_view path, const QwenWidths& widths);
    struct Streams {
        Tensor img;
        Tensor txt;
    };
    [[nodiscard]] Streams forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                  const Tensor& table) const;

  private:
    struct Heads {
        Tensor q;
        Tensor k;
        Tensor v;
    };
    [[nodiscard]] Heads project(Tape& tape, const Linear& q, const Linear& k, const Linear& v,
                                const Tensor& x) const;

    Module path_;
    QwenWidths widths_;
    RmsNorm norm_q_;
    RmsNorm norm_k_;
    RmsNorm norm_added_q_;
    RmsNorm norm_added_k_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    Linear add_q_;
    Linear add_k_;
    Linear add_v_;
    Linear to_out_;
    Linear to_add_out_;
};

class QwenBlock {
  public:
    QwenBlock(Registry& registry, std::string_view path, const QwenWidths& widths);
    void forward(Tape& tape, Tensor& img, Tensor& txt, const QwenCondition& condition) const;

  private:
    struct Stream {
        Module mod_act;
        Linear mod;
        LayerNorm norm1;
        LayerNorm norm2;
        Linear mlp_in;
        Module mlp_act;
        Linear mlp_out;
    };
    [[nodiscard]] static Stream make_stream(Registry& registry, std::string_view path,
                                            std::string_view name, const QwenWidths& widths);
    [[nodiscard]] static Tensor modulation(Tape& tape, const Stream& stream, const Tensor& time);
    [[nodiscard]] static Tensor feed_forward(Tape& tape, const Stream& stream, const Tensor& x);
    // `split`: image tokens before the references, which are scaled by the second half of `mod`;
    // 0: all tokens alike.
    [[nodiscard]] Tensor modulate(Tape& tape, const Tensor& x, const Tensor& mod,
                                  std::int64_t split) const;
    // x + gate * update.
    [[nodiscard]] Tensor add_gated(Tape& tape, const Tensor& x, const Tensor& update,
                                   const Tensor& mod, std::int64_t split) const;
    void forward_3064(Tape& tape, Tensor& img, Tensor& txt, const QwenCondition& condition) const;
    void forward_33000(Tape& tape, Tensor& img, Tensor& txt, const QwenCondition& condition) const;

    Module path_;
    QwenWidths widths_;
    Stream img_;
    Stream txt_;
    QwenAttention attn_;
};

// What all networks of these blocks have around them.
struct QwenTrunk {
    // `kinds`: of images that are told apart by an embedding beside the timestep's; 0: none are.
    QwenTrunk(Registry& registry, const QwenWidths& widths, int layers, std::int64_t token,
              std::int64_t text, std::int64_t kinds = 0);
    struct Tokens {
        Tensor tokens;  // [N, tokens, channels of a token]
        Tensor ids;     // [N, tokens, 3]
    };
    // Of a latent [N, channels, 1, rows, columns].
    [[nodiscard]] Tokens tokens_of(Tape& tape, const Tensor& latent, std::int64_t patch) const;
    // Of text, whose positions start after the image's, and image. In the latents' type.
    [[nodiscard]] Tensor position_table(Tape& tape, const Tensor& context, const Tensor& image_ids,
                                        const std::vector<int>& axes,
                                        ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;

    Module root;
    Module pe;
    Module time;
    Module time_proj;
    Linear time_in;
    Module time_act;
    Linear time_out;
    std::optional<Module> kind;
    RmsNorm txt_norm;
    Linear img_in;
    Linear txt_in;
    std::vector<QwenBlock> blocks;
};

// From tokens to what they become, `out` numbers each.
class QwenHead {
  public:
    QwenHead(Registry& registry, std::int64_t hidden, std::int64_t out);
    // Lets go of `img` before the last layer.
    [[nodiscard]] Tensor forward(Tape& tape, Tensor img, const Tensor& time) const;

  private:
    Module final_;
    Module act_;
    Linear modulation_;
    LayerNorm norm_;
    Linear proj_out_;
};

class QwenImageNetwork final : public Denoiser {
  public:
    explicit QwenImageNetwork(const modelfile::QwenImageConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] bool refers_at_time_zero(ReferenceMethod method) const;

    modelfile::QwenImageConfig config_;
    QwenWidths widths_;
    QwenTrunk trunk_;
    QwenHead head_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_qwen_image(
    const modelfile::QwenImageConfig& config);

}  // namespace plimsoll::memory
