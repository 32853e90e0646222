// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/sam3_vision.h"

#include "memory/networks/dit/dit_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kWindow = 24;   // patches along a side
constexpr int kWholeEvery = 8;         // blocks, the last of which attends to the whole image
constexpr std::int64_t kRotation = 2;  // numbers along a side of a rotation

}  // namespace

Sam3Vision::Block Sam3Vision::make_block(Registry& r, std::string_view path, int number,
                                         const modelfile::Sam3Config& c) {
    const std::string own = fmt::format("{}.blocks.{}", path, number);
    const auto at = [&](std::string_view name) { return r.path(own, name); };
    const std::int64_t hidden = c.hidden;
    return {.path = at(""),
            .whole = number % kWholeEvery == kWholeEvery - 1,
            .norm1 = LayerNorm(r, at("norm1"), hidden),
            .attention = at("attn"),
            .qkv = Linear(r, at("attn.qkv"), hidden, 3 * hidden),
            .out = Linear(r, at("attn.proj"), hidden, hidden),
            .norm2 = LayerNorm(r, at("norm2"), hidden),
            .mlp = at("mlp"),
            .fc1 = Linear(r, at("mlp.fc1"), hidden, c.mlp),
            .fc2 = Linear(r, at("mlp.fc2"), c.mlp, hidden)};
}

// Of SAM 3.1 without the smallest map, which nothing uses.
std::vector<Sam3Vision::Scale> Sam3Vision::make_neck(Registry& r, std::string_view path,
                                                     const modelfile::Sam3Config& c) {
    enum Size : std::uint8_t { kFourTimes, kTwice, kSame, kHalf };
    std::vector<Scale> neck;
    for (const Size size : {kFourTimes, kTwice, kSame, kHalf}) {
        if (size == kHalf && c.objects > 1) continue;
        const std::string own = fmt::format("{}.{}", path, static_cast<int>(size));
        const std::int64_t hidden = c.hidden;
        std::optional<ConvTranspose2d> twice;
        std::optional<ConvTranspose2d> four_times;
        std::int64_t width = hidden;
        if (size == kFourTimes || size == kTwice) {
            twice.emplace(r, r.path(own, size == kTwice ? "dconv_2x2" : "dconv_2x2_0"), hidden,
                          hidden / 2, 2);
            width = hidden / 2;
        }
        if (size == kFourTimes) {
            four_times.emplace(r, r.path(own, "dconv_2x2_1"), hidden / 2, hidden / 4, 2);
            width = hidden / 4;
        }
        Conv2d narrow(r, r.path(own, "conv_1x1"), width, c.width, kConv1);
        neck.push_back({r.path(own, ""), std::move(twice), std::move(four_times), size == kHalf,
                        std::move(narrow), Conv2d(r, r.path(own, "conv_3x3"), c.width, c.width)});
    }
    return neck;
}

Sam3Vision::Sam3Vision(Registry& r, std::string_view path, const modelfile::Sam3Config& c)
    : config_(c),
      trunk_([&] {
          const Module own = r.path(path, "trunk");
          const std::int64_t positions = std::int64_t{c.grid} * c.grid + 1;
          r.add_own_parameters(own, "ViTDet", positions * c.hidden, ModuleStorage::AsNetwork);
          return own;
      }()),
      patches_(r, r.path(*trunk_, "patch_embed.proj"), kColours, c.hidden,
               ConvShape{c.patch, c.patch, 0}, Bias::No),
      first_norm_(r, r.path(*trunk_, "ln_pre"), c.hidden),
      blocks_([&] {
          std::vector<Block> blocks;
          for (int i = 0; i < c.layers; ++i) blocks.push_back(make_block(r, *trunk_, i, c));
          return blocks;
      }()),
      places_(r.path(path, "position_encoding")),
      necks_([&] {
          std::vector<std::vector<Scale>> necks;
          necks.push_back(make_neck(r, *r.path(path, "convs"), c));
          if (c.objects > 1) {
              necks.push_back(make_neck(r, *r.path(path, "propagation_convs"), c));
              necks.push_back(make_neck(r, *r.path(path, "interactive_convs"), c));
          } else {
              necks.push_back(make_neck(r, *r.path(path, "sam2_convs"), c));
          }
          return necks;
      }()) {}

// Learned for a smaller image: laid side by side, and cut where it is enough.
Tensor Sam3Vision::positions(Tape& tape, const Tensor& patches) const {
    const Shape& s = patches.shape();
    const std::int64_t hidden = config_.hidden;
    const std::int64_t tokens = s[2] * s[3];
    const std::int64_t grid = config_.grid;
    const ElementType stored = tape.options().storage;
    const Tensor joined = [&] {
        const Tensor cut = [&] {
            const Tensor tiled = ghost::create(
                tape, "repeat", trunk_,
                {1, hidden, (s[2] / grid + 1) * grid, (s[3] / grid + 1) * grid}, stored);
            return ghost::produce(tape, OpClass::Copy, "clone", trunk_, tiled, {1, tokens, hidden},
                                  stored);
        }();
        return ghost::produce(tape, OpClass::Copy, "cat", trunk_, cut, {1, 1 + tokens, hidden},
                              stored);
    }();
    return ghost::to_type(tape, trunk_, joined, patches.type());
}

