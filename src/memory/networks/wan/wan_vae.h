// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of Wan 2.1 (also of Qwen-Image) and Wan 2.2 5B: four pixels' frames to one latent frame,
// the first frame alone; coded chunk by chunk.
#pragma once
#include "memory/networks/vae.h"
#include "memory/networks/wan/causal_layers.h"
#include "modelfile/networks/wan_vae_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// The blocks of one resolution and the change to the next. Around it, in Wan 2.2, a shortcut
// without weights: means on the way down, repeats on the way up.
class WanLevel {
  public:
    struct Shape {
        std::int64_t in = 0;
        std::int64_t out = 0;
        int blocks = 2;
        std::optional<WanResampling> resampling;
        std::int64_t resampled = 0;  // channels after it
        bool nested = false;         // paths: a list within the level, not one over all
        bool averages = false;       // a shortcut on the way down
    };
    // `first`: number of the level's first layer, or of the level where it is nested.
    WanLevel(Registry& registry, std::string_view path, std::string_view list, int first,
             const Shape& shape);
    // Lets `x` go as soon as it was read, where no shortcut needs it.
    [[nodiscard]] WanFrames forward(Tape& tape, WanFrames x, WanCache* cache,
                                    bool first_chunk) const;
    [[nodiscard]] bool nested() const { return shape_.nested; }

  private:
    [[nodiscard]] Tensor repeat_shortcut(Tape& tape, const Tensor& x, bool first_chunk) const;
    [[nodiscard]] Tensor mean_shortcut(Tape& tape, const Tensor& x) const;

    Shape shape_;
    Module path_;
    Module shortcut_path_;
    std::vector<WanResidual> blocks_;
    std::optional<WanResample> resample_;
};

class WanVaeEnd {
  public:
    WanVaeEnd(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    void forward(Tape& tape, Module owner, WanFrames& x, WanCache* cache) const;

  private:
    WanRmsNorm norm_;
    Module silu_;
    CausalConv3d conv_;
};

class WanVaeMiddle {
  public:
    WanVaeMiddle(Registry& registry, std::string_view path, std::int64_t channels);
    void forward(Tape& tape, WanFrames& x, WanCache* cache) const;

  private:
    WanResidual block1_;
    WanVaeAttention attention_;
    WanResidual block2_;
};

class WanVaeEncoder {
  public:
    WanVaeEncoder(Registry& registry, const modelfile::WanVaeConfig& config);
    // Undefined where all frames wait for the next chunk.
    [[nodiscard]] Tensor forward(Tape& tape, const WanFrames& pixels, WanCache* cache) const;

  private:
    Module path_;
    CausalConv3d conv_in_;
    std::vector<WanLevel> levels_;
    std::optional<WanVaeMiddle> middle_;
    std::optional<WanVaeEnd> head_;
};

class WanVaeDecoder {
  public:
    WanVaeDecoder(Registry& registry, const modelfile::WanVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const WanFrames& z, WanCache* cache,
                                 bool first_chunk) const;
    // Appends what it decodes, in parts.
    void forward_lean(Tape& tape, const WanFrames& z, WanCache* cache,
                      std::vector<Tensor>& chunks) const;

  private:
    void run_levels(Tape& tape, std::size_t index, WanFrames x, WanCache* cache,
                    std::vector<Tensor>& chunks) const;

    Module path_;
    CausalConv3d conv_in_;
    WanVaeMiddle middle_;
    std::vector<WanLevel> levels_;
    std::optional<WanVaeEnd> head_;
};

class WanVaeNetwork final : public Vae {
  public:
    explicit WanVaeNetwork(const modelfile::WanVaeConfig& config);

    [[nodiscard]] const modelfile::WanVaeConfig& config() const { return config_; }
    [[nodiscard]] std::int64_t downscale() const { return std::int64_t{8} * config_.patch_size; }

    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override {
        return config_.patch_size > 1 ? VaeKind::Wan22 : VaeKind::Wan21;
    }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = static_cast<int>(downscale()),
                .frames_per_cell = 4,
                .latent_channels = config_.z_dim};
    }
    // Frames: 1 more than a multiple of 4, others do not reach the network.
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    [[nodiscard]] bool is_lean(const Tape& tape) const;

    modelfile::WanVaeConfig config_;
    Module root_;
    WanVaeEncoder encoder_;
    CausalConv3d conv1_;
    CausalConv3d conv2_;
    WanVaeDecoder decoder_;
};

[[nodiscard]] Result<std::shared_ptr<const WanVaeNetwork>> build_wan_vae(
    const modelfile::WanVaeConfig& config);

}  // namespace plimsoll::memory
