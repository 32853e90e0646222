// SPDX-License-Identifier: Apache-2.0
//
// The layers of ACE-Step 1.5 (ACE Studio and StepFun 2026), which are Qwen 3's: grouped queries,
// rotary positions by halves, gated feed-forward.
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct AceWidths {
    std::int64_t hidden = 2048;
    std::int64_t heads = 16;
    std::int64_t kv_heads = 8;
    std::int64_t head_dim = 128;
    std::int64_t mlp = 6144;
};

// Rows of the table of rotary positions that each stack of layers keeps: cosines and sines.
void add_ace_rotary_table(Registry& registry, std::string_view path, std::int64_t head_dim);

struct AceAttentionCall {
    Tensor context;           // undefined: attends to itself
    std::int64_t window = 0;  // tokens looked at to either side; 0: all
};

class AceAttention {
  public:
    AceAttention(Registry& registry, std::string_view path, const AceWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const AceAttentionCall& call) const;

  private:
    struct Mask {
        Tensor indices;
        Tensor distances;
        Tensor near;
        Tensor bias;
    };
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor expand_heads(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Mask make_mask(Tape& tape, std::int64_t tokens) const;

    Module path_;
    AceWidths widths_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    RmsNorm q_norm_;
    RmsNorm k_norm_;
};

class AceFeedForward {
  public:
    AceFeedForward(Registry& registry, std::string_view path, const AceWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear gate_;
    Linear up_;
    Linear down_;
    Module act_;
};

class AceEncoderLayer {
  public:
    AceEncoderLayer(Registry& registry, std::string_view path, const AceWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    AceAttention attention_;
    RmsNorm norm1_;
    RmsNorm norm2_;
    AceFeedForward mlp_;
};
[[nodiscard]] std::vector<AceEncoderLayer> make_ace_encoder_layers(Registry& registry,
                                                                   std::string_view path, int count,
                                                                   const AceWidths& widths);

class AceDecoderLayer {
  public:
    AceDecoderLayer(Registry& registry, std::string_view path, const AceWidths& widths,
                    std::int64_t window);
    // `timestep`: [N, 6, width]: shift, scale and gate around attention and feed-forward.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                                 const Tensor& context) const;

  private:
    [[nodiscard]] Tensor modulated(Tape& tape, const Tensor& normal, const Tensor& part) const;

    Module path_;
    std::int64_t hidden_;
    std::int64_t window_;
    RmsNorm self_norm_;
    AceAttention self_;
    RmsNorm cross_norm_;
    AceAttention cross_;
    RmsNorm mlp_norm_;
    AceFeedForward mlp_;
};

}  // namespace plimsoll::memory
