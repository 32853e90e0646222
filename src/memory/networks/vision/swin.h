// SPDX-License-Identifier: Apache-2.0
//
// The Swin transformer (Liu et al. 2021): attention inside windows that every second block shifts,
// in four stages of half the size each. Its attention is computed step by step, scores and all.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/image_reader_config.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class SwinBackbone {
  public:
    SwinBackbone(Registry& registry, std::string_view path,
                 const modelfile::BiRefNetConfig& config);
    // The normalised maps of the four stages, [N, C, H, W], the largest first.
    [[nodiscard]] std::vector<Tensor> forward(Tape& tape, const Tensor& pixels) const;

  private:
    struct Block {
        Module path;
        LayerNorm norm1;
        Module attention_path;
        Linear qkv;
        Linear proj;
        LayerNorm norm2;
        Module mlp_path;
        Linear fc1;
        Linear fc2;
        bool shifted = false;
    };
    struct Stage {
        Module path;
        std::int64_t heads = 1;
        std::int64_t width = 0;
        std::vector<Block> blocks;
        std::optional<LayerNorm> merge_norm;
        std::optional<Linear> merge;
        LayerNorm norm;
    };
    struct Size {
        std::int64_t rows = 0;
        std::int64_t columns = 0;
    };
    [[nodiscard]] Stage make_stage(Registry& r, std::string_view path, std::size_t number) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Stage& stage, const Block& block,
                                const Tensor& windows) const;
    void run(Tape& tape, const Stage& stage, const Block& block, Size size, Tensor& x) const;
    [[nodiscard]] static Tensor merge(Tape& tape, const Stage& stage, Size size, const Tensor& x);
    [[nodiscard]] Size padded(Size size) const;

    modelfile::BiRefNetConfig config_;
    Module path_;
    Conv2d patches_;
    LayerNorm patch_norm_;
    std::vector<Stage> stages_;
};

}  // namespace plimsoll::memory