Tensor Sam3Vision::attend(Tape& tape, const Block& block, const Tensor& x,
                          const Tensor& table) const {
    const Shape& s = x.shape();
    const Tensor qkv = block.qkv.forward(tape, x);
    const std::int64_t heads = config_.hidden / kHeadDim;
    const Tensor part = qkv.view({s[0], s[1], heads, kHeadDim});
    const Rotated rotated = apply_rope(tape, block.attention, part, part, table);
    const Tensor mixed =
        ghost::attention(
            tape, block.attention, rotated.q, rotated.k, part,
            {.batch = s[0], .heads = heads, .queries = s[1], .keys = s[1], .head_dim = kHeadDim})
            .view(s);
    return block.out.forward(tape, mixed);
}

Tensor Sam3Vision::run(Tape& tape, const Block& block, const Tensor& x,
                       const Tables& tables) const {
    const Shape& s = x.shape();  // [N, rows, columns, hidden]
    Tensor y = block.norm1.forward(tape, x);
    if (block.whole) {
        y = attend(tape, block, y.view({s[0], s[1] * s[2], s[3]}), tables.whole).view(s);
    } else {
        const auto windows = [](std::int64_t n) { return (n + kWindow - 1) / kWindow; };
        const std::int64_t count = s[0] * windows(s[1]) * windows(s[2]);
        y = ghost::clone(tape, block.path, y, {count, kWindow * kWindow, s[3]});
        y = attend(tape, block, y, tables.window);
        y = ghost::clone(tape, block.path, y, s);
    }
    const Tensor sum = ghost::binary(tape, "add", block.path, x, y);
    y = {};
    const Tensor fed = [&] {
        const Tensor normed = block.norm2.forward(tape, sum);
        Tensor hidden = block.fc1.forward(tape, normed);
        hidden = ghost::unary(tape, "gelu", block.mlp, hidden);
        return block.fc2.forward(tape, hidden);
    }();
    return ghost::binary(tape, "add", block.path, sum, fed);
}

Tensor Sam3Vision::look(Tape& tape, const Tensor& image) const {
    Tensor x = patches_.forward(tape, image);
    const Shape map = x.shape();
    const std::int64_t tokens = map[2] * map[3];
    const Tensor placed = positions(tape, x);  // lives on
    x = ghost::binary(tape, "add", trunk_, x.view({map[0], tokens, map[1]}), placed);
    x = first_norm_.forward_strided(tape, x.view({map[0], map[2], map[3], map[1]}));
    const auto table = [&](std::int64_t count) {
        return ghost::create(tape, "_to_copy", trunk_,
                             {1, count, kHeadDim / 2, kRotation, kRotation}, x.type());
    };
    const Tables tables{table(tokens), table(kWindow * kWindow)};
    for (const Block& block : blocks_) x = run(tape, block, x, tables);
    return x.view(map);
}

Tensor Sam3Vision::run(Tape& tape, const Scale& scale, const Tensor& x) {
    Tensor y = x;
    if (scale.twice) y = scale.twice->forward(tape, y);
    if (scale.four_times) {
        y = ghost::unary(tape, "gelu", scale.path, y);
        y = scale.four_times->forward(tape, y);
    }
    if (scale.half) {
        const Shape& s = x.shape();
        y = ghost::produce(tape, OpClass::Elementwise, "max_pool2d", scale.path, x,
                           {s[0], s[1], s[2] / 2, s[3] / 2}, x.type());
    }
    y = scale.narrow.forward(tape, y);
    return scale.smooth.forward(tape, y);
}

Tensor Sam3Vision::sinusoids(Tape& tape, std::int64_t side) const {
    const std::int64_t half = config_.width / 2;
    const auto along = [&] {
        const Tensor angles =
            ghost::create(tape, "div", places_, {side, side, half}, ElementType::Float32);
        const Shape shape{side, side, half / 2};
        const Tensor sines = ghost::produce(tape, OpClass::Elementwise, "sin", places_, angles,
                                            shape, ElementType::Float32);
        const Tensor cosines = ghost::produce(tape, OpClass::Elementwise, "cos", places_, angles,
                                              shape, ElementType::Float32);
        return ghost::combine(tape, "stack", places_, {&sines, &cosines}, {side, side, half},
                              ElementType::Float32);
    };
    const Tensor down = along();
    const Tensor across = along();
    return ghost::cat(tape, places_, std::array<Tensor, 2>{down, across}, 2);
}

Sam3Vision::Maps Sam3Vision::make_maps(Tape& tape, Neck neck, const Tensor& seen,
                                       Sam3Places& places) const {
    const std::size_t number = std::min(static_cast<std::size_t>(neck), necks_.size() - 1);
    Maps maps;
    for (const Scale& scale : necks_[number]) maps.features.push_back(run(tape, scale, seen));
    for (std::size_t i = 0; i < maps.features.size(); ++i) {
        const Tensor& map = maps.features[i];
        if (i >= places.size()) places.push_back(sinusoids(tape, map.shape()[2]));
        maps.positions.push_back(ghost::produce(tape, OpClass::Copy, "_to_copy", places_, places[i],
                                                map.shape(), map.type()));
    }
    return maps;
}

}  // namespace plimsoll::memory
