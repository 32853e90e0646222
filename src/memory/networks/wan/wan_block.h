// SPDX-License-Identifier: Apache-2.0
//
// The block of Wan (Alibaba 2025): attention over all frames, attention to the text (and to an
// encoded image), a feed-forward network; shifted, scaled and gated by the timestep.
#pragma once
#include "memory/networks/layers.h"

#include <optional>
#include <string_view>

namespace plimsoll::memory {

struct WanWidths {
    std::int64_t dim = 5120;
    std::int64_t ffn = 13824;
    std::int64_t heads = 40;
    bool qk_norm = true;
    bool cross_attn_norm = true;
    bool image = false;      // attends to an encoded image too
    std::int64_t audio = 0;  // of the audio's tokens; 0: attends to none
};

// [N, tokens, dim]. Transposed: laid out channel by channel, as the patch convolution wrote them.
// PyTorch's elementwise kernels keep their first operand's layout; its layer norms read a copy.
struct WanTokens {
    Tensor values;
    bool transposed = false;
};

// What every block is given.
struct WanConditions {
    Tensor timestep;  // [N, T, 6, dim]; T: 1, or one timestep for every frame
    Tensor rope;      // [1, tokens, head / 2, 2, 2]
    Tensor context;   // [N, image tokens + text tokens, dim]
    std::int64_t image_tokens = 0;
    Tensor audio;  // [N, frames x kAudioTokensPerFrame, audio width]
};
inline constexpr std::int64_t kAudioTokensPerFrame = 16;  // HuMo's

// Queries and keys normalised over the full width.
class WanQkv {
  public:
    // `source`: width of what keys and values are made of; 0: as queries.
    WanQkv(Registry& registry, std::string_view path, const WanWidths& widths,
           std::int64_t source = 0);
    [[nodiscard]] Tensor query(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor key(Tape& tape, const Tensor& x, bool sliced = false) const;

    Linear q;
    Linear k;
    Linear v;
    Linear o;
    std::optional<RmsNorm> norm_q;
    std::optional<RmsNorm> norm_k;
};

class WanSelfAttention {
  public:
    WanSelfAttention(Registry& registry, std::string_view path, const WanWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& rope) const;
    // The same in parts, for networks that put something between them; `module` runs them.
    struct Projected {  // [N, tokens, heads, head]; queries and keys rotated
        Tensor q;
        Tensor k;
        Tensor v;
    };
    [[nodiscard]] Projected project(Tape& tape, Module module, const Tensor& x,
                                    const Tensor& rope) const;
    [[nodiscard]] Tensor attend(Tape& tape, Module module, const Projected& in) const;
    [[nodiscard]] Tensor project_out(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    WanWidths widths_;
    WanQkv qkv_;
};

class WanCrossAttention {
  public:
    WanCrossAttention(Registry& registry, std::string_view path, const WanWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const WanConditions& given) const;

  private:
    struct Image {
        Linear k;
        Linear v;
        std::optional<RmsNorm> norm_k;
    };
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& q, const Tensor& k,
                                const Tensor& v) const;

    Module path_;
    WanWidths widths_;
    WanQkv qkv_;
    std::optional<Image> image_;
};

// Each frame of the video attends to its own part of the audio (HuMo). Norm and residual included.
class WanAudioAttention {
  public:
    WanAudioAttention(Registry& registry, std::string_view path, const WanWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& audio) const;

  private:
    Module path_;
    Module attention_path_;
    WanWidths widths_;
    WanQkv qkv_;
    LayerNorm norm_;
};

class WanBlock {
  public:
    WanBlock(Registry& registry, std::string_view path, std::string_view class_name,
             const WanWidths& widths);
    [[nodiscard]] WanTokens forward(Tape& tape, const WanTokens& input,
                                    const WanConditions& given) const;
    // The same in parts, for networks that put something between them; `module` runs them.
    [[nodiscard]] Tensor modulation(Tape& tape, Module module, const WanConditions& given) const;
    // Shifted and scaled, as self-attention takes it.
    [[nodiscard]] Tensor attention_input(Tape& tape, Module module, const WanTokens& x,
                                         const Tensor& modulation) const;
    [[nodiscard]] const WanSelfAttention& self_attention() const { return self_; }
    // x + gate * update, with the gate of one of the modulation's sets.
    [[nodiscard]] Tensor add_gated(Tape& tape, Module module, const Tensor& x, const Tensor& update,
                                   const Tensor& modulation) const;
    // What follows self-attention. `kept`: lives until the feed-forward network's result is there.
    [[nodiscard]] Tensor finish(Tape& tape, Module module, WanTokens x, const Tensor& modulation,
                                const WanConditions& given, Tensor kept = {}) const;

  private:
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    WanWidths widths_;
    LayerNorm norm1_;
    WanSelfAttention self_;
    std::optional<LayerNorm> norm3_;
    WanCrossAttention cross_;
    LayerNorm norm2_;
    Linear ffn_in_;
    Module ffn_;
    Module gelu_;
    Linear ffn_out_;
    std::optional<WanAudioAttention> audio_;
};

// One of the shifts, scales or gates [N, T, dim] of a modulation [N, T, n, dim]; repeated to the
// tokens where every frame has its own.
[[nodiscard]] Tensor repeat_modulation(Tape& tape, Module module, const Tensor& modulation,
                                       std::int64_t tokens);
// The block's own modulation added to the timestep's: [N, T, n, dim].
[[nodiscard]] Tensor add_modulation(Tape& tape, Module module, const Tensor& timestep,
                                    std::int64_t sets);
// shift + norm(x) * (1 + scale).
[[nodiscard]] Tensor modulated_norm(Tape& tape, Module module, const LayerNorm& norm,
                                    const WanTokens& x, const Tensor& modulation);

}  // namespace plimsoll::memory
