// SPDX-License-Identifier: Apache-2.0
//
// The VAE of Stable Video Diffusion (Blattmann et al. 2023): the KL autoencoder's encoder, and a
// decoder whose blocks mix each image with what a convolution over its neighbours in time makes of
// it. The images of one video are a batch.
#pragma once
#include "memory/networks/kl_vae.h"
#include "memory/networks/vae/hunyuan_vae.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class TemporalResidual {
  public:
    TemporalResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& images) const;

  private:
    // Norm, activation, convolution over time.
    struct Part {
        GroupNorm norm;
        Module act;
        Conv3d conv;
    };
    [[nodiscard]] static Part make_part(Registry& registry, std::string_view path, int conv,
                                        std::int64_t channels);
    [[nodiscard]] static Tensor run_part(Tape& tape, const Part& part, const Tensor& x,
                                         bool strided);
    [[nodiscard]] Tensor mix_in_time(Tape& tape, const Tensor& video) const;

    Module path_;
    Module share_;  // whose parameter it is: before its layers
    VaeResBlock spatial_;
    Module stack_path_;
    Part first_;
    Part second_;
};

class TemporalVaeNetwork final : public Vae {
  public:
    TemporalVaeNetwork();
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z, KeepMiddle keep) const;

    // ComfyUI takes it for a VAE of images.
    [[nodiscard]] VaeKind kind() const override { return VaeKind::AutoencoderKl; }
    [[nodiscard]] VaeGrid grid() const override { return {}; }
    // What is handed in together is a video.
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    struct Level {
        std::vector<TemporalResidual> blocks;
        std::optional<Conv2d> upsample;
        Module upsample_path = nullptr;
    };
    Module path_;
    VaeEncoder encoder_;
    Conv2d conv_in_;
    TemporalResidual block_1_;
    VaeAttention attn_1_;
    TemporalResidual block_2_;
    std::vector<Level> levels_;  // levels_[0] is the finest, as in the file
    std::optional<GroupNorm> norm_out_;
    std::optional<Conv2d> conv_out_;
    std::optional<Conv3d> time_conv_;
    Module regularization_ = nullptr;
};

}  // namespace plimsoll::memory
