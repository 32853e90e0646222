// SPDX-License-Identifier: Apache-2.0
//
// What finds things in SAM 3: DETR (Carion et al. 2020) whose encoder and decoder read the text
// too, with a token that says whether anything is there, biases from the boxes that are guessed so
// far, and MaskFormer's head (Cheng et al. 2021) for the masks.
#pragma once
#include "memory/networks/vision/sam3_layers.h"
#include "memory/networks/vision/sam3_vision.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Sam3Detector {
  public:
    // Registers below `path`, "detector".
    Sam3Detector(Registry& registry, std::string_view path, const modelfile::Sam3Config& config);
    // `text`: [1, tokens, width of the texts' encoder]. What it hands out, the masks of all queries
    // in the size of the largest map last.
    [[nodiscard]] std::vector<Tensor> detect(Tape& tape, const Sam3Vision::Maps& maps,
                                             const Tensor& text) const;

  private:
    struct Geometry {  // of points and boxes; its own token is read even where there are none
        Module path;
        Linear points;
        Linear points_pooled;
        Linear points_placed;
        Linear boxes;
        Conv2d boxes_pooled;
        Linear boxes_placed;
        Module labels;
        Module own_token;
        LayerNorm norm;
        LayerNorm image_norm;
        std::vector<Sam3EncoderLayer> layers;
        LayerNorm last_norm;
        Linear last;
    };
    struct DecoderLayer {
        Module path;
        Sam3Attention self;
        Sam3Attention image;
        Sam3Attention text;
        LayerNorm norm1;
        LayerNorm norm2;
        LayerNorm norm3;
        LayerNorm text_norm;
        Linear linear1;
        Linear linear2;
    };
    struct Prompt {
        Tensor tokens;
        Tensor mask;  // [N, 1, 1, tokens]
    };
    struct Image {
        Tensor tokens;  // [N, rows x columns, width]
        Tensor positions;
        std::int64_t rows = 0;
        std::int64_t columns = 0;
    };
    [[nodiscard]] Geometry make_geometry(Registry& r, std::string_view path) const;
    [[nodiscard]] DecoderLayer make_decoder_layer(Registry& r, std::string_view path) const;

    [[nodiscard]] Prompt join_prompt(Tape& tape, const Image& image, const Tensor& text) const;
    [[nodiscard]] Tensor bias_of_boxes(Tape& tape, const Image& image, const Tensor& boxes) const;
    [[nodiscard]] Tensor run(Tape& tape, const DecoderLayer& layer, const Tensor& x,
                             const Tensor& placed, const Tensor& memory, const Image& image,
                             const Prompt& prompt, const Tensor& bias) const;
    // Queries, boxes and whether anything is there.
    [[nodiscard]] std::vector<Tensor> decode(Tape& tape, const Tensor& memory, const Image& image,
                                             const Prompt& prompt) const;
    [[nodiscard]] Tensor score(Tape& tape, const Tensor& queries, const Prompt& prompt) const;
    [[nodiscard]] Tensor cut_out(Tape& tape, const Tensor& queries, const Sam3Vision::Maps& maps,
                                 const Tensor& memory, const Prompt& prompt) const;

    modelfile::Sam3Config config_;
    Module root_;
    Linear resizer_;
    std::vector<Sam3EncoderLayer> encoder_;
    std::vector<DecoderLayer> decoder_;
    Module decoder_path_;
    LayerNorm decoder_norm_;
    Module queries_;
    Module references_;
    Sam3Mlp reference_head_;
    Sam3Mlp boxes_;
    Sam3Mlp bias_across_;
    Sam3Mlp bias_down_;
    Module presence_;
    Sam3Mlp presence_head_;
    LayerNorm presence_norm_;
    Module masks_;
    std::vector<Conv2d> mask_convs_;
    std::vector<GroupNorm> mask_norms_;
    Sam3Mlp mask_embed_;
    Sam3Attention mask_text_;
    LayerNorm mask_text_norm_;
    Conv2d instances_;
    Geometry geometry_;
    Module scoring_;
    Linear score_queries_;
    Linear score_prompt_;
    Sam3Mlp prompt_mlp_;
    LayerNorm prompt_norm_;
};

}  // namespace plimsoll::memory
