// SPDX-License-Identifier: Apache-2.0
//
// ESRGAN's generator RRDBNet (Wang et al. 2018), in the layout of its first checkpoints: dense
// blocks in residual blocks, then the sides are doubled by nearest neighbours and convolutions.
#pragma once
#include "memory/networks/layers.h"

#include <memory>
#include <vector>

namespace plimsoll::memory {

struct RrdbConfig {
    int colours = 3;
    int width = 64;
    int growth = 32;    // channels that each convolution of a dense block adds
    int blocks = 23;    // of three dense blocks
    int doublings = 2;  // of the sides
};

struct UpscaleCall {
    int batch = 1;
    int height = 512;  // pixels that go in
    int width = 512;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
};

class DenseBlock {
  public:
    DenseBlock(Registry& registry, std::string_view path, const RrdbConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::vector<Conv2d> convs_;
    std::vector<Module> activations_;
};

class RrdbNetwork final : public RegisteredNetwork {
  public:
    explicit RrdbNetwork(const RrdbConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;
    [[nodiscard]] const RrdbConfig& config() const { return config_; }

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

    RrdbConfig config_;
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
[[nodiscard]] Walk simulate_upscale(const RrdbNetwork& network, const UpscaleCall& call);

}  // namespace plimsoll::memory
