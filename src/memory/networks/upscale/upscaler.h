// SPDX-License-Identifier: Apache-2.0
//
// Networks that enlarge an image in pixels, as Spandrel runs them for ComfyUI: loaded in fp32, one
// tile after the other.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/upscaler_config.h"

#include <memory>

namespace plimsoll::memory {

inline constexpr int kUpscaleMax = 16;  // chosen: no published network enlarges as much

struct UpscaleCall {
    int batch = 1;
    int height = 512;  // pixels that go in
    int width = 512;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
};

class Upscaler : public RegisteredNetwork {
  public:
    [[nodiscard]] virtual Tensor forward(Tape& tape, const Tensor& pixels) const = 0;
    [[nodiscard]] int colours() const { return colours_; }
    [[nodiscard]] int scale() const { return scale_; }  // how many times longer the sides become
    // Sides are padded to multiples of it beforehand.
    [[nodiscard]] int multiple() const { return multiple_; }

  protected:
    Upscaler(int colours, int scale, int multiple)
        : RegisteredNetwork(false), colours_(colours), scale_(scale), multiple_(multiple) {}

  private:
    int colours_;
    int scale_;
    int multiple_;
};

[[nodiscard]] Result<std::shared_ptr<const Upscaler>> build_upscaler(
    const modelfile::UpscalerConfig& config);
[[nodiscard]] Walk simulate_upscale(const Upscaler& network, const UpscaleCall& call);

}  // namespace plimsoll::memory
