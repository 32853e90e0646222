// SPDX-License-Identifier: Apache-2.0
//
// Stable Audio 3's larger VAE: 256 samples of a channel are one step, 16 steps one latent, and both
// coders are transformers over a latent and its steps that look no farther than the latents beside.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/vae.h"
#include "modelfile/networks/stable_audio_config.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// gamma * tanh(alpha * x) + beta, in place of a norm (Zhu et al. 2025).
class DynamicTanh {
  public:
    DynamicTanh(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
};

class SameBlock {
  public:
    SameBlock(Registry& registry, std::string_view path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& mask) const;
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t width_;
    DynamicTanh pre_norm_;
    Module self_;
    Linear to_qkv_;
    Linear to_out_;
    DynamicTanh q_norm_;
    DynamicTanh k_norm_;
    DynamicTanh ff_norm_;
    Module glu_;
    Linear ff_in_;
    Linear ff_out_;
};

class SameVaeNetwork final : public Vae {
  public:
    explicit SameVaeNetwork(const modelfile::SameVaeConfig& config);

    [[nodiscard]] VaeKind kind() const override { return VaeKind::StableAudio3; }
    [[nodiscard]] VaeGrid grid() const override { return {}; }  // it has no pixels
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    // Of a sound that is coded no walk was written.
    [[nodiscard]] bool encodes() const override { return false; }
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;

  private:
    struct Coder {
        Module path;
        Conv1d mapping;
        std::vector<SameBlock> blocks;
        Linear linear;  // between the width and the latent's channels
    };
    enum class Half : std::uint8_t { Encoder, Decoder };
    [[nodiscard]] Coder make_coder(Half half);
    // Which tokens see which: whole numbers on the way, one of the network's type in the end.
    [[nodiscard]] Tensor window_mask(Tape& tape, std::int64_t tokens) const;

    modelfile::SameVaeConfig config_;
    std::int64_t width_;
    Module root_;
    Coder encoder_;
    Coder decoder_;
    Module bottleneck_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const SameVaeNetwork>> build_same_vae(
    const modelfile::SameVaeConfig& config);

}  // namespace plimsoll::memory
