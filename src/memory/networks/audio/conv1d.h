// SPDX-License-Identifier: Apache-2.0
//
// Convolution over time, and its transpose.
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>

namespace plimsoll::memory {

struct Conv1dShape {
    std::int64_t kernel = 1;
    std::int64_t stride = 1;
    std::int64_t padding = 0;
    std::int64_t dilation = 1;
    std::int64_t groups = 1;
};

enum class Direction1d : std::uint8_t { Forward, Transposed };
// Whether the weight is kept as direction and length (Salimans and Kingma 2016) and made anew for
// each forward.
enum class WeightNorm : std::uint8_t { No, Yes };

struct Conv1dTraits {
    Direction1d direction = Direction1d::Forward;
    WeightNorm weight_norm = WeightNorm::No;
    Bias bias = Bias::Yes;
};

class Conv1d {
  public:
    Conv1d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
           const Conv1dShape& shape, const Conv1dTraits& traits = {});
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // x: [N, in, T]
    // The same for an input whose channels lie together: the kernel copies it first.
    [[nodiscard]] Tensor forward_strided(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Module path() const { return path_; }

  private:
    [[nodiscard]] std::int64_t steps(std::int64_t n) const;
    [[nodiscard]] Tensor make_weight(Tape& tape) const;

    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    Conv1dShape shape_;
    Conv1dTraits traits_;
};

}  // namespace plimsoll::memory
