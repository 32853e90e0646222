// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/upscale/compact.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

namespace plimsoll::memory {

CompactNetwork::CompactNetwork(const modelfile::CompactConfig& c)
    : Upscaler(c.colours, c.scale, 1),
      layers_([&] {
          std::vector<Layer> layers;
          for (int i = 0; i < c.convs + 2; ++i) {
              const bool first = i == 0;
              const bool last = i == c.convs + 1;
              const std::int64_t shuffled = std::int64_t{c.colours} * c.scale * c.scale;
              Conv2d conv(registry_, registry_.path("body", fmt::format("{}", 2 * i)),
                          first ? c.colours : c.width, last ? shuffled : c.width);
              Module activation = nullptr;
              if (!last) {
                  activation = registry_.path("body", fmt::format("{}", 2 * i + 1));
                  registry_.add_plain(activation, "PReLU", c.width);
              }
              layers.push_back({conv, activation});
          }
          return layers;
      }()),
      shuffle_(registry_.path("upsampler", "")),
      whole_(registry_.path("", "")) {}

Tensor CompactNetwork::forward(Tape& tape, const Tensor& pixels) const {
    Tensor x = pixels;
    for (const Layer& layer : layers_) {
        x = layer.conv.forward(tape, x);
        if (layer.activation != nullptr) x = ghost::unary(tape, "prelu", layer.activation, x);
    }
    const Shape& s = pixels.shape();
    const Shape larger{s[0], s[1], s[2] * scale(), s[3] * scale()};
    x = ghost::produce(tape, OpClass::Copy, "pixel_shuffle", shuffle_, x, larger, x.type());
    const Tensor nearest = ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d", whole_,
                                          pixels, larger, pixels.type());
    ghost::binary_in_place(tape, "add_", whole_, x, nearest);
    return x;
}

Result<std::shared_ptr<const CompactNetwork>> build_compact(const modelfile::CompactConfig& c) {
    const bool sound = within(c.colours, 1, kWidthMax) && within(c.width, 1, kWidthMax) &&
                       within(c.convs, 0, kDepthMax) && within(c.scale, 1, kUpscaleMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("an upscaler of width {} with {} convolutions and a scale of {} "
                                "cannot be",
                                c.width, c.convs, c.scale));
    return std::make_shared<const CompactNetwork>(c);
}

}  // namespace plimsoll::memory
