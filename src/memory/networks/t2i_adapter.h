// SPDX-License-Identifier: Apache-2.0
//
// T2I-Adapter (Mou et al. 2023): a small convolutional encoder of the hint, run once per sampling.
// Its modules are plain PyTorch ones: ComfyUI cannot stream them.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

class T2iAdapterNetwork final : public RegisteredNetwork {
  public:
    explicit T2iAdapterNetwork(const modelfile::T2iAdapterConfig& config);

    [[nodiscard]] std::int64_t unshuffle() const {
        return config_.xl ? 16 : 8;
    }  // pixels per cell, by its design
    [[nodiscard]] std::int64_t hint_channels() const;
    [[nodiscard]] std::vector<Tensor> forward(Tape& tape, const Tensor& hint) const;

  private:
    enum class Pool : std::uint8_t { No, Yes };
    struct Body {
        Module path = nullptr;
        Module act = nullptr;
        Module pool_path = nullptr;
        Pool pool = Pool::No;
        std::optional<Conv2d> in_conv;
        std::optional<Conv2d> block1;
        std::optional<Conv2d> block2;
    };
    [[nodiscard]] static Tensor forward_body(Tape& tape, const Body& body, const Tensor& input);

    modelfile::T2iAdapterConfig config_;
    Module unshuffle_path_;
    std::vector<Body> bodies_;
    std::optional<Conv2d> conv_in_;
};

}  // namespace plimsoll::memory
