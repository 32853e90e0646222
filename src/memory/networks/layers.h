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

class LayerNorm {
  public:
    LayerNorm(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
};

}  // namespace plimsoll::memory
