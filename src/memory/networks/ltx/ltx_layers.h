// SPDX-License-Identifier: Apache-2.0
//
// What the transformers of LTX-Video (HaCohen et al. 2024) and LTX-2 (2026) share: attention with
// norms over all heads, rotary positions, timestep projections.
#pragma once
#include "memory/networks/layers.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace plimsoll::memory {

// Rotary positions. ComfyUI 0.3.64 keeps cosines and sines, each repeated for both channels of a
// pair, 0.33.0 a 2 x 2 rotation for each pair of each head.
struct LtxRope {
    Tensor cos;       // [N, tokens, hidden]
    Tensor sin;       // [N, tokens, hidden]
    Tensor rotation;  // [N, tokens, heads, head_dim / 2, 4]
    bool split = false;
    [[nodiscard]] bool defined() const { return cos.defined() || rotation.defined(); }
};

struct LtxRopeShape {
    std::int64_t heads = 32;
    std::int64_t hidden = 2048;
    bool middle = false;       // positions between a token's start and end
    bool split = false;        // the pair's channels are halves of a head, not neighbours
    bool precomputed = false;  // frequencies come from the host, in fp64
};

// Where tokens start (0.33.0: and end) in pixels, [N, 3, tokens(, 2)] in whole numbers.
struct LtxGrid {
    std::int64_t frames = 1;
    std::int64_t rows = 1;
    std::int64_t columns = 1;
    [[nodiscard]] std::int64_t tokens() const { return frames * rows * columns; }
};
enum class CausalTime : std::uint8_t { No, Yes };  // the first latent frame is one frame long
struct LtxCoordinates {
    Tensor latent;  // outlives `pixel` in 0.3.64
    Tensor pixel;
};
[[nodiscard]] LtxCoordinates ltx_coordinates(Tape& tape, Module module, std::int64_t batch,
                                             const LtxGrid& grid, CausalTime causal);
// The same in seconds and pixels, fp32.
[[nodiscard]] Tensor ltx_fractional(Tape& tape, Module module, const Tensor& pixel);
// `positions`: [N, axes, tokens(, 2)].
[[nodiscard]] LtxRope ltx_rope(Tape& tape, Module module, const Tensor& positions,
                               const LtxRopeShape& shape, ghost::ElementType type);

struct LtxAttentionShape {
    std::int64_t query_width = 2048;
    std::int64_t context_width = 2048;
    std::int64_t heads = 32;
    std::int64_t head_dim = 64;
    bool gated = false;  // a gate for each head, from the queries' tokens
};

class LtxAttention {
  public:
    LtxAttention(Registry& registry, std::string_view path, const LtxAttentionShape& shape);
    struct Given {
        const Tensor* context = nullptr;  // none: attends to itself
        const Tensor* mask = nullptr;
        const LtxRope* rope = nullptr;
        const LtxRope* key_rope = nullptr;  // none: as the queries
    };
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Given& given) const;

  private:
    [[nodiscard]] Tensor gate(Tape& tape, const Tensor& x, const Tensor& out) const;

    Module path_;
    LtxAttentionShape shape_;
    RmsNorm q_norm_;
    RmsNorm k_norm_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    std::optional<Linear> to_gate_;
    Linear to_out_;
};

class LtxFeedForward {
  public:
    LtxFeedForward(Registry& registry, std::string_view path, std::int64_t width,
                   Bias bias = Bias::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Module gelu_;
    Linear in_;
    Linear out_;
};

// A timestep's sinusoids, embedded, and the embedding projected to `parts` widths (PixArt's
// AdaLN-single). One row for each timestep.
class LtxTimestep {
  public:
    LtxTimestep(Registry& registry, std::string_view path, std::int64_t width, std::int64_t parts);
    struct Rows {
        Tensor projected;  // [timesteps, parts x width]
        Tensor embedded;   // [timesteps, width]
    };
    // `timesteps`: fp32, scaled.
    [[nodiscard]] Rows forward(Tape& tape, const Tensor& timesteps, ghost::ElementType type) const;

  private:
    Module proj_;
    Module emb_;
    Linear in_;
    Module act_;
    Linear out_;
    Module silu_;
    Linear linear_;
};

class LtxCaption {
  public:
    LtxCaption(Registry& registry, std::string_view path, std::int64_t in, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& text) const;
    // The same for a part of wider tokens.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& text) const;

  private:
    [[nodiscard]] Tensor finish(Tape& tape, Tensor hidden) const;

    Linear in_;
    Module act_;
    Linear out_;
};

// The last norm, modulated by a table of the network's own plus the embedded timestep, and the
// projection to latent channels.
class LtxHead {
  public:
    LtxHead(Registry& registry, Module norm, Module projection, std::int64_t width,
            std::int64_t out);
    // `embedded`: [N, timesteps, width]. The table is `owner`'s.
    [[nodiscard]] Tensor forward(Tape& tape, Module owner, Tensor x, const Tensor& embedded) const;

  private:
    std::int64_t width_;
    LayerNorm norm_;
    Linear projection_;
};

// An operation of `x` and `elements` numbers of the module's own, in x's type.
[[nodiscard]] Tensor ltx_with_own(Tape& tape, std::string_view op, Module module, const Tensor& x,
                                  std::int64_t elements, const Shape& shape);
// rms_norm(x) x (1 + scale) + shift, all in temporaries; `scale` and `shift` may be broadcast.
[[nodiscard]] Tensor ltx_modulated(Tape& tape, Module module, const Tensor& x, const Tensor& scale,
                                   const Tensor& shift);
// A table of a module's own (`sets` rows of the width) added to timestep rows,
// [N, timesteps, sets, width].
[[nodiscard]] Tensor ltx_table_sum(Tape& tape, Module module, const Tensor& rows,
                                   std::int64_t sets);
// One of the sum's sets: a view, [N, timesteps, width].
[[nodiscard]] Tensor ltx_part(const Tensor& sum);

}  // namespace plimsoll::memory
