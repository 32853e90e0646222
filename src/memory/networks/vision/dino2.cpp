// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/dino2.h"

#include "memory/networks/vision/reader_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {
constexpr std::int64_t kColours = 3;
constexpr std::int64_t kMlpRatio = 4;
}  // namespace

Dino2Backbone::Dino2Backbone(Registry& r, std::string_view path, const modelfile::DinoConfig& c)
    : config_(c),
      embeddings_([&] {
          const Module own = r.path(path, "embeddings");
          const std::int64_t positions = std::int64_t{c.grid} * c.grid + 1;
          const std::int64_t marks = 1 + (c.mask_token ? 1 : 0);  // the class token's, the mask's
          r.add_own_parameters(own, "Dino2Embeddings", (positions + marks) * c.hidden,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      patches_(r, r.path(*embeddings_, "patch_embeddings.projection"), kColours, c.hidden,
               ConvShape{c.patch, c.patch, 0}),
      blocks_([&] {
          std::vector<Block> blocks;
          for (int i = 0; i < c.layers; ++i)
              blocks.push_back(
                  make_block(r, fmt::format("{}.encoder.layer.{}", path, i), c.hidden));
          return blocks;
      }()),
      norm_(r, r.path(path, "layernorm"), c.hidden) {}

Dino2Backbone::Block Dino2Backbone::make_block(Registry& r, std::string_view path,
                                               std::int64_t hidden) {
    const Module own = r.path(path, "");
    const auto at = [&](std::string_view name) { return r.path(*own, name); };
    const auto scale = [&](std::string_view name) {
        const Module of = at(name);
        r.add_own_parameters(of, "LayerScale", hidden, ModuleStorage::AsNetwork);
        return of;
    };
    return {.path = own,
            .attention_path = at("attention.attention"),
            .query = Linear(r, at("attention.attention.query"), hidden, hidden),
            .key = Linear(r, at("attention.attention.key"), hidden, hidden),
            .value = Linear(r, at("attention.attention.value"), hidden, hidden),
            .out = Linear(r, at("attention.output.dense"), hidden, hidden),
            .scale1 = scale("layer_scale1"),
            .scale2 = scale("layer_scale2"),
            .mlp_path = at("mlp"),
            .fc1 = Linear(r, at("mlp.fc1"), hidden, kMlpRatio * hidden),
            .fc2 = Linear(r, at("mlp.fc2"), kMlpRatio * hidden, hidden),
            .norm1 = LayerNorm(r, at("norm1"), hidden),
            .norm2 = LayerNorm(r, at("norm2"), hidden)};
}

Tensor Dino2Backbone::embed(Tape& tape, const Tensor& pixels) const {
    const std::int64_t batch = pixels.shape()[0];
    const std::int64_t rows = pixels.shape()[2] / config_.patch;
    const std::int64_t columns = pixels.shape()[3] / config_.patch;
    const std::int64_t tokens = 1 + rows * columns;
    const std::int64_t hidden = config_.hidden;
    const Tensor patches = patches_.forward(tape, pixels);
    const Tensor joined = ghost::produce(tape, OpClass::Copy, "cat", embeddings_, patches,
                                         {batch, tokens, hidden}, patches.type());
    // The positions of another grid: resized in fp32, and back.
    const bool same = rows == config_.grid && columns == config_.grid;
    const Tensor positions = [&]() -> Tensor {
        if (same) return {};
        const Tensor whole = ghost::create(
            tape, "to", embeddings_, {1, std::int64_t{config_.grid} * config_.grid + 1, hidden},
            ElementType::Float32);
        const Tensor sized =
            ghost::produce(tape, OpClass::Elementwise, "upsample_bicubic2d", embeddings_, whole,
                           {1, hidden, rows, columns}, ElementType::Float32);
        const Tensor both = ghost::produce(tape, OpClass::Copy, "cat", embeddings_, sized,
                                           {1, tokens, hidden}, ElementType::Float32);
        return ghost::to_type(tape, embeddings_, both, joined.type());
    }();
    const Tape::Cast stored =
        same ? tape.cast_weight({1, tokens, hidden}, embeddings_) : Tape::Cast{};
    return ghost::unary(tape, "add", embeddings_, joined);
}

Tensor Dino2Backbone::attend(Tape& tape, const Block& block, const Tensor& x) const {
    const Tensor attended = [&] {
        const Tensor q = block.query.forward(tape, x);
        const Tensor k = block.key.forward(tape, x);
        const Tensor v = block.value.forward(tape, x);
        const ghost::AttentionShape shape{.batch = x.shape()[0],
                                          .heads = config_.heads,
                                          .queries = x.shape()[1],
                                          .keys = x.shape()[1],
                                          .head_dim = config_.hidden / config_.heads};
        return ghost::attention(tape, block.attention_path, q, k, v, shape).view(x.shape());
    }();
    return block.out.forward(tape, attended);
}

Tensor Dino2Backbone::feed_forward(Tape& tape, const Block& block, const Tensor& x) {
    Tensor hidden = block.fc1.forward(tape, x);
    hidden = ghost::unary(tape, "gelu", block.mlp_path, hidden);
    return block.fc2.forward(tape, hidden);
}

Tensor Dino2Backbone::scaled(Tape& tape, Module scale, const Tensor& x) const {
    const Tape::Cast weight = tape.cast_weight({config_.hidden}, scale);
    return ghost::unary(tape, "mul", scale, x);
}

void Dino2Backbone::run_block(Tape& tape, std::size_t at, Tensor& x) const {
    const Block& block = blocks_[at];
    const auto add = [&](Module scale, const Tensor& made) {
        const Tensor part = scaled(tape, scale, made);
        x = ghost::binary(tape, "add", block.path, x, part);
    };
    add(block.scale1, attend(tape, block, block.norm1.forward(tape, x)));
    add(block.scale2, feed_forward(tape, block, block.norm2.forward(tape, x)));
}

std::vector<Tensor> Dino2Backbone::layers(Tape& tape, const Tensor& pixels,
                                          const std::vector<int>& wanted) const {
    Tensor x = embed(tape, pixels);
    std::vector<Tensor> found;
    for (int i = 0; i <= wanted.back(); ++i) {
        run_block(tape, static_cast<std::size_t>(i), x);
        if (std::ranges::find(wanted, i) != wanted.end()) found.push_back(normalise(tape, x));
    }
    return found;
}

}  // namespace plimsoll::memory
