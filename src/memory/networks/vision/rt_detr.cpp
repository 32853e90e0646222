// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/rt_detr.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kSide = 640;  // pixels: every image is brought to this square
constexpr int kTogether = 32;        // images in a forward, by ComfyUI's node
constexpr std::int64_t kHeads = 8;
constexpr std::int64_t kWidth = 256;  // of the decoder, whatever the encoder's
constexpr std::int64_t kPoints = 12;  // samples of a query over the three maps: 3, 6 and 3
constexpr std::int64_t kBins = 33;    // of the distribution of a box' edge
constexpr std::int64_t kQuality = 64;
constexpr std::int64_t kSides = 4;

struct StageShape {
    std::int64_t in;
    std::int64_t middle;
    std::int64_t out;
    int blocks;
    bool smaller;
    bool light;
    std::int64_t kernel;
};
// PP-HGNetV2 B5.
constexpr std::array<StageShape, 4> kStages = {{{64, 64, 128, 1, false, false, 3},
                                                {128, 128, 512, 2, true, false, 3},
                                                {512, 256, 1024, 5, true, true, 5},
                                                {1024, 512, 2048, 2, true, true, 5}}};
constexpr int kDenseLayers = 6;
constexpr int kSmallBlocks = 3;
constexpr std::size_t kMaps = 3;

// What bends the result makes a new tensor; the conv's own goes when it returns.
Tensor silu(Tape& tape, const Conv2d& conv, const Tensor& x) {
    const Tensor made = conv.forward(tape, x);
    return ghost::unary(tape, "silu", conv.path(), made);
}

// One pixel of zeros at the right and below.
Tensor pad(Tape& tape, Module module, const Tensor& x) {
    const Shape& s = x.shape();
    return ghost::produce(tape, OpClass::Copy, "constant_pad_nd", module, x,
                          {s[0], s[1], s[2] + 1, s[3] + 1}, x.type());
}

}  // namespace

NormedConv::NormedConv(Registry& r, Module path, std::int64_t in, std::int64_t out, Traits traits)
    : path_(path),
      conv_(r.path(*path, "conv")),
      in_(traits.depthwise ? 1 : in),
      out_(out),
      traits_(traits),
      norm_([&] {
          r.add(conv_, "Conv2d", in_ * out * traits.kernel * traits.kernel);
          return BatchNorm2d(r, r.path(*path, "bn"), out);
      }()) {}

Tensor NormedConv::convolve(Tape& tape, const Tensor& x) const {
    const std::int64_t k = traits_.kernel;
    const Tape::Cast weight = tape.cast_weight({out_, in_, k, k}, conv_);
    const auto extent = [&](std::int64_t n) {
        return (n + 2 * ((k - 1) / 2) - k) / traits_.stride + 1;
    };
    const Shape& s = x.shape();
    const std::int64_t height = extent(s[2]);
    const std::int64_t width = extent(s[3]);
    Tensor out = tape.make({s[0], out_, height, width}, x.type(), "convolution", conv_);
    const std::int64_t weights = in_ * out_ * k * k;
    tape.charge(OpClass::Convolution, "convolution", conv_,
                ghost::saturating_product({2, s[0], height, width, weights}),
                x.bytes() + weights * element_bytes(x.type()) + out.bytes());
    return out;
}

Tensor NormedConv::forward(Tape& tape, const Tensor& x) const {
    const Tensor normed = [&] {
        const Tensor made = convolve(tape, x);
        return norm_.forward(tape, made);
    }();
    return traits_.bends ? ghost::unary(tape, "relu", path_, normed) : normed;
}

NormedConv RtDetrNetwork::stem(std::string_view name, std::int64_t in, std::int64_t out,
                               std::int64_t kernel, std::int64_t stride) {
    return {registry_,
            registry_.path("backbone.stem", name),
            in,
            out,
            {.kernel = kernel, .stride = stride}};
}

