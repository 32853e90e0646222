// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/moge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kAxes = 2;         // of the view plane, whose coordinates every level sees
constexpr std::int64_t kGroupWidth = 32;  // channels of a group of the hidden norms
constexpr std::size_t kSeen = 4;          // layers of the backbone
// Patches of an image, at the least and the greatest detail that the node offers.
constexpr double kTokensMin = 1200;
constexpr double kTokensMax = 3600;

// Evenly spread, the last one last.
std::vector<int> seen_layers(int layers) {
    std::vector<int> seen;
    const int step = layers / static_cast<int>(kSeen);
    for (int i = 1; i <= static_cast<int>(kSeen); ++i) seen.push_back(step * i - 1);
    return seen;
}

}  // namespace

ConvStack::ConvStack(Registry& r, std::string_view path, const modelfile::ConvStackConfig& c)
    : path_(r.path(path, "")) {
    const std::size_t levels = c.width.size();
    const auto at = [&](std::string_view list, std::size_t level) {
        return r.path(*path_, fmt::format("{}.{}", list, level));
    };
    for (std::size_t i = 0; i < levels; ++i)
        inputs_.emplace_back(r, at("input_blocks", i), c.in[i], c.width[i], 1);
    for (std::size_t i = 0; i + 1 < levels; ++i) {
        const Module own = at("resamplers", i);
        const bool transposed = c.transpose[i] != 0;
        std::optional<ConvTranspose2d> transpose;
        if (transposed) transpose.emplace(r, r.path(*own, "0"), c.width[i], c.width[i + 1], 2);
        steps_.push_back(
            {own, std::move(transpose),
             ReplicateConv2d(r, r.path(*own, "1"), transposed ? c.width[i + 1] : c.width[i],
                             c.width[i + 1])});
    }
    for (std::size_t i = 0; i < levels; ++i) {
        std::vector<Residual> blocks;
        const std::int64_t width = c.width[i];
        for (int j = 0; j < c.blocks[i]; ++j) {
            const Module own = r.path(*at("res_blocks", i), fmt::format("{}.layers", j));
            const auto norm = [&](std::string_view name, std::int64_t groups) {
                return c.norm ? std::optional<GroupNorm>(std::in_place, r, r.path(*own, name),
                                                         width, groups)
                              : std::nullopt;
            };
            std::optional<GroupNorm> first = norm("0", 1);
            ReplicateConv2d conv1(r, r.path(*own, "2"), width, width);
            std::optional<GroupNorm> second =
                norm("3", std::max<std::int64_t>(1, width / kGroupWidth));
            blocks.push_back({own, std::move(first), std::move(conv1), std::move(second),
                              ReplicateConv2d(r, r.path(*own, "5"), width, width)});
        }
        blocks_.push_back(std::move(blocks));
    }
    for (std::size_t i = 0; i < levels; ++i) {
        std::optional<ReplicateConv2d> output;
        if (c.out[i] > 0) output.emplace(r, at("output_blocks", i), c.width[i], c.out[i], 1);
        outputs_.push_back(std::move(output));
    }
}

Tensor ConvStack::run(Tape& tape, const Residual& block, const Tensor& x) {
    Tensor y = block.norm1 ? block.norm1->forward(tape, x) : x;
    y = ghost::unary(tape, "relu", block.path, y);
    y = block.conv1.forward(tape, y);
    if (block.norm2) y = block.norm2->forward(tape, y);
    y = ghost::unary(tape, "relu", block.path, y);
    y = block.conv2.forward(tape, y);
    return ghost::binary(tape, "add", block.path, y, x);
}

Tensor ConvStack::run(Tape& tape, const Step& step, const Tensor& x) {
    const Shape& s = x.shape();
    const Tensor larger = step.transpose ? step.transpose->forward(tape, x)
                                         : resize(tape, step.path, x, 2 * s[2], 2 * s[3]);
    return step.conv.forward(tape, larger);
}

