// SPDX-License-Identifier: Apache-2.0
//
// BigVGAN's activation (Lee et al. 2023): samples are doubled, passed through a periodic function
// and halved again, with a low pass both times. And the resampling that it is made of.
#pragma once
#include "memory/networks/layers.h"

#include <string_view>

namespace plimsoll::memory {

class SampleUp {
  public:
    enum class Window : std::uint8_t { Kaiser, Hann };
    SampleUp(Registry& registry, Module path, std::int64_t ratio, Window window);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // [N, C, L] to [N, C, L * r]

  private:
    Module path_;
    std::int64_t ratio_;
    std::int64_t kernel_;
    std::int64_t padding_;
};

class AliasFreeSnake {
  public:
    // `beta`: with a second parameter for each channel.
    AliasFreeSnake(Registry& registry, std::string_view path, std::int64_t channels, bool beta);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // [N, C, L], the same shape

  private:
    [[nodiscard]] Tensor snake(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor halve(Tape& tape, const Tensor& x) const;

    std::int64_t channels_;
    bool beta_;
    Module act_;
    SampleUp up_;
    Module low_pass_;
};

}  // namespace plimsoll::memory