RtDetrNetwork::Stage RtDetrNetwork::make_stage(std::size_t number) {
    Registry& r = registry_;
    const StageShape& shape = kStages[number];
    const std::string path = fmt::format("backbone.stages.{}", number);
    Stage stage;
    if (shape.smaller)
        stage.smaller.emplace(
            r, r.path(path, "downsample"), shape.in, shape.in,
            NormedConv::Traits{.kernel = 3, .stride = 2, .depthwise = true, .bends = false});
    for (int i = 0; i < shape.blocks; ++i) {
        const Module own = r.path(path, fmt::format("blocks.{}", i));
        const std::int64_t in = i == 0 ? shape.in : shape.out;
        std::vector<std::vector<NormedConv>> layers;
        for (int j = 0; j < kDenseLayers; ++j) {
            const std::int64_t from = j == 0 ? in : shape.middle;
            const Module layer = r.path(*own, fmt::format("layers.{}", j));
            std::vector<NormedConv> convs;
            if (shape.light) {
                convs.emplace_back(r, r.path(*layer, "conv1"), from, shape.middle,
                                   NormedConv::Traits{.kernel = 1, .bends = false});
                convs.emplace_back(r, r.path(*layer, "conv2"), shape.middle, shape.middle,
                                   NormedConv::Traits{.kernel = shape.kernel, .depthwise = true});
            } else {
                convs.emplace_back(r, layer, from, shape.middle,
                                   NormedConv::Traits{.kernel = shape.kernel});
            }
            layers.push_back(std::move(convs));
        }
        const std::int64_t joined = in + kDenseLayers * shape.middle;
        NormedConv narrow(r, r.path(*own, "aggregation.0"), joined, shape.out / 2, {.kernel = 1});
        stage.blocks.push_back(
            {own, std::move(layers), std::move(narrow),
             NormedConv(r, r.path(*own, "aggregation.1"), shape.out / 2, shape.out, {.kernel = 1}),
             i > 0});
    }
    return stage;
}

Conv2d RtDetrNetwork::conv(std::string_view path, std::int64_t in, std::int64_t out,
                           ConvShape shape) {
    return {registry_, registry_.path(path, "conv"), in, out, shape};
}

// Both halves of what `in` makes go on, the second through two blocks: four parts are joined.
RtDetrNetwork::Fusion RtDetrNetwork::make_fusion(std::string_view path) {
    const std::int64_t hidden = config_.hidden;
    const std::int64_t half = hidden / 2;
    Conv2d in = conv(fmt::format("{}.cv1", path), 2 * hidden, 2 * hidden);
    const auto block = [&](std::string_view name, std::int64_t from) {
        const std::string own = fmt::format("{}.{}", path, name);
        Conv2d conv1 = conv(own + ".0.conv1", from, half);
        Conv2d conv2 = conv(own + ".0.conv2", from, half);
        std::vector<Conv2d> blocks;
        for (int i = 0; i < kSmallBlocks; ++i)
            blocks.push_back(conv(fmt::format("{}.0.bottlenecks.{}", own, i), half, half, kConv3));
        return SplitBlock{registry_.path(own, "0"), std::move(conv1), std::move(conv2),
                          std::move(blocks)};
    };
    SplitBlock first = block("cv2", hidden);
    Conv2d first_out = conv(fmt::format("{}.cv2.1", path), half, half, kConv3);
    SplitBlock second = block("cv3", half);
    Conv2d second_out = conv(fmt::format("{}.cv3.1", path), half, half, kConv3);
    return {registry_.path(path, ""),
            std::move(in),
            std::move(first),
            std::move(first_out),
            std::move(second),
            std::move(second_out),
            conv(fmt::format("{}.cv4", path), 2 * hidden + 2 * half, hidden)};
}

RtDetrNetwork::Attention RtDetrNetwork::make_attention(std::string_view path, std::int64_t width) {
    Registry& r = registry_;
    return {r.path(path, ""), Linear(r, r.path(path, "q_proj"), width, width),
            Linear(r, r.path(path, "k_proj"), width, width),
            Linear(r, r.path(path, "v_proj"), width, width),
            Linear(r, r.path(path, "out_proj"), width, width)};
}

RtDetrNetwork::Mlp RtDetrNetwork::make_mlp(std::string_view path,
                                           std::vector<std::int64_t> widths) {
    Mlp mlp{registry_.path(path, ""), {}};
    for (std::size_t i = 0; i + 1 < widths.size(); ++i)
        mlp.layers.emplace_back(registry_, registry_.path(path, fmt::format("layers.{}", i)),
                                widths[i], widths[i + 1]);
    return mlp;
}

