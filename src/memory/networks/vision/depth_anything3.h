// SPDX-License-Identifier: Apache-2.0
//
// Depth Anything 3 (Lin et al. 2025) for one image at a time: DINOv2, and the head of a dense
// prediction transformer (Ranftl et al. 2021) that makes a depth, and where it can a mask of the
// sky, of four of its layers.
#pragma once
#include "memory/networks/vision/dino2.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/networks/vision/reader_layers.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

class DepthAnything3Network final : public ImageReader {
  public:
    explicit DepthAnything3Network(const modelfile::DepthAnything3Config& config);
    [[nodiscard]] std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const override;
    [[nodiscard]] ReaderLoader loader() const override { return ReaderLoader::AsDiffusion; }
    [[nodiscard]] std::string_view title() const override { return "Depth Anything 3"; }

  private:
    struct Residual {
        Module path;
        Conv2d conv1;
        Conv2d conv2;
    };
    struct Fusion {
        Module path;
        std::optional<Residual> joined;  // what is added is refined first
        Residual refined;
        Conv2d out;
    };
    struct Output {
        Module path;
        Conv2d conv1;
        Conv2d conv2;
    };
    [[nodiscard]] Fusion make_fusion(std::string_view name, bool joins);
    [[nodiscard]] Output make_output(std::string_view name, int channels);
    [[nodiscard]] static Tensor run(Tape& tape, const Residual& unit, const Tensor& x);
    [[nodiscard]] static Tensor run(Tape& tape, const Fusion& fusion, const Tensor& x,
                                    const Tensor* more, const Shape* size);
    [[nodiscard]] static Tensor run(Tape& tape, const Output& output, const Tensor& x);
    [[nodiscard]] std::vector<Tensor> see(Tape& tape, const Tensor& pixels) const;
    [[nodiscard]] std::vector<Tensor> predict(Tape& tape, const std::vector<Tensor>& layers,
                                              std::int64_t rows, std::int64_t columns) const;

    modelfile::DepthAnything3Config config_;
    Module root_;
    Dino2Backbone backbone_;
    Module head_;
    std::vector<Conv2d> projects_;
    ConvTranspose2d larger4_;
    ConvTranspose2d larger2_;
    Conv2d smaller_;
    std::vector<Conv2d> narrow_;
    std::vector<Fusion> fusions_;  // from the largest map to the smallest
    Conv2d output1_;
    Output depth_;
    std::optional<Output> sky_;
};

}  // namespace plimsoll::memory
