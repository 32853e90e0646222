// SPDX-License-Identifier: Apache-2.0
//
// What follows things through a video in SAM 3: SAM 2's memory of earlier frames and its decoder of
// masks (Ravi et al. 2024). A single image uses of it what makes a mask better: the encoder of
// prompts and the decoder. SAM 3.1 has a second decoder, for several objects at once.
#pragma once
#include "memory/networks/vision/sam3_layers.h"
#include "memory/networks/vision/sam3_vision.h"

#include <array>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Of tokens and an image, each of which attends to the other.
class Sam3TwoWay {
  public:
    Sam3TwoWay(Registry& registry, std::string_view path, std::int64_t width);
    struct Seen {
        Tensor tokens;
        Tensor image;
    };
    [[nodiscard]] Seen forward(Tape& tape, const Tensor& image, const Tensor& places,
                               const Tensor& tokens) const;

  private:
    struct Layer {
        Module path;
        Sam3Attention self;
        Sam3Attention to_image;
        Sam3Attention to_tokens;
        Linear mlp_in;
        Linear mlp_out;
        std::array<LayerNorm, 4> norms;
    };
    [[nodiscard]] static Layer make_layer(Registry& r, std::string_view path, std::int64_t width);
    static void run(Tape& tape, const Layer& layer, Seen& seen, const Tensor& token_places,
                    const Tensor& places);

    Module path_;
    std::vector<Layer> layers_;
    Sam3Attention last_;
    LayerNorm last_norm_;
};

class Sam3MaskDecoder {
  public:
    // `objects` at once; one has a mask of its own beside those of three meanings.
    Sam3MaskDecoder(Registry& registry, std::string_view path, std::int64_t width, int objects);
    // For one object, from the image and what is known of its mask. The mask in the size of the
    // largest map.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& image, const Tensor& places,
                                 const Tensor& prompt, const Tensor& mask,
                                 const Sam3Vision::Maps& maps) const;

  private:
    std::int64_t width_;
    std::int64_t masks_;  // of an object
    Module path_;
    Sam3TwoWay transformer_;
    ConvTranspose2d larger1_;
    LayerNorm larger_norm_;
    ConvTranspose2d larger2_;
    Conv2d from_largest_;
    Conv2d from_second_;
    std::vector<Sam3Mlp> mask_mlps_;
    Sam3Mlp quality_;
    Sam3Mlp is_there_;
};

class Sam3Tracker {
  public:
    Sam3Tracker(Registry& registry, std::string_view path, const modelfile::Sam3Config& config);
    // The mask of one thing made better: [1, 1, side, side], from one of the same size.
    [[nodiscard]] Tensor refine(Tape& tape, const Sam3Vision::Maps& maps, const Tensor& mask) const;

  private:
    struct PromptEncoder {
        Module path;
        Conv2d down1;
        LayerNorm norm1;
        Conv2d down2;
        LayerNorm norm2;
        Conv2d out;
    };
    [[nodiscard]] PromptEncoder make_prompt_encoder(Registry& r, std::string_view path) const;
    void add_memory(Registry& r, std::string_view path) const;
    void add_memory_layers(Registry& r, std::string_view path) const;
    [[nodiscard]] Tensor embed_mask(Tape& tape, const Tensor& mask) const;

    modelfile::Sam3Config config_;
    Module root_;
    PromptEncoder prompts_;
    Sam3MaskDecoder decoder_;
    Sam3Mlp pointer_;
};

}  // namespace plimsoll::memory