RtDetrNetwork::DecoderLayer RtDetrNetwork::make_decoder_layer(int number) {
    Registry& r = registry_;
    const std::int64_t width = kWidth;
    const std::string path = fmt::format("decoder.decoder.layers.{}", number);
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    const std::int64_t samples = kHeads * kPoints;
    Attention attention = make_attention(path + ".self_attn", width);
    return {at(""),
            std::move(attention),
            LayerNorm(r, at("norm1"), width),
            Linear(r, at("cross_attn.sampling_offsets"), width, 2 * samples),
            Linear(r, at("cross_attn.attention_weights"), width, samples),
            Linear(r, at("gateway.gate"), 2 * width, 2 * width),
            LayerNorm(r, at("gateway.norm"), width),
            Linear(r, at("linear1"), width, config_.decoder_width),
            Linear(r, at("linear2"), config_.decoder_width, width),
            LayerNorm(r, at("norm3"), width),
            Linear(r, r.path("decoder", fmt::format("dec_score_head.{}", number)), width,
                   config_.classes),
            make_mlp(fmt::format("decoder.dec_bbox_head.{}", number),
                     {width, width, width, kSides * kBins}),
            make_mlp(fmt::format("decoder.decoder.lqe_layers.{}.reg_conf", number),
                     {kSides * (kSides + 1), kQuality, 1})};
}

RtDetrNetwork::RtDetrNetwork(const modelfile::RtDetrConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      stem_([&] {
          std::vector<NormedConv> convs;
          convs.push_back(stem("stem1", kColours, 32, 3, 2));
          convs.push_back(stem("stem2a", 32, 16, 2, 1));
          convs.push_back(stem("stem2b", 16, 32, 2, 1));
          convs.push_back(stem("stem3", 64, 32, 3, 2));
          convs.push_back(stem("stem4", 32, 64, 1, 1));
          return convs;
      }()),
      stages_([&] {
          std::vector<Stage> stages;
          for (std::size_t i = 0; i < kStages.size(); ++i) stages.push_back(make_stage(i));
          return stages;
      }()),
      projections_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i < kMaps; ++i)
              convs.push_back(
                  conv(fmt::format("encoder.input_proj.{}", i), kStages[i + 1].out, c.hidden));
          return convs;
      }()),
      encoder_([&] {
          const std::string path = "encoder.encoder.0.layers.0";
          Registry& r = registry_;
          Attention attention = make_attention(path + ".self_attn", c.hidden);
          return EncoderLayer{r.path(path, ""),
                              std::move(attention),
                              Linear(r, r.path(path, "linear1"), c.hidden, c.encoder_width),
                              Linear(r, r.path(path, "linear2"), c.encoder_width, c.hidden),
                              LayerNorm(r, r.path(path, "norm1"), c.hidden),
                              LayerNorm(r, r.path(path, "norm2"), c.hidden)};
      }()),
      lateral_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i + 1 < kMaps; ++i)
              convs.push_back(conv(fmt::format("encoder.lateral_convs.{}", i), c.hidden, c.hidden));
          return convs;
      }()),
      down_([&] {
          std::vector<Fusion> blocks;
          for (std::size_t i = 0; i + 1 < kMaps; ++i)
              blocks.push_back(make_fusion(fmt::format("encoder.fpn_blocks.{}", i)));
          return blocks;
      }()),
      smaller_in_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i + 1 < kMaps; ++i)
              convs.push_back(
                  conv(fmt::format("encoder.downsample_convs.{}.0.cv1", i), c.hidden, c.hidden));
          return convs;
      }()),
      smaller_([&] {
          std::vector<Module> convs;
          constexpr std::int64_t kKernel = 9;  // 3 x 3, and a bias beside it
          for (std::size_t i = 0; i + 1 < kMaps; ++i) {
              convs.push_back(
                  registry_.path("encoder", fmt::format("downsample_convs.{}.0.cv2.conv", i)));
              registry_.add(convs.back(), "Conv2d", c.hidden * (kKernel + 1));
          }
          return convs;
      }()),
      up_([&] {
          std::vector<Fusion> blocks;
          for (std::size_t i = 0; i + 1 < kMaps; ++i)
              blocks.push_back(make_fusion(fmt::format("encoder.pan_blocks.{}", i)));
          return blocks;
      }()),
      decoder_([&] {
          // A bound of the boxes and their scale.
          const Module path = registry_.path("decoder", "");
          registry_.add_own_parameters(path, "DFINETransformer", 2, ModuleStorage::AsNetwork);
          return path;
      }()),
      taken_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i < kMaps && c.hidden != kWidth; ++i)
              convs.push_back(conv(fmt::format("decoder.input_proj.{}", i), c.hidden, kWidth));
          return convs;
      }()),
      layers_([&] {
          std::vector<DecoderLayer> layers;
          for (int i = 0; i < c.layers; ++i) layers.push_back(make_decoder_layer(i));
          return layers;
      }()),
      positions_(make_mlp("decoder.query_pos_head", {kSides, 2 * kWidth, kWidth})),
      encoded_(registry_, registry_.path("decoder", "enc_output.proj"), kWidth, kWidth),
      encoded_norm_(registry_, registry_.path("decoder", "enc_output.norm"), kWidth),
      scores_(registry_, registry_.path("decoder", "enc_score_head"), kWidth, c.classes),
      boxes_(make_mlp("decoder.enc_bbox_head", {kWidth, kWidth, kWidth, kSides})),
      first_boxes_(make_mlp("decoder.pre_bbox_head", {kWidth, kWidth, kWidth, kSides})) {}

