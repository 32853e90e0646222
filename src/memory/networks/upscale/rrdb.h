// SPDX-License-Identifier: Apache-2.0
//
// ESRGAN's generator RRDBNet (Wang et al. 2018), in the layout of its first checkpoints: dense
// blocks in residual blocks, then the sides are doubled by nearest neighbours and convolutions.
// Real-ESRGAN's that enlarge less fold pixels into channels first (Wang et al. 2021).
#pragma once
#include "memory/networks/upscale/upscaler.h"

#include <memory>
#include <vector>

namespace plimsoll::memory {

using modelfile::RrdbConfig;

class DenseBlock {
  public:
    DenseBlock(Registry& registry, std::string_view path, const RrdbConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::vector<Conv2d> convs_;
    std::vector<Module> activations_;
};

class RrdbNetwork final : public Upscaler {
  public:
    explicit RrdbNetwork(const RrdbConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const override;

  private:
    struct Block {
        Module path;
        std::vector<DenseBlock> dense;
    };
    struct Doubling {
        Module upsample;
        Conv2d conv;
        Module activation;
    };
    [[nodiscard]] Tensor forward_trunk(Tape& tape, const Tensor& x) const;

    int unshuffle_;
    Module whole_;
    Conv2d conv_in_;
    Module trunk_;
    std::vector<Block> blocks_;
    Conv2d trunk_out_;
    std::vector<Doubling> doublings_;
    Conv2d conv_hidden_;
    Module activation_;
    Conv2d conv_out_;
};

[[nodiscard]] Result<std::shared_ptr<const RrdbNetwork>> build_rrdb(const RrdbConfig& config);

}  // namespace plimsoll::memory
