// SPDX-License-Identifier: Apache-2.0
//
// RT-DETRv4 (Liao et al. 2025), which finds boxes: PP-HGNetV2 (Cui et al. 2021) B5, the hybrid
// encoder of RT-DETR (Zhao et al. 2023) with D-FINE's blocks (Peng et al. 2024), and D-FINE's
// decoder, whose queries sample the maps where they expect something.
#pragma once
#include "memory/networks/vision/image_reader.h"
#include "memory/networks/vision/reader_layers.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Convolution, norm and what bends its result, as the backbone has them.
class NormedConv {
  public:
    struct Traits {
        std::int64_t kernel = 3;
        std::int64_t stride = 1;
        bool depthwise = false;  // each channel by itself
        bool bends = true;
    };
    NormedConv(Registry& registry, Module path, std::int64_t in, std::int64_t out, Traits traits);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor convolve(Tape& tape, const Tensor& x) const;

    Module path_;
    Module conv_;
    std::int64_t in_;
    std::int64_t out_;
    Traits traits_;
    BatchNorm2d norm_;
};

class RtDetrNetwork final : public ImageReader {
  public:
    explicit RtDetrNetwork(const modelfile::RtDetrConfig& config);
    [[nodiscard]] std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const override;
    [[nodiscard]] ReaderLoader loader() const override { return ReaderLoader::AsDiffusion; }
    [[nodiscard]] int forwards(const ReaderCall& call) const override;
    [[nodiscard]] std::string_view title() const override { return "RT-DETR"; }

  private:
    struct DenseBlock {  // every layer's result is joined
        Module path;
        std::vector<std::vector<NormedConv>> layers;
        NormedConv narrow;
        NormedConv out;
        bool residual = false;
    };
    struct Stage {
        std::optional<NormedConv> smaller;
        std::vector<DenseBlock> blocks;
    };
    struct SplitBlock {  // two paths, one of them through small blocks
        Module path;
        Conv2d conv1;
        Conv2d conv2;
        std::vector<Conv2d> blocks;
    };
    struct Fusion {
        Module path;
        Conv2d in;
        SplitBlock first;
        Conv2d first_out;
        SplitBlock second;
        Conv2d second_out;
        Conv2d out;
    };
    struct Attention {
        Module path;
        Linear query;
        Linear key;
        Linear value;
        Linear out;
    };
    struct EncoderLayer {
        Module path;
        Attention attention;
        Linear linear1;
        Linear linear2;
        LayerNorm norm1;
        LayerNorm norm2;
    };
    struct Mlp {
        Module path;
        std::vector<Linear> layers;
    };
    struct DecoderLayer {
        Module path;
        Attention attention;
        LayerNorm norm1;
        Linear offsets;
        Linear weights;
        Linear gate;
        LayerNorm gate_norm;
        Linear linear1;
        Linear linear2;
        LayerNorm norm3;
        Linear score;
        Mlp box;
        Mlp quality;
    };
    using Maps = std::vector<Tensor>;  // the largest first

    [[nodiscard]] NormedConv stem(std::string_view name, std::int64_t in, std::int64_t out,
                                  std::int64_t kernel, std::int64_t stride);
    [[nodiscard]] Stage make_stage(std::size_t number);
    [[nodiscard]] Conv2d conv(std::string_view path, std::int64_t in, std::int64_t out,
                              ConvShape shape = kConv1);
    [[nodiscard]] Fusion make_fusion(std::string_view path);
    [[nodiscard]] Attention make_attention(std::string_view path, std::int64_t width);
    [[nodiscard]] Mlp make_mlp(std::string_view path, std::vector<std::int64_t> widths);
    [[nodiscard]] DecoderLayer make_decoder_layer(int number);

    [[nodiscard]] static Tensor run(Tape& tape, const DenseBlock& block, const Tensor& x);
    [[nodiscard]] static Tensor run(Tape& tape, const SplitBlock& block, const Tensor& x);
    [[nodiscard]] static Tensor run(Tape& tape, const Fusion& fusion, const Tensor& x);
    [[nodiscard]] static Tensor run(Tape& tape, const Mlp& mlp, const Tensor& x);
    [[nodiscard]] Tensor attend(Tape& tape, const Attention& attention, const Tensor& queries,
                                const Tensor& values) const;
    [[nodiscard]] Tensor see_backbone(Tape& tape, const Tensor& x, Maps& maps) const;
    [[nodiscard]] Maps encode(Tape& tape, const Maps& maps) const;
    [[nodiscard]] Tensor encode_smallest(Tape& tape, const Tensor& map) const;
    [[nodiscard]] std::vector<Tensor> decode(Tape& tape, const Maps& encoded) const;
    [[nodiscard]] Tensor run(Tape& tape, const DecoderLayer& layer, const Tensor& queries,
                             const Tensor& positions, const Maps& values) const;

    modelfile::RtDetrConfig config_;
    Module root_;
    std::vector<NormedConv> stem_;
    std::vector<Stage> stages_;
    std::vector<Conv2d> projections_;
    EncoderLayer encoder_;
    std::vector<Conv2d> lateral_;
    std::vector<Fusion> down_;
    std::vector<Conv2d> smaller_in_;
    std::vector<Module> smaller_;  // depthwise
    std::vector<Fusion> up_;
    Module decoder_;
    std::vector<Conv2d> taken_;  // where the encoder has another width
    std::vector<DecoderLayer> layers_;
    Mlp positions_;
    Linear encoded_;
    LayerNorm encoded_norm_;
    Linear scores_;
    Mlp boxes_;
    Mlp first_boxes_;
};

}  // namespace plimsoll::memory
