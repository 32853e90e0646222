// SPDX-License-Identifier: Apache-2.0
//
// MiniMax-H3's VAE of videos. Frames pass in clips of seventeen and each clip in tiles of at most
// 256 pixels along a side, whose overlaps are blended; neither can be turned off in ComfyUI.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/vae.h"
#include "modelfile/networks/minimax_vae_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Mirrored at the borders of the image; in time it looks back only, to zeros.
class MiniMaxConv {
  public:
    struct Form {
        std::int64_t kernel = 3;
        Extent3 stride = {};
        std::int64_t around = 1;  // pixels mirrored on each side
    };
    MiniMaxConv(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                const Form& form);
    // x: [N, in, T, H, W]. The caller's tensor lives on through the call.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Form form_;
    Conv3d conv_;
};

// Groups of channels of each frame by itself.
class MiniMaxFrameNorm {
  public:
    MiniMaxFrameNorm(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    GroupNorm norm_;
};

class MiniMaxVaeResidual {
  public:
    MiniMaxVaeResidual(Registry& registry, std::string_view path, std::int64_t in,
                       std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    MiniMaxFrameNorm norm1_;
    MiniMaxFrameNorm norm2_;
    MiniMaxConv conv1_;
    MiniMaxConv conv2_;
    std::optional<MiniMaxConv> shortcut_;
};

class MiniMaxVaeEncoder {
  public:
    MiniMaxVaeEncoder(Registry& registry, const modelfile::MiniMaxVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pixels) const;

  private:
    struct Level {
        std::vector<MiniMaxVaeResidual> blocks;
        Module downsample_path = nullptr;
        bool halves_pixels = false;
        std::optional<MiniMaxConv> downsample;
    };
    Module path_;
    MiniMaxConv conv_in_;
    std::vector<Level> levels_;
    std::optional<MiniMaxFrameNorm> norm_out_;
    std::optional<MiniMaxConv> conv_out_;
};

class MiniMaxVaeBlock {
  public:
    // `unlisted` takes what layers in int8 would write of themselves.
    MiniMaxVaeBlock(Registry& registry, Registry& unlisted, std::string_view path,
                    const modelfile::MiniMaxVaeConfig& config);
    // Adds to `x`, [N, tokens, width], in place.
    void forward(Tape& tape, const Tensor& x, const Tensor& table) const;

  private:
    [[nodiscard]] Tensor normalise_head(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor project(Tape& tape, const Linear& layer, const Tensor& x) const;
    void add_scaled(Tape& tape, const Tensor& x, const Tensor& update) const;

    Module path_;
    bool int8_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    RmsNorm norm1_;
    Module attn_;
    Linear to_qkv_;
    Linear to_out_;
    RmsNorm norm2_;
    Module ff_;
    Linear w1_;
    Linear w2_;
};

class MiniMaxVaeDecoder {
  public:
    MiniMaxVaeDecoder(Registry& registry, const modelfile::MiniMaxVaeConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& z) const;

  private:
    [[nodiscard]] Tensor place_tokens(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor rotations(Tape& tape, const Tensor& places) const;
    [[nodiscard]] Tensor write_pixels(Tape& tape, const Tensor& tokens, const Shape& cells) const;

    Module path_;
    modelfile::MiniMaxVaeConfig config_;
    Registry unlisted_;
    Module positions_;
    Linear embedder_;
    std::vector<MiniMaxVaeBlock> blocks_;
    LayerNorm norm_out_;
    Linear out_;
};

class MiniMaxVaeNetwork final : public Vae {
  public:
    explicit MiniMaxVaeNetwork(const modelfile::MiniMaxVaeConfig& config);

    [[nodiscard]] const modelfile::MiniMaxVaeConfig& config() const { return config_; }
    // Pixels, which are written to host memory as clips are done, from z, [N, C, T, H, W].
    void decode(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& pixels) const;

    [[nodiscard]] VaeKind kind() const override { return VaeKind::MiniMaxH3; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] bool tiles_itself() const override { return true; }
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    struct Clips {
        std::int64_t padding = 0;  // latent frames repeated at the end
        std::int64_t count = 0;
    };
    [[nodiscard]] Clips clips_of(std::int64_t latent_frames) const;
    [[nodiscard]] Tensor encode_clip(Tape& tape, const Tensor& clip) const;
    [[nodiscard]] Tensor decode_clip(Tape& tape, const Tensor& z) const;
    void finish_pixels(Tape& tape, const Tensor& pixels) const;

    modelfile::MiniMaxVaeConfig config_;
    std::int64_t cell_;    // pixels along a side
    std::int64_t frames_;  // of pixels in a latent frame
    Module path_;          // of the tables, which come before its layers
    MiniMaxVaeEncoder encoder_;
    Conv3d quant_conv_;
    Conv3d post_quant_conv_;
    MiniMaxVaeDecoder decoder_;
};

[[nodiscard]] Result<std::shared_ptr<const MiniMaxVaeNetwork>> build_minimax_vae(
    const modelfile::MiniMaxVaeConfig& config);

}  // namespace plimsoll::memory
