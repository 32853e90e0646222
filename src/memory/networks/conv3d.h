// SPDX-License-Identifier: Apache-2.0
//
// Convolution over frames, rows and columns.
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>
#include <string_view>

namespace plimsoll::memory {

struct Extent3 {
    std::int64_t frames = 1;
    std::int64_t rows = 1;
    std::int64_t columns = 1;

    [[nodiscard]] std::int64_t volume() const { return frames * rows * columns; }
};

struct Conv3dShape {
    Extent3 kernel;
    Extent3 stride = {};
    Extent3 padding = {0, 0, 0};
};

enum class InputLayout : std::uint8_t { Contiguous, Copied };  // Copied: by the kernel, beforehand

struct ConvCall {
    Extent3 padding = {0, 0, 0};
    InputLayout layout = InputLayout::Contiguous;
    std::int64_t last_frames = 0;  // of the kernel's weights; 0: all
};

class Conv3d {
  public:
    Conv3d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           const Conv3dShape& shape, ModuleStorage storage = ModuleStorage::AsNetwork,
           std::string_view class_name = "Conv3d");
    // x: [N, in, T, H, W]
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const {
        return forward(tape, x, {.padding = shape_.padding});
    }
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const ConvCall& call) const;
    [[nodiscard]] Module path() const { return path_; }

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    Conv3dShape shape_;
    bool cast_;
};

}  // namespace plimsoll::memory
