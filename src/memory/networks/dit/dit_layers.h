// SPDX-License-Identifier: Apache-2.0
//
// What diffusion transformers share: patches, rotary position tables, modulation.
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A circular pad of rows and columns to whole patches: a copy even where nothing is missing.
[[nodiscard]] Tensor pad_to_patches(Tape& tape, Module module, const Tensor& x, std::int64_t patch);
// [N, C, H, W] in patches of p x p to tokens [N, H/p x W/p, C x p x p]: one copy, or a view, whose
// channels then lie far apart, where a patch is one cell.
[[nodiscard]] Tensor to_tokens(Tape& tape, Module module, const Tensor& x, std::int64_t patch);
// And back, [N, C, H, W]: a copy or a view again.
[[nodiscard]] Tensor from_tokens(Tape& tape, Module module, const Tensor& tokens,
                                 std::int64_t channels, std::int64_t rows, std::int64_t columns,
                                 std::int64_t patch);

// Rotary tables of Flux and its relatives (Su et al. 2021 over several axes): for every position a
// 2 x 2 rotation for each pair of channels, computed in fp64, kept in fp32.
// `ids`: [N, tokens, axes]. Gives [N, tokens, sum of axes_dim / 2, 2, 2].
[[nodiscard]] Tensor rope_table(Tape& tape, Module module, const Tensor& ids,
                                std::span<const int> axes_dim);
// Both rotated by the table, in fp32, back in their own type. Takes the caller's variables: they
// are let go as soon as their wide copies are there.
struct Rotated {
    Tensor q;
    Tensor k;
};
[[nodiscard]] Rotated apply_rope(Tape& tape, Module module, Tensor q, Tensor k,
                                 const Tensor& table);

// One of them, in a statement of its own: the caller's variable lives on until the result is there.
[[nodiscard]] Tensor apply_rope(Tape& tape, Module module, const Tensor& x, const Tensor& table);

// The same without a wide copy of `x` beforehand, whatever the kernels.
[[nodiscard]] Tensor apply_rope_narrow(Tape& tape, Module module, const Tensor& x,
                                       const Tensor& table);

// What fp16 cannot hold is clipped; other types pass.
[[nodiscard]] Tensor without_infinities(Tape& tape, Module module, const Tensor& x);

// (1 + scale) * x.
[[nodiscard]] Tensor scaled(Tape& tape, Module module, const Tensor& x, const Tensor& scale);
// (1 + scale) * x + shift.
[[nodiscard]] Tensor modulate(Tape& tape, Module module, const Tensor& x, const Tensor& scale,
                              const Tensor& shift);

// Diffusers' sinusoids, [N, width]: scaled after the product, sines and cosines swapped.
[[nodiscard]] Tensor scaled_timestep_embedding(Tape& tape, Module module, const Tensor& timesteps,
                                               std::int64_t width);

// Two Linear layers with SiLU between: timesteps, pooled texts, guidance.
struct MlpNames {
    std::string_view in = "in_layer";
    std::string_view act = "silu";
    std::string_view out = "out_layer";
};
inline constexpr MlpNames kSequentialMlp{"mlp.0", "mlp.1", "mlp.2"};
class MlpEmbedder {
  public:
    MlpEmbedder(Registry& registry, std::string_view path, std::int64_t in, std::int64_t hidden,
                Bias bias = Bias::Yes, const MlpNames& names = {});
    [[nodiscard]] Module path() const { return path_; }
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear in_;
    Module act_;
    Linear out_;
};

}  // namespace plimsoll::memory