int RtDetrNetwork::forwards(const ReaderCall& call) const {
    return (call.batch + kTogether - 1) / kTogether;
}

Tensor RtDetrNetwork::run(Tape& tape, const DenseBlock& block, const Tensor& x) {
    std::vector<Tensor> made{x};
    Tensor y = x;
    for (const std::vector<NormedConv>& layer : block.layers) {
        for (const NormedConv& conv : layer) y = conv.forward(tape, y);
        made.push_back(y);
    }
    const Tensor narrow = [&] {
        const Tensor joined = ghost::cat(tape, block.path, made, 1);
        return block.narrow.forward(tape, joined);
    }();
    y = block.out.forward(tape, narrow);
    return block.residual ? ghost::binary(tape, "add", block.path, y, x) : y;
}

Tensor RtDetrNetwork::run(Tape& tape, const SplitBlock& block, const Tensor& x) {
    Tensor y = silu(tape, block.conv1, x);
    for (const Conv2d& conv : block.blocks) y = silu(tape, conv, y);
    const Tensor beside = silu(tape, block.conv2, x);
    return ghost::binary(tape, "add", block.path, y, beside);
}

Tensor RtDetrNetwork::run(Tape& tape, const Fusion& fusion, const Tensor& x) {
    const Tensor both = silu(tape, fusion.in, x);
    const Shape& s = both.shape();
    const Tensor half = both.view(s.with(1, s[1] / 2));
    const Tensor first = silu(tape, fusion.first_out, run(tape, fusion.first, half));
    const Tensor second = silu(tape, fusion.second_out, run(tape, fusion.second, first));
    const Tensor joined =
        ghost::cat(tape, fusion.path, std::array<Tensor, 3>{both, first, second}, 1);
    return silu(tape, fusion.out, joined);
}

Tensor RtDetrNetwork::run(Tape& tape, const Mlp& mlp, const Tensor& x) {
    Tensor y = x;
    for (std::size_t i = 0; i < mlp.layers.size(); ++i) {
        y = mlp.layers[i].forward(tape, y);
        if (i + 1 < mlp.layers.size()) y = ghost::unary(tape, "silu", mlp.path, y);
    }
    return y;
}

Tensor RtDetrNetwork::attend(Tape& tape, const Attention& attention, const Tensor& queries,
                             const Tensor& values) const {
    const Tensor mixed = [&] {
        const Tensor q = attention.query.forward(tape, queries);
        const Tensor k = attention.key.forward(tape, queries);
        const Tensor v = attention.value.forward(tape, values);
        const Shape& s = queries.shape();
        return ghost::attention(tape, attention.path, q, k, v,
                                {.batch = s[0],
                                 .heads = kHeads,
                                 .queries = s[1],
                                 .keys = s[1],
                                 .head_dim = s[2] / kHeads})
            .view(s);
    }();
    return attention.out.forward(tape, mixed);
}

