// SPDX-License-Identifier: Apache-2.0
//
// BiRefNet (Zheng et al. 2024), which separates what stands before a background: a Swin transformer
// looks at the image and at its half, and a decoder with deformable convolutions goes from the
// smallest map to a mask, seeing the image again at every level.
#pragma once
#include "memory/networks/vision/image_reader.h"
#include "memory/networks/vision/reader_layers.h"
#include "memory/networks/vision/swin.h"

#include <array>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A convolution whose samples lie where two others say (Dai et al. 2017), in torchvision's kernel.
class DeformableConv2d {
  public:
    DeformableConv2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                     std::int64_t kernel);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t in_;
    std::int64_t out_;
    std::int64_t kernel_;
    Conv2d offset_;
    Conv2d modulator_;
    Module regular_;
};

class BiRefNetNetwork final : public ImageReader {
  public:
    explicit BiRefNetNetwork(const modelfile::BiRefNetConfig& config);
    [[nodiscard]] std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const override;
    [[nodiscard]] ReaderLoader loader() const override { return ReaderLoader::AsTextEncoder; }
    [[nodiscard]] std::string_view title() const override { return "BiRefNet"; }

  private:
    struct Deformed {
        Module path;
        DeformableConv2d conv;
        BatchNorm2d norm;
    };
    struct Pyramid {  // samples of four sizes side by side
        Module path;
        std::vector<Deformed> parts;
        Conv2d mean_conv;
        BatchNorm2d mean_norm;
        Conv2d out;
        BatchNorm2d out_norm;
    };
    struct Block {
        Module path;
        Conv2d in;
        Pyramid pyramid;
        Conv2d out;
        BatchNorm2d norm_in;
        BatchNorm2d norm_out;
    };
    struct Level {  // of the decoder, from the smallest map on
        Conv2d image1;
        Conv2d image2;
    };
    struct Gate {
        Conv2d conv;
        BatchNorm2d norm;
        Conv2d attention;
    };
    using Features = std::vector<Tensor>;  // of four sizes, the largest first

    [[nodiscard]] Deformed make_deformed(std::string_view path, std::int64_t kernel);
    [[nodiscard]] Pyramid make_pyramid(std::string_view path);
    [[nodiscard]] Block make_block(std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Level make_level(int number, std::int64_t in, std::int64_t out);
    [[nodiscard]] Gate make_gate(int number, std::int64_t in);
    [[nodiscard]] std::int64_t channels(std::size_t size) const {
        return std::int64_t{2} * config_.width << size;
    }

    [[nodiscard]] Tensor run(Tape& tape, const Pyramid& pyramid, const Tensor& x) const;
    [[nodiscard]] Tensor run(Tape& tape, const Block& block, const Tensor& x) const;
    // The image in squares of the size of `like`, side by side, joined to it.
    [[nodiscard]] Tensor see_again(Tape& tape, const Level& level, const Tensor& image,
                                   const Tensor& like, std::vector<Tensor>& kept) const;
    [[nodiscard]] Tensor gated(Tape& tape, const Gate& gate, const Tensor& x,
                               std::vector<Tensor>& kept) const;
    [[nodiscard]] Features encode(Tape& tape, const Tensor& image) const;
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& image, const Features& features) const;

    modelfile::BiRefNetConfig config_;
    Module root_;
    SwinBackbone backbone_;
    Block squeeze_;
    Module decoder_;
    std::vector<Level> levels_;  // 5 to 1
    std::vector<Block> blocks_;  // 4 to 1
    Conv2d out_;
    std::vector<Conv2d> lateral_;  // 4 to 2
    std::vector<Conv2d> trained_;  // what only training runs
    std::vector<Gate> gates_;      // 4 to 2
};

}  // namespace plimsoll::memory
