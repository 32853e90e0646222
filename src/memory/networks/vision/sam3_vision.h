// SPDX-License-Identifier: Apache-2.0
//
// What SAM 3 sees with: a plain vision transformer (ViTDet, Li et al. 2022) whose attention stays
// within windows but for every eighth block, and necks that make maps of several sizes of its
// result, one for each user.
#pragma once
#include "memory/networks/vision/reader_layers.h"
#include "modelfile/networks/image_reader_config.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Sinusoids of the places in maps of each size, in fp32: made once, kept as long as the model is.
using Sam3Places = std::vector<Tensor>;

class Sam3Vision {
  public:
    static constexpr std::int64_t kSide = 1008;  // pixels: every image is brought to this square

    enum class Neck : std::uint8_t { Detector, Tracker, Interactive };
    struct Maps {
        std::vector<Tensor> features;   // the largest first
        std::vector<Tensor> positions;  // of the same sizes
    };

    Sam3Vision(Registry& registry, std::string_view path, const modelfile::Sam3Config& config);
    // [N, 3, side, side] to [N, hidden, rows, columns].
    [[nodiscard]] Tensor look(Tape& tape, const Tensor& image) const;
    // `neck` of SAM 3 for the tracker serves interaction as well.
    [[nodiscard]] Maps make_maps(Tape& tape, Neck neck, const Tensor& seen,
                                 Sam3Places& places) const;

  private:
    struct Block {
        Module path;
        bool whole = false;  // attends to all of the image
        LayerNorm norm1;
        Module attention;
        Linear qkv;
        Linear out;
        LayerNorm norm2;
        Module mlp;
        Linear fc1;
        Linear fc2;
    };
    struct Scale {
        Module path;
        std::optional<ConvTranspose2d> twice;
        std::optional<ConvTranspose2d> four_times;  // after `twice`
        bool half = false;
        Conv2d narrow;
        Conv2d smooth;
    };
    struct Tables {  // rotations of the whole image and of a window, in compute type
        Tensor whole;
        Tensor window;
    };
    [[nodiscard]] static Block make_block(Registry& r, std::string_view path, int number,
                                          const modelfile::Sam3Config& c);
    [[nodiscard]] static std::vector<Scale> make_neck(Registry& r, std::string_view path,
                                                      const modelfile::Sam3Config& c);
    [[nodiscard]] Tensor positions(Tape& tape, const Tensor& patches) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Block& block, const Tensor& x,
                                const Tensor& table) const;
    [[nodiscard]] Tensor run(Tape& tape, const Block& block, const Tensor& x,
                             const Tables& tables) const;
    [[nodiscard]] static Tensor run(Tape& tape, const Scale& scale, const Tensor& x);
    [[nodiscard]] Tensor sinusoids(Tape& tape, std::int64_t side) const;

    modelfile::Sam3Config config_;
    Module trunk_;
    Conv2d patches_;
    LayerNorm first_norm_;
    std::vector<Block> blocks_;
    Module places_;
    std::vector<std::vector<Scale>> necks_;
};

}  // namespace plimsoll::memory
