// SPDX-License-Identifier: Apache-2.0
//
// The vision tower of Qwen2.5-VL (Bai et al. 2025): patches of an image to tokens of the language
// model. Most blocks attend within windows, some over the whole image.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/layers.h"

#include <memory>
#include <vector>

namespace plimsoll::memory {

struct QwenVisionConfig {
    int hidden = 1280;
    int intermediate = 3420;
    int heads = 16;
    int layers = 32;
    int output = 3584;  // width of the language model
};

// Patches along each side; an even number.
struct PatchGrid {
    std::int64_t rows = 0;
    std::int64_t columns = 0;

    [[nodiscard]] std::int64_t count() const { return rows * columns; }
};
// What an image is resized to: whole pairs of patches, within the model's limits.
[[nodiscard]] PatchGrid qwen_patch_grid(std::int64_t height, std::int64_t width);

struct QwenVisionCall {
    PatchGrid grid;
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
};

class QwenVisionNetwork final : public RegisteredNetwork {
  public:
    explicit QwenVisionNetwork(const QwenVisionConfig& config);
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& patches, const PatchGrid& grid) const;

  private:
    struct Block {
        Module path;
        RmsNorm norm1;
        RmsNorm norm2;
        Module attention_path;
        Linear qkv;
        Linear proj;
        Module mlp_path;
        Linear gate;
        Linear up;
        Linear down;
        Module act;
    };
    struct Rotations {
        Tensor cos;
        Tensor sin;
    };
    [[nodiscard]] Tensor embed(Tape& tape, const Tensor& patches) const;
    [[nodiscard]] Rotations embed_positions(Tape& tape, const PatchGrid& grid) const;
    [[nodiscard]] Tensor rotate(Tape& tape, const Block& block, const Tensor& x,
                                const Rotations& rotations) const;
    // `windows`: patches in each.
    [[nodiscard]] Tensor attend(Tape& tape, const Block& block, const Tensor& x,
                                const Rotations& rotations,
                                const std::vector<std::int64_t>& windows) const;
    [[nodiscard]] Tensor forward_block(Tape& tape, const Block& block, const Tensor& x,
                                       const Rotations& rotations,
                                       const std::vector<std::int64_t>& windows) const;

    QwenVisionConfig config_;
    Module root_;
    Module patch_embed_;
    std::vector<Block> blocks_;
    RmsNorm merger_norm_;
    Linear merger_in_;
    Module merger_act_;
    Linear merger_out_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const QwenVisionNetwork>> build_qwen_vision(
    const QwenVisionConfig& config);
[[nodiscard]] Walk simulate_image_encode(const QwenVisionNetwork& network,
                                         const QwenVisionCall& call);

}  // namespace plimsoll::memory
