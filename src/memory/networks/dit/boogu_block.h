// SPDX-License-Identifier: Apache-2.0
//
// What Boogu-Image (2026) adds to OmniGen2: layers in which text and image have weights of their
// own. They attend together, the image to itself besides.
#pragma once
#include "memory/networks/dit/omnigen2.h"

#include <cstdint>
#include <string_view>

namespace plimsoll::memory {

class BooguJointAttention {
  public:
    BooguJointAttention(Registry& registry, std::string_view path,
                        const modelfile::OmniGen2Config& config);
    // [N, text and image tokens, width].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                 const Tensor& table) const;

  private:
    struct Projections {
        Linear q;
        Linear k;
        Linear v;
    };
    [[nodiscard]] Projections make_projections(Registry& registry, std::string_view path,
                                               std::string_view stream,
                                               const modelfile::OmniGen2Config& config) const;

    Module path_;
    Module processor_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    RmsNorm norm_q_;
    RmsNorm norm_k_;
    Linear to_out_;
    Projections img_;
    Projections txt_;
    Linear txt_out_;
    Linear img_out_;
};

class BooguDoubleBlock {
  public:
    BooguDoubleBlock(Registry& registry, std::string_view path,
                     const modelfile::OmniGen2Config& config);
    // `table`: rotary, for text and image tokens.
    void forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& table,
                 const Tensor& time) const;

  private:
    // A norm with a modulation of its own: scale, and three parts for others to use.
    class Modulator {
      public:
        Modulator(Registry& registry, std::string_view path,
                  const modelfile::OmniGen2Config& config);
        struct Result {
            Tensor normal;
            Tensor parts;
        };
        [[nodiscard]] Result forward(Tape& tape, const Tensor& x, const Tensor& time) const;

      private:
        Module path_;
        Module act_;
        std::int64_t width_;
        Linear linear_;
        RmsNorm norm_;
    };
    [[nodiscard]] Tensor add_gated(Tape& tape, const Tensor& base, const RmsNorm& norm,
                                   const Tensor& update, const Tensor& gate) const;
    [[nodiscard]] Tensor scale_and_shift(Tape& tape, const Modulator::Result& scaled_by,
                                         const Modulator::Result& normal) const;

    Module path_;
    BooguJointAttention joint_;
    OmniGen2Attention self_;
    OmniGen2FeedForward img_feed_forward_;
    OmniGen2FeedForward txt_feed_forward_;
    Modulator img_norm1_;
    Modulator img_norm2_;
    Modulator img_norm3_;
    Modulator txt_norm1_;
    Modulator txt_norm2_;
    RmsNorm img_attn_norm_;
    RmsNorm img_self_attn_norm_;
    RmsNorm img_ffn_norm1_;
    RmsNorm img_ffn_norm2_;
    RmsNorm txt_attn_norm_;
    RmsNorm txt_ffn_norm1_;
    RmsNorm txt_ffn_norm2_;
};

}  // namespace plimsoll::memory