std::vector<Tensor> ConvStack::forward(Tape& tape, const std::vector<Tensor>& given) const {
    std::vector<Tensor> out;
    Tensor x;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
        const Tensor taken = inputs_[i].forward(tape, given[i]);
        x = i == 0 ? taken : ghost::binary(tape, "add", path_, x, taken);
        for (const Residual& block : blocks_[i]) x = run(tape, block, x);
        out.push_back(outputs_[i] ? outputs_[i]->forward(tape, x) : x);
        if (i + 1 < inputs_.size()) x = run(tape, steps_[i], x);
    }
    return out;
}

MogeNetwork::MogeNetwork(const modelfile::MogeConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      backbone_(registry_, "encoder.backbone", c.backbone),
      encoder_([&] {
          const Module path = registry_.path("encoder", "");
          // Mean and deviation of the colours, kept with it.
          registry_.add_buffer(path, "DINOv2Encoder", 2 * kColours, ModuleStorage::Float32,
                               Saved::Yes);
          return path;
      }()),
      projections_([&] {
          std::vector<ReplicateConv2d> convs;
          for (std::size_t i = 0; i < kSeen; ++i)
              convs.emplace_back(registry_,
                                 registry_.path("encoder", fmt::format("output_projections.{}", i)),
                                 c.backbone.hidden, c.features, 1);
          return convs;
      }()),
      neck_(registry_, "neck", c.neck),
      points_(registry_, "points_head", c.points),
      mask_(registry_, "mask_head", c.mask),
      scale_head_([&] {
          std::vector<Linear> layers;
          for (std::size_t i = 0; i + 1 < c.scale_head.size(); ++i)
              layers.emplace_back(registry_, registry_.path("scale_head", fmt::format("{}", 2 * i)),
                                  c.scale_head[i], c.scale_head[i + 1]);
          return layers;
      }()),
      normal_(c.normal.width.empty()
                  ? std::nullopt
                  : std::optional<ConvStack>(std::in_place, registry_, "normal_head", c.normal)) {}

int MogeNetwork::forwards(const ReaderCall& call) const {
    const int together = std::max(1, call.at_once);
    return (call.batch + together - 1) / together;
}

// The sum of the projected layers, then the layers themselves: the class token of the last is one
// of its rows.
std::vector<Tensor> MogeNetwork::encode(Tape& tape, const Tensor& image, std::int64_t rows,
                                        std::int64_t columns) const {
    const std::int64_t patch = config_.backbone.patch;
    Tensor small =
        resize(tape, encoder_, image, rows * patch, columns * patch, "upsample_bilinear2d_aa");
    for (const std::string_view op : {"sub", "div"})
        small = ghost::unary(tape, op, encoder_, small);
    std::vector<Tensor> layers =
        backbone_.layers(tape, small, seen_layers(config_.backbone.layers));
    const Tensor sum = [&] {
        std::vector<Tensor> projected;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            const Shape& s = layers[i].shape();
            const Tensor map = ghost::clone(tape, encoder_, layers[i], {s[0], s[2], rows, columns});
            projected.push_back(projections_[i].forward(tape, map));
        }
        const Tensor stacked = ghost::cat(tape, encoder_, projected, 1);
        return ghost::produce(tape, OpClass::Elementwise, "sum", encoder_, stacked,
                              projected.front().shape(), stacked.type());
    }();
    layers.insert(layers.begin(), sum);
    return layers;
}

