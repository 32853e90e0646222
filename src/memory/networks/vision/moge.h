// SPDX-License-Identifier: Apache-2.0
//
// MoGe 2 (Wang et al. 2025): the geometry of one image. DINOv2's tokens go through stacks of
// convolutions from small maps to large ones: a neck, and a head each for points, a mask and
// normals.
#pragma once
#include "memory/networks/vision/dino2.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/networks/vision/reader_layers.h"

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::memory {

// From the smallest map to the largest, each twice as large as the one before.
class ConvStack {
  public:
    ConvStack(Registry& registry, std::string_view path, const modelfile::ConvStackConfig& config);
    // What every level hands out.
    [[nodiscard]] std::vector<Tensor> forward(Tape& tape, const std::vector<Tensor>& given) const;

  private:
    struct Residual {
        Module path;
        std::optional<GroupNorm> norm1;
        ReplicateConv2d conv1;
        std::optional<GroupNorm> norm2;
        ReplicateConv2d conv2;
    };
    struct Step {  // to the next level
        Module path;
        std::optional<ConvTranspose2d> transpose;  // else it is resized
        ReplicateConv2d conv;
    };
    [[nodiscard]] static Tensor run(Tape& tape, const Residual& block, const Tensor& x);
    [[nodiscard]] static Tensor run(Tape& tape, const Step& step, const Tensor& x);

    Module path_;
    std::vector<ReplicateConv2d> inputs_;
    std::vector<Step> steps_;
    std::vector<std::vector<Residual>> blocks_;
    std::vector<std::optional<ReplicateConv2d>> outputs_;
};

class MogeNetwork final : public ImageReader {
  public:
    explicit MogeNetwork(const modelfile::MogeConfig& config);
    [[nodiscard]] std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const override;
    [[nodiscard]] ReaderLoader loader() const override { return ReaderLoader::AsTextEncoder; }
    [[nodiscard]] int forwards(const ReaderCall& call) const override;
    [[nodiscard]] std::string_view title() const override { return "MoGe"; }

  private:
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const Tensor& image, std::int64_t rows,
                                             std::int64_t columns) const;
    // What its answers become in the size of the image.
    [[nodiscard]] std::vector<Tensor> project(Tape& tape, const Tensor& points, const Tensor& mask,
                                              const Tensor& normal) const;

    modelfile::MogeConfig config_;
    Module root_;
    Dino2Backbone backbone_;
    Module encoder_;
    std::vector<ReplicateConv2d> projections_;
    ConvStack neck_;
    ConvStack points_;
    ConvStack mask_;
    std::vector<Linear> scale_head_;
    std::optional<ConvStack> normal_;
};

}  // namespace plimsoll::memory
