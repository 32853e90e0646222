// SPDX-License-Identifier: Apache-2.0
//
// Layers that networks of vision have and diffusion networks have not.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

// A convolution that makes a square of `kernel` x `kernel` pixels of each.
class ConvTranspose2d {
  public:
    ConvTranspose2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                    std::int64_t kernel);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    std::int64_t kernel_;
};

// With the statistics of its training: a scale and a shift for each channel.
class BatchNorm2d {
  public:
    BatchNorm2d(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
};

// A convolution whose border repeats the outermost pixels: a padded copy is made first.
class ReplicateConv2d {
  public:
    ReplicateConv2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                    std::int64_t kernel = 3);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    std::int64_t padding_;
    Conv2d conv_;
};

// [N, C, H, W] in another size.
[[nodiscard]] Tensor resize(Tape& tape, Module module, const Tensor& x, std::int64_t height,
                            std::int64_t width, std::string_view op = "upsample_bilinear2d");

}  // namespace plimsoll::memory