std::vector<Tensor> MogeNetwork::project(Tape& tape, const Tensor& points, const Tensor& mask,
                                         const Tensor& normal) const {
    const Shape& s = points.shape();
    const Shape plane{s[0], 1, s[2], s[3]};
    const auto on_plane = [&](std::string_view op, const Tensor& from) {
        return ghost::produce(tape, OpClass::Elementwise, op, root_, from, plane, from.type());
    };
    const Tensor binary =
        ghost::produce(tape, OpClass::Elementwise, "gt", root_, mask, plane, ElementType::Bool);
    const Tensor depth = on_plane("clone", points);
    Tensor projected = [&] {
        const Tensor grid = ghost::create(tape, "stack", root_, s, points.type());
        const Tensor rays = ghost::unary(tape, "einsum", root_, grid);
        return ghost::unary(tape, "mul", root_, rays);
    }();
    projected = ghost::unary(tape, "mul", root_, projected);  // by the metric scale
    const Tensor metric = on_plane("mul", depth);
    const auto masked = [&](const Tensor& from) {
        const Tensor filled = ghost::create_like(tape, "full_like", root_, from);
        return ghost::binary(tape, "where", root_, from, filled);
    };
    std::vector<Tensor> answers{binary, masked(projected), masked(metric)};
    if (normal.defined()) answers.push_back(masked(normal));
    return answers;
}

std::vector<Tensor> MogeNetwork::read(Tape& tape, const ReaderCall& call) const {
    const std::int64_t batch = std::clamp(call.at_once, 1, std::max(1, call.batch));
    const Tensor image =
        tape.input({batch, kColours, call.height, call.width}, ElementType::Float32);
    const double tokens =
        std::floor(kTokensMin + std::clamp(call.detail, 0.0, 1.0) * (kTokensMax - kTokensMin));
    const double aspect = static_cast<double>(call.width) / call.height;
    const std::int64_t rows = std::max<std::int64_t>(1, std::llround(std::sqrt(tokens / aspect)));
    const std::int64_t columns =
        std::max<std::int64_t>(1, std::llround(std::sqrt(tokens * aspect)));
    const std::vector<Tensor> encoded = encode(tape, image, rows, columns);
    std::vector<Tensor> levels;
    for (std::size_t i = 0; i < config_.neck.width.size(); ++i)
        levels.push_back(ghost::create(
            tape, "stack", root_, {batch, kAxes, rows << i, columns << i}, ElementType::Float32));
    levels[0] = ghost::cat(tape, root_, std::vector<Tensor>{encoded.front(), levels[0]}, 1);
    const std::vector<Tensor> features = neck_.forward(tape, levels);
    const auto answer = [&](const ConvStack& head) {
        const Tensor last = head.forward(tape, features).back();
        return resize(tape, root_, last, call.height, call.width);
    };
    const Tensor points = [&] {
        const Tensor flat = answer(points_);
        // The exponential of the third coordinate, by which the others are multiplied.
        const Shape& s = flat.shape();
        const Tensor z = ghost::produce(tape, OpClass::Elementwise, "exp", root_, flat,
                                        s.with(1, 1), flat.type());
        const Tensor xy = ghost::produce(tape, OpClass::Elementwise, "mul", root_, flat,
                                         s.with(1, kAxes), flat.type());
        return ghost::cat(tape, root_, std::vector<Tensor>{xy, z}, 1);
    }();
    const Tensor mask = [&] { return ghost::unary(tape, "sigmoid", root_, answer(mask_)); }();
    Tensor scale = encoded.back();
    for (const Linear& layer : scale_head_) {
        const Shape& s = scale.shape();
        const Tensor row = s.rank() == 3 ? ghost::produce(tape, OpClass::Copy, "select", root_,
                                                          scale, {s[0], s[2]}, scale.type())
                                         : scale;
        scale = layer.forward(tape, row);
    }
    Tensor normal;
    if (normal_) {
        const Tensor raw = answer(*normal_);
        const Tensor length = ghost::produce(tape, OpClass::Elementwise, "linalg_vector_norm",
                                             root_, raw, raw.shape().with(1, 1), raw.type());
        normal = ghost::binary(tape, "div", root_, raw, length);
    }
    return project(tape, points, mask, normal);
}

}  // namespace plimsoll::memory