Tensor RtDetrNetwork::see_backbone(Tape& tape, const Tensor& image, Maps& maps) const {
    Tensor x = stem_[0].forward(tape, image);
    x = pad(tape, root_, x);
    {
        Tensor beside = stem_[1].forward(tape, x);
        beside = pad(tape, root_, beside);
        beside = stem_[2].forward(tape, beside);
        const Shape& s = beside.shape();
        const Tensor pooled =
            ghost::produce(tape, OpClass::Elementwise, "max_pool2d", root_, x, s, x.type());
        const Tensor joined = ghost::cat(tape, root_, std::array<Tensor, 2>{pooled, beside}, 1);
        const Tensor third = stem_[3].forward(tape, joined);
        x = stem_[4].forward(tape, third);
    }
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        if (stages_[i].smaller) x = stages_[i].smaller->forward(tape, x);
        for (const DenseBlock& block : stages_[i].blocks) x = run(tape, block, x);
        if (i > 0) maps.push_back(x);
    }
    return x;
}

Tensor RtDetrNetwork::encode_smallest(Tape& tape, const Tensor& map) const {
    const Shape s = map.shape();
    Tensor tokens = map.view({s[0], s[2] * s[3], s[1]});
    const Tensor placed = ghost::unary(tape, "add", encoder_.path, tokens);
    {
        const Tensor attended = attend(tape, encoder_.attention, placed, tokens);
        const Tensor sum = ghost::binary(tape, "add", encoder_.path, tokens, attended);
        tokens = encoder_.norm1.forward(tape, sum);
    }
    const Tensor fed = [&] {
        Tensor hidden = encoder_.linear1.forward(tape, tokens);
        hidden = ghost::unary(tape, "gelu", encoder_.path, hidden);
        return encoder_.linear2.forward(tape, hidden);
    }();
    const Tensor sum = ghost::binary(tape, "add", encoder_.path, tokens, fed);
    tokens = encoder_.norm2.forward(tape, sum);
    return ghost::clone(tape, encoder_.path, tokens, s);
}

RtDetrNetwork::Maps RtDetrNetwork::encode(Tape& tape, const Maps& maps) const {
    Maps projected;
    for (std::size_t i = 0; i < kMaps; ++i)
        projected.push_back(projections_[i].forward(tape, maps[i]));
    projected.back() = encode_smallest(tape, projected.back());
    Maps inner{projected.back()};
    for (std::size_t i = 0; i + 1 < kMaps; ++i) {
        const Tensor& beside = projected[kMaps - 2 - i];
        inner.front() = lateral_[i].forward(tape, inner.front());
        const Tensor joined = [&] {
            const Shape& s = beside.shape();
            const Tensor larger =
                resize(tape, root_, inner.front(), s[2], s[3], "upsample_nearest2d");
            return ghost::cat(tape, root_, std::array<Tensor, 2>{larger, beside}, 1);
        }();
        inner.insert(inner.begin(), run(tape, down_[i], joined));
    }
    Maps out{inner.front()};
    for (std::size_t i = 0; i + 1 < kMaps; ++i) {
        const Tensor joined = [&] {
            const Tensor mixed = smaller_in_[i].forward(tape, out.back());
            const Shape& s = inner[i + 1].shape();
            const Tape::Cast weight = tape.cast_weight({s[1], 1, 3, 3}, smaller_[i]);
            const Tensor smaller = ghost::produce(tape, OpClass::Convolution, "convolution",
                                                  smaller_[i], mixed, s, mixed.type());
            return ghost::cat(tape, root_, std::array<Tensor, 2>{smaller, inner[i + 1]}, 1);
        }();
        out.push_back(run(tape, up_[i], joined));
    }
    return out;
}

