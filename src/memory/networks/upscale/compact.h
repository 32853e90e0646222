// SPDX-License-Identifier: Apache-2.0
//
// Real-ESRGAN's small network (Wang et al. 2021, SRVGGNetCompact): convolutions one after the
// other, then channels become pixels, onto the image enlarged by its nearest neighbours.
#pragma once
#include "memory/networks/upscale/upscaler.h"

#include <vector>

namespace plimsoll::memory {

class CompactNetwork final : public Upscaler {
  public:
    explicit CompactNetwork(const modelfile::CompactConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const override;

  private:
    struct Layer {
        Conv2d conv;
        Module activation;  // nullptr after the last
    };
    std::vector<Layer> layers_;
    Module shuffle_;
    Module whole_;
};

[[nodiscard]] Result<std::shared_ptr<const CompactNetwork>> build_compact(
    const modelfile::CompactConfig& config);

}  // namespace plimsoll::memory
