// SPDX-License-Identifier: Apache-2.0
//
// The VAE of SeedVR2 (ByteDance 2025): four frames to a cell of time, the first one by itself.
// Clips pass it in slices of one cell, each convolution keeping the frames that the next slice
// needs.
#pragma once
#include "memory/networks/vae.h"
#include "memory/networks/vae/seedvr2_layers.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

class Seedvr2VaeNetwork final : public Vae {
  public:
    Seedvr2VaeNetwork();

    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;  // [N, 16, T, H, W]
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::Seedvr2; }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = 8, .frames_per_cell = 4, .latent_channels = 16};
    }
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    struct Level {
        std::vector<Seedvr2Residual> blocks;
        Module resample_path = nullptr;
        std::optional<Conv3d> upscale;  // 1 x 1 x 1: cells become channels' neighbours
        std::optional<StripConv> conv;  // of a level that is resampled
        std::int64_t time_ratio = 1;
    };
    struct Half {
        std::optional<StripConv> conv_in;
        std::vector<Level> levels;  // in the order in which they run
        std::optional<Seedvr2Middle> middle;
        std::optional<FrameNorm> norm_out;
        Module act = nullptr;
        std::optional<StripConv> conv_out;
    };
    void make_encoder();
    void make_decoder();
    [[nodiscard]] static Tensor finish(Tape& tape, const Half& half, Seedvr2Frames h,
                                       SliceCarry& carry);
    [[nodiscard]] Tensor encode_slice(Tape& tape, const Tensor& pixels, SliceCarry& carry) const;
    [[nodiscard]] Tensor decode_slice(Tape& tape, const Tensor& z, SliceCarry& carry) const;
    [[nodiscard]] static Tensor upsample(Tape& tape, const Level& level, const Seedvr2Frames& given,
                                         SliceCarry& carry);
    // The first slice has one frame more.
    template <class Pass>
    [[nodiscard]] Tensor run_slices(Tape& tape, const Tensor& x, std::int64_t each,
                                    const Pass& pass) const;

    Module root_;
    Half encoder_;
    Half decoder_;
};

}  // namespace plimsoll::memory
