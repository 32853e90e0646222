// SPDX-License-Identifier: Apache-2.0
//
// Oobleck, the VAE of Stable Audio (Evans et al. 2024): convolutions over samples with periodic
// activations ("snake", Ziyin et al. 2020; Lee et al. 2023), strided down and up.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/vae.h"
#include "modelfile/networks/oobleck_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// x + sin^2(alpha x) / beta, alpha and beta of each channel being kept as logarithms.
class Snake {
  public:
    Snake(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
};

class OobleckResidual {
  public:
    OobleckResidual(Registry& registry, std::string_view path, std::int64_t channels,
                    std::int64_t dilation);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Snake snake1_;
    Conv1d conv1_;
    Snake snake2_;
    Conv1d conv2_;
};

// Three residual units, and the layer that changes the rate: after them going down, before them
// going up.
class OobleckLevel {
  public:
    OobleckLevel(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                 std::int64_t stride, Direction1d direction);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    struct Resampling {
        Snake snake;
        Conv1d conv;
        [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    };
    Direction1d direction_;
    std::vector<OobleckResidual> residuals_;
    std::optional<Resampling> resampling_;
};

class OobleckCoder {
  public:
    OobleckCoder(Registry& registry, std::string_view path, const modelfile::OobleckConfig& config,
                 Direction1d direction);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    std::optional<Conv1d> conv_in_;
    std::vector<OobleckLevel> levels_;
    std::optional<Snake> snake_;
    std::optional<Conv1d> conv_out_;
};

class OobleckNetwork final : public Vae {
  public:
    explicit OobleckNetwork(const modelfile::OobleckConfig& config);

    [[nodiscard]] const modelfile::OobleckConfig& config() const { return config_; }
    [[nodiscard]] std::int64_t downscale() const;  // samples of one latent
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& samples) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::Oobleck; }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = 1, .latent_channels = config_.latent_dim};
    }
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    modelfile::OobleckConfig config_;
    Module root_;
    OobleckCoder encoder_;
    OobleckCoder decoder_;
};

// Fails with InvalidInput when the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const OobleckNetwork>> build_oobleck(
    const modelfile::OobleckConfig& config);

}  // namespace plimsoll::memory
