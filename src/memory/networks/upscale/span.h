// SPDX-License-Identifier: Apache-2.0
//
// SPAN (Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution"):
// six blocks of three convolutions whose result weighs itself, then channels become pixels.
#pragma once
#include "memory/networks/upscale/upscaler.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A convolution that was trained as four: all are in the file, and the merged one runs.
class MergedConv {
  public:
    MergedConv(Registry& registry, std::string_view parent, std::string_view name, std::int64_t in,
               std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const {
        return merged_.forward(tape, x);
    }

  private:
    std::vector<Conv2d> trained_;
    Conv2d merged_;
};

class SpanNetwork final : public Upscaler {
  public:
    explicit SpanNetwork(const modelfile::SpanConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const override;

  private:
    struct Block {
        Module path;
        Module activation;
        std::vector<MergedConv> convs;
    };
    struct Made {
        Tensor out;
        Tensor first;   // of its three convolutions
        Tensor weight;  // by which it weighs itself
    };
    [[nodiscard]] static Made run(Tape& tape, const Block& block, const Tensor& x);

    bool norm_;
    Module whole_;
    MergedConv conv_in_;
    std::vector<Block> blocks_;
    Conv2d conv_cat_;
    MergedConv conv_out_;
    Conv2d conv_pixels_;
    Module shuffle_;
};

[[nodiscard]] Result<std::shared_ptr<const SpanNetwork>> build_span(
    const modelfile::SpanConfig& config);

}  // namespace plimsoll::memory
