// SPDX-License-Identifier: Apache-2.0
//
// From pictures of a face to how it moves: StyleGAN2's discriminator (Karras et al. 2019) as the
// motion encoder of LIA (Wang et al. 2022), in Wan 2.2 Animate.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/wan/temporal_conv.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A convolution whose weights are scaled as it runs; before it a blur where it halves the sides,
// after it a bias and a leaky ReLU.
class ScaledConv {
  public:
    struct Shape {
        std::int64_t in = 0;
        std::int64_t out = 0;
        std::int64_t kernel = 3;
        bool halves = false;
        bool activates = true;
        bool alone = false;  // not the first of a list
        std::int64_t padding = 0;
    };
    ScaledConv(Registry& registry, std::string_view path, const Shape& shape);
    // [N, in, H, W]
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x,
                                 InputLayout layout = InputLayout::Contiguous) const;

  private:
    [[nodiscard]] Tensor blur(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor convolve(Tape& tape, const Tensor& x, InputLayout layout) const;
    [[nodiscard]] Tensor activate(Tape& tape, const Tensor& x) const;

    Shape shape_;
    Module blur_ = nullptr;
    Module conv_ = nullptr;
    Module activation_ = nullptr;
};

class FaceMotionEncoder {
  public:
    FaceMotionEncoder(Registry& registry, std::string_view path);
    // [N, 3, kSide, kSide] to [N, kWidth].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& pictures, InputLayout layout) const;

    static constexpr std::int64_t kSide = 512;
    static constexpr std::int64_t kWidth = 512;

  private:
    struct Block {
        Module path;
        ScaledConv conv1;
        ScaledConv conv2;
        ScaledConv skip;
    };
    struct ScaledLinear {
        Module path;
        std::int64_t in = 0;
        std::int64_t out = 0;
    };
    [[nodiscard]] Tensor forward_block(Tape& tape, const Block& block, const Tensor& x) const;
    [[nodiscard]] Tensor forward_linear(Tape& tape, const ScaledLinear& layer,
                                        const Tensor& x) const;
    [[nodiscard]] Tensor combine_directions(Tape& tape, const Tensor& x) const;

    std::vector<ScaledConv> ends_;  // the first and the last convolution
    std::vector<Block> blocks_;
    std::vector<ScaledLinear> linears_;
    Module direction_;
};

// From the motion of every picture to tokens of every latent frame.
class FaceEncoder {
  public:
    FaceEncoder(Registry& registry, std::string_view path, std::int64_t width);
    // [N, pictures, kWidth] to [N, moments, kTokens, width].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& motion) const;

    static constexpr std::int64_t kTokens = 5;

  private:
    Module path_;
    std::int64_t width_;
    CausalConv1d conv1_;
    Module act_;
    CausalConv1d conv2_;
    CausalConv1d conv3_;
    Linear out_;
    LayerNorm norm1_;
    LayerNorm norm2_;
    LayerNorm norm3_;
};

}  // namespace plimsoll::memory
