// SPDX-License-Identifier: Apache-2.0
//
// The leaf layers of the ghost networks and the Registry in which they write themselves down.
// Layers register in the order of construction, so a network declares its members in PyTorch's
// named_modules() order.
#pragma once
#include "memory/ghost/ops.h"
#include "memory/networks/walk.h"

#include <deque>

namespace plimsoll::memory {

using ghost::Module;
using ghost::Shape;
using ghost::Tape;
using ghost::Tensor;

class Registry {
  public:
    // Castable: the network's leaves are ComfyUI ops that can be streamed. A T2I adapter's are
    // plain PyTorch modules.
    explicit Registry(bool castable = true) : castable_(castable) {}

    // A path that lives as long as the registry. "" + name gives name.
    [[nodiscard]] Module path(std::string_view parent, std::string_view name);
    void add(Module path, std::string_view class_name, std::int64_t parameters);
    // Parameters that belong to a container itself, not to one of ComfyUI's ops.
    void add_own_parameters(Module path, std::string_view class_name, std::int64_t parameters,
                            ModuleStorage storage);

    [[nodiscard]] const std::vector<ModuleEntry>& modules() const { return modules_; }
    [[nodiscard]] std::int64_t params() const;
    [[nodiscard]] Bytes weights(ComputeType storage) const;

  private:
    bool castable_;
    std::deque<std::string> paths_;
    std::vector<ModuleEntry> modules_;
};

enum class Bias : std::uint8_t { No, Yes };

class Linear {
  public:
    Linear(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           Bias bias = Bias::Yes);
    // The last dimension changes from `in` to `out`.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    // The same for an input that is not contiguous: matmul, then the bias in place.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& x) const;
    // For [N, rows, in] whose rows are not one matrix (a slice of each of several sequences):
    // PyTorch multiplies batch by batch without a copy, then adds the bias in place.
    [[nodiscard]] Tensor forward_batched(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Module path() const { return path_; }

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    bool bias_;
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
           ConvShape shape = kConv3);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, H, W]
    [[nodiscard]] Module path() const { return path_; }

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    ConvShape shape_;
};

class GroupNorm {
  public:
    GroupNorm(Registry& registry, Module path, std::int64_t channels, std::int64_t groups = 32);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
    std::int64_t groups_;
};

enum class Affine : std::uint8_t { No, Yes };  // whether a norm has a weight (and a bias)

class LayerNorm {
  public:
    LayerNorm(Registry& registry, Module path, std::int64_t width, Affine affine = Affine::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    Affine affine_;
};

// Root mean square over the last dimension.
class RmsNorm {
  public:
    RmsNorm(Registry& registry, Module path, std::int64_t width, Affine affine = Affine::Yes);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    Affine affine_;
};
// The same without a module of its own: PyTorch 2.8 computes it in fp32, step by step.
[[nodiscard]] Tensor rms_norm(Tape& tape, Module module, const Tensor& x, Affine affine);

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
