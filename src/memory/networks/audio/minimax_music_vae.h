// SPDX-License-Identifier: Apache-2.0
//
// The decoder of MiniMax Music 3: convolutions with periodic activations ("snake", Ziyin et al.
// 2020), strided up to 512 samples a latent. The two channels are decoded as two sounds.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/vae.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class MiniMaxMusicVaeNetwork final : public Vae {
  public:
    MiniMaxMusicVaeNetwork();

    [[nodiscard]] VaeKind kind() const override { return VaeKind::MiniMaxMusic; }
    [[nodiscard]] VaeGrid grid() const override { return {}; }  // it has no pixels
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    // It has no encoder.
    [[nodiscard]] bool encodes() const override { return false; }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;

  private:
    struct Residual {
        Module snake1;
        Conv1d conv1;
        Module snake2;
        Conv1d conv2;
        Module path;
    };
    struct Level {
        Module snake;
        Conv1d up;
        std::vector<Residual> residuals;
    };
    [[nodiscard]] Level make_level(std::size_t index);
    [[nodiscard]] Residual make_residual(std::string_view path, std::int64_t width,
                                         std::int64_t dilation);
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;

    Module root_;
    Conv1d in_proj_;
    Conv1d conv_in_;
    std::vector<Level> levels_;
    Module snake_out_;
    std::optional<Conv1d> conv_out_;
    Module tanh_;
};

}  // namespace plimsoll::memory
