// SPDX-License-Identifier: Apache-2.0
//
// The leaf layers of the ghost networks. They register in the order of construction, so a network
// declares its members in PyTorch's named_modules() order.
#pragma once
#include "memory/ghost/ops.h"
#include "memory/networks/registry.h"

namespace plimsoll::memory {

using ghost::Shape;
using ghost::Tape;
using ghost::Tensor;

class Linear {
  public:
    Linear(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           Bias bias = Bias::Yes, ModuleStorage storage = ModuleStorage::AsNetwork);
    // The last dimension changes from `in` to `out`.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    // The same for an input that is not contiguous: matmul, then the bias in place.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& x) const;
    // The same where the rows of [N, tokens, in] cannot be seen as one matrix (transposed tokens):
    // a batched matmul, which needs no copy, then the bias in place.
    [[nodiscard]] Tensor forward_batched(Tape& tape, const Tensor& x) const;
    // For tokens whose channels lie far apart: the same multiplication for all rows at once where N
    // is 1, else batched; no copy in either case.
    [[nodiscard]] Tensor forward_transposed(Tape& tape, const Tensor& x) const;
    // For a part of wider tokens, whose rows are still evenly spaced: no copy.
    [[nodiscard]] Tensor forward_rows(Tape& tape, const Tensor& x) const;
    // For a slice of the tokens: contiguous where N is 1, else batched.
    [[nodiscard]] Tensor forward_slice(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Module path() const { return path_; }

  private:
    [[nodiscard]] Tensor multiply(Tape& tape, std::string_view op, const Tensor& x) const;
    // The matrix in compute type, as long as it is multiplied with.
    [[nodiscard]] Tape::Cast cast_matrix(Tape& tape) const;
    // The product of the scale of a scaled fp8 weight with what is smaller, the weight or `x`;
    // nothing where the weight has no scale.
    [[nodiscard]] Tensor apply_scale(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    bool bias_;
    bool scaled_;
    bool packed_;
};

struct ConvShape {
    std::int64_t kernel = 3;
    std::int64_t stride = 1;
    std::int64_t padding = 1;
};
inline constexpr ConvShape kConv3{3, 1, 1};
inline constexpr ConvShape kConv1{1, 1, 0};

class Conv2d {
  public:
    Conv2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           ConvShape shape = kConv3, Bias bias = Bias::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, H, W]
    [[nodiscard]] Module path() const { return path_; }

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    ConvShape shape_;
    bool bias_;
};

class GroupNorm {
  public:
    GroupNorm(Registry& registry, Module path, std::int64_t channels, std::int64_t groups = 32,
              std::string_view class_name = "GroupNorm");
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    // The same for an input that is not contiguous: its kernel reads a copy.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
    std::int64_t groups_;
};

enum class Affine : std::uint8_t { No, Yes };  // whether a norm has a weight (and a bias)

class LayerNorm {
  public:
    LayerNorm(Registry& registry, Module path, std::int64_t width, Affine affine = Affine::Yes,
              ModuleStorage storage = ModuleStorage::AsNetwork);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    // The same for an input that is not contiguous: the kernel copies it first.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor normalise(Tape& tape, const Tensor& x, Tensor copy) const;

    Module path_;
    std::int64_t width_;
    Affine affine_;
};

// Root mean square over the last dimension. Some networks have a class of their own for it.
enum class NormClass : std::uint8_t { ComfyOp, Plain };
class RmsNorm {
  public:
    RmsNorm(Registry& registry, Module path, std::int64_t width, Affine affine = Affine::Yes,
            NormClass norm_class = NormClass::ComfyOp);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    Affine affine_;
};
// The same without a module of its own: PyTorch 2.8 computes it in fp32, step by step.
[[nodiscard]] Tensor rms_norm(Tape& tape, Module module, const Tensor& x, Affine affine);
// The same step by step whatever the kernels: what calls PyTorch's function by itself.
[[nodiscard]] Tensor rms_norm_by_steps(Tape& tape, Module module, const Tensor& x, Affine affine);

// What ComfyUI's forwards are at least: they changed between the versions that were recorded.
inline constexpr int kComfy033 = 33000;
[[nodiscard]] inline bool since_033(const Tape& tape) {
    return tape.options().comfyui >= kComfy033;
}

// Sinusoids of the timesteps, [N, width], computed in fp32.
[[nodiscard]] Tensor timestep_embedding(Tape& tape, Module module, const Tensor& timesteps,
                                        std::int64_t width,
                                        ghost::ElementType type = ghost::ElementType::Float32);

}  // namespace plimsoll::memory