// Each query samples every map at a few places, one map after the other.
Tensor RtDetrNetwork::run(Tape& tape, const DecoderLayer& layer, const Tensor& queries,
                          const Tensor& positions, const Maps& values) const {
    const Shape& s = queries.shape();
    Tensor y = [&] {
        const Tensor placed = ghost::binary(tape, "add", layer.path, queries, positions);
        const Tensor attended = attend(tape, layer.attention, placed, queries);
        const Tensor sum = ghost::binary(tape, "add", layer.path, queries, attended);
        return layer.norm1.forward(tape, sum);
    }();
    const Tensor sampled = [&] {
        const Tensor placed = ghost::binary(tape, "add", layer.path, y, positions);
        Tensor places = layer.offsets.forward(tape, placed);
        for (const std::string_view op : {"mul", "mul", "add", "mul"})
            places = ghost::unary(tape, op, layer.path, places);
        const Tensor logits = layer.weights.forward(tape, placed);
        const Tensor weights = ghost::unary(tape, "softmax", layer.path, logits);
        std::vector<Tensor> samples;
        for (const Tensor& value : values)
            samples.push_back(ghost::produce(tape, OpClass::Elementwise, "grid_sampler_2d",
                                             layer.path, value, {s[0], kWidth, s[1], kPoints / 3},
                                             value.type()));
        const Tensor joined = ghost::cat(tape, layer.path, samples, 3);
        const Tensor weighted = ghost::unary(tape, "mul", layer.path, joined);
        return ghost::produce(tape, OpClass::Elementwise, "sum", layer.path, weighted, s,
                              weighted.type());
    }();
    y = [&] {
        const Tensor joined = ghost::cat(tape, layer.path, std::array<Tensor, 2>{y, sampled}, 2);
        const Tensor gates =
            ghost::unary(tape, "sigmoid", layer.path, layer.gate.forward(tape, joined));
        const Tensor sum = ghost::binary(tape, "add", layer.path, y, sampled);
        return layer.gate_norm.forward(tape, sum);
    }();
    const Tensor fed = [&] {
        Tensor hidden = layer.linear1.forward(tape, y);
        hidden = ghost::unary(tape, "relu", layer.path, hidden);
        return layer.linear2.forward(tape, hidden);
    }();
    const Tensor sum = ghost::binary(tape, "add", layer.path, y, fed);
    const Tensor clamped = ghost::unary(tape, "clamp", layer.path, sum);
    return layer.norm3.forward(tape, clamped);
}

std::vector<Tensor> RtDetrNetwork::decode(Tape& tape, const Maps& encoded) const {
    Maps maps = encoded;
    for (std::size_t i = 0; i < taken_.size(); ++i) maps[i] = taken_[i].forward(tape, encoded[i]);
    std::int64_t tokens = 0;
    for (const Tensor& map : maps) tokens += map.shape()[2] * map.shape()[3];
    const std::int64_t batch = maps.front().shape()[0];
    const Tensor memory =
        ghost::create(tape, "cat", decoder_, {batch, tokens, kWidth}, maps.front().type());
    const std::int64_t queries = std::min<std::int64_t>(config_.queries, tokens);
    const Shape found{batch, queries, kWidth};
    Tensor boxes;
    Tensor content = [&] {
        const Tensor valid = ghost::unary(tape, "mul", decoder_, memory);
        const Tensor projected = encoded_.forward(tape, valid);
        const Tensor normed = encoded_norm_.forward(tape, projected);
        const Tensor logits = scores_.forward(tape, normed);
        const Tensor best = ghost::produce(tape, OpClass::Elementwise, "topk", decoder_, logits,
                                           {batch, queries}, ElementType::Int64);
        Tensor chosen =
            ghost::produce(tape, OpClass::Copy, "gather", decoder_, normed, found, normed.type());
        boxes = run(tape, boxes_, chosen);
        return chosen;
    }();
    std::vector<Tensor> answers;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Tensor positions = run(tape, positions_, boxes);
        content = run(tape, layers_[i], content, positions, maps);
        if (i == 0) boxes = run(tape, first_boxes_, content);
        const Tensor corners = run(tape, layers_[i].box, content);
        boxes = ghost::produce(tape, OpClass::Elementwise, "softmax", decoder_, corners,
                               {batch, queries, kSides}, corners.type());
        if (i + 1 < layers_.size()) continue;
        const Tensor scores = layers_[i].score.forward(tape, content);
        answers = {boxes, ghost::unary(tape, "add", decoder_, scores)};
    }
    return answers;
}

std::vector<Tensor> RtDetrNetwork::read(Tape& tape, const ReaderCall& call) const {
    const std::int64_t batch = std::clamp(call.batch, 1, kTogether);
    // Resized on the host.
    const Tensor image = tape.input({batch, kColours, kSide, kSide}, element_type(call.compute));
    const Maps encoded = [&] {
        Maps maps;
        (void)see_backbone(tape, image, maps);
        return encode(tape, maps);
    }();
    return decode(tape, encoded);
}

}  // namespace plimsoll::memory
