// SPDX-License-Identifier: Apache-2.0
//
// DINOv2 (Oquab et al. 2023), a vision transformer, as the backbone of other networks: tokens of
// several of its layers.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/image_reader_config.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Dino2Backbone {
  public:
    Dino2Backbone(Registry& registry, std::string_view path, const modelfile::DinoConfig& config);

    // Patches and a class token of each image: [N, 1 + patches, hidden].
    [[nodiscard]] Tensor embed(Tape& tape, const Tensor& pixels) const;
    // One block after the other; `x` is replaced by its result.
    void run_block(Tape& tape, std::size_t block, Tensor& x) const;
    [[nodiscard]] Tensor normalise(Tape& tape, const Tensor& x) const {
        return norm_.forward(tape, x);
    }
    // The normalised tokens of the layers of these numbers, in order; the last ends the walk.
    [[nodiscard]] std::vector<Tensor> layers(Tape& tape, const Tensor& pixels,
                                             const std::vector<int>& wanted) const;
    [[nodiscard]] const modelfile::DinoConfig& config() const { return config_; }

  private:
    struct Block {
        Module path;
        Module attention_path;
        Linear query;
        Linear key;
        Linear value;
        Linear out;
        Module scale1;
        Module scale2;
        Module mlp_path;
        Linear fc1;
        Linear fc2;
        LayerNorm norm1;
        LayerNorm norm2;
    };
    [[nodiscard]] static Block make_block(Registry& r, std::string_view path, std::int64_t hidden);
    [[nodiscard]] Tensor attend(Tape& tape, const Block& block, const Tensor& x) const;
    [[nodiscard]] static Tensor feed_forward(Tape& tape, const Block& block, const Tensor& x);
    [[nodiscard]] Tensor scaled(Tape& tape, Module scale, const Tensor& x) const;

    modelfile::DinoConfig config_;
    Module embeddings_;
    Conv2d patches_;
    std::vector<Block> blocks_;
    LayerNorm norm_;
};

}  // namespace plimsoll::memory
