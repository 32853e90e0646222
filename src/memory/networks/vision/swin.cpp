// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/swin.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kPatch = 4;
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kMerged = 4;  // tokens that become one of the next stage
constexpr std::size_t kStages = 4;

std::int64_t halved(std::int64_t side) {
    return (side + 1) / 2;
}

}  // namespace

SwinBackbone::Stage SwinBackbone::make_stage(Registry& r, std::string_view path,
                                             std::size_t number) const {
    const std::int64_t width = std::int64_t{config_.width} << number;
    const std::int64_t side = config_.window;
    const Module own = r.path(path, fmt::format("layers.{}", number));
    const std::int64_t heads = config_.heads[number];
    std::vector<Block> blocks;
    for (int i = 0; i < config_.depths[number]; ++i) {
        const Module block = r.path(*own, fmt::format("blocks.{}", i));
        const auto at = [&](std::string_view name) { return r.path(*block, name); };
        LayerNorm norm1(r, at("norm1"), width);
        const Module attention = at("attn");
        const std::int64_t distances = (2 * side - 1) * (2 * side - 1);
        r.add_own_parameters(attention, "WindowAttention", distances * heads,
                             ModuleStorage::AsNetwork);
        const std::int64_t pairs = side * side * side * side;
        r.add_tables(at("attn.index"), "WindowAttention", 0,
                     {.count = pairs, .bytes = pairs * element_bytes(ElementType::Int64)},
                     Saved::Yes);
        blocks.push_back({block, norm1, attention, Linear(r, at("attn.qkv"), width, 3 * width),
                          Linear(r, at("attn.proj"), width, width),
                          LayerNorm(r, at("norm2"), width), at("mlp"),
                          Linear(r, at("mlp.fc1"), width, kMlpRatio * width),
                          Linear(r, at("mlp.fc2"), kMlpRatio * width, width), i % 2 == 1});
    }
    std::optional<LayerNorm> merge_norm;
    std::optional<Linear> merge;
    if (number + 1 < kStages) {
        merge.emplace(r, r.path(*own, "downsample.reduction"), kMerged * width, 2 * width,
                      Bias::No);
        merge_norm.emplace(r, r.path(*own, "downsample.norm"), kMerged * width);
    }
    return {own,
            heads,
            width,
            std::move(blocks),
            std::move(merge_norm),
            std::move(merge),
            LayerNorm(r, r.path(path, fmt::format("norm{}", number)), width)};
}

SwinBackbone::SwinBackbone(Registry& r, std::string_view path, const modelfile::BiRefNetConfig& c)
    : config_(c),
      path_(r.path(path, "")),
      patches_(r, r.path(path, "patch_embed.proj"), kColours, c.width,
               ConvShape{kPatch, kPatch, 0}),
      patch_norm_(r, r.path(path, "patch_embed.norm"), c.width),
      stages_([&] {
          std::vector<Stage> stages;
          for (std::size_t i = 0; i < kStages; ++i) stages.push_back(make_stage(r, path, i));
          return stages;
      }()) {}

SwinBackbone::Size SwinBackbone::padded(Size size) const {
    const std::int64_t side = config_.window;
    return {(size.rows + side - 1) / side * side, (size.columns + side - 1) / side * side};
}

// Queries, keys and values are parts of one tensor whose rows no batched product can take as they
// lie: each is copied first.
Tensor SwinBackbone::attend(Tape& tape, const Stage& stage, const Block& block,
                            const Tensor& windows) const {
    const Module module = block.attention_path;
    const std::int64_t count = windows.shape()[0];
    const std::int64_t tokens = windows.shape()[1];
    const std::int64_t width = stage.width;
    const Shape scores{count, stage.heads, tokens, tokens};
    const std::int64_t flops = ghost::saturating_product({2, count, tokens, tokens, width});
    const Tensor mixed = [&] {
        const Tensor qkv = block.qkv.forward(tape, windows);
        const Tensor q = ghost::produce(tape, OpClass::Elementwise, "mul", module, windows,
                                        windows.shape(), windows.type());
        Tensor attention = [&] {
            const Tensor queries = ghost::clone(tape, module, q, windows.shape());
            const Tensor keys = ghost::clone(tape, module, q, windows.shape());
            Tensor made = tape.make(scores, windows.type(), "bmm", module);
            tape.charge(OpClass::MatMul, "bmm", module, flops,
                        queries.bytes() + keys.bytes() + made.bytes());
            return made;
        }();
        const Tensor bias =
            ghost::create(tape, "index", module, {stage.heads, tokens, tokens}, windows.type());
        attention = ghost::binary(tape, "add", module, attention, bias);
        if (block.shifted) attention = ghost::unary(tape, "add", module, attention);
        attention = ghost::unary(tape, "softmax", module, attention);
        const Tensor values = ghost::clone(tape, module, q, windows.shape());
        Tensor out = tape.make(windows.shape(), windows.type(), "bmm", module);
        tape.charge(OpClass::MatMul, "bmm", module, flops,
                    attention.bytes() + values.bytes() + out.bytes());
        const Tensor laid = ghost::clone(tape, module, out, windows.shape());
        out = {};
        return block.proj.forward(tape, laid);
    }();
    return mixed;
}

void SwinBackbone::run(Tape& tape, const Stage& stage, const Block& block, Size size,
                       Tensor& x) const {
    const std::int64_t batch = x.shape()[0];
    const Size whole = padded(size);
    const bool pads = whole.rows != size.rows || whole.columns != size.columns;
    const std::int64_t side = config_.window;
    const Shape laid{batch, whole.rows, whole.columns, stage.width};
    Tensor y = block.norm1.forward(tape, x);
    if (pads)
        y = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", block.path, y, laid, y.type());
    {
        // Its local names keep what they name until the block returns.
        const Tensor shifted = block.shifted ? ghost::clone(tape, block.path, y, laid) : y;
        const Tensor windows = ghost::clone(
            tape, block.path, shifted,
            {batch * whole.rows * whole.columns / (side * side), side * side, stage.width});
        const Tensor attended = attend(tape, stage, block, windows);
        const Tensor back = ghost::clone(tape, block.path, attended, laid);
        y = block.shifted ? ghost::clone(tape, block.path, back, laid) : back;
        if (pads)
            y = ghost::clone(tape, block.path, y, {batch, size.rows, size.columns, stage.width});
        x = ghost::binary(tape, "add", block.path, x, y);
        y = {};
        const Tensor fed = [&] {
            const Tensor normed = block.norm2.forward(tape, x);
            Tensor hidden = block.fc1.forward(tape, normed);
            hidden = ghost::unary(tape, "gelu", block.mlp_path, hidden);
            return block.fc2.forward(tape, hidden);
        }();
        x = ghost::binary(tape, "add", block.path, x, fed);
    }
}

Tensor SwinBackbone::merge(Tape& tape, const Stage& stage, Size size, const Tensor& x) {
    const Shape joined{x.shape()[0], halved(size.rows) * halved(size.columns),
                       kMerged * stage.width};
    Tensor y = ghost::produce(tape, OpClass::Copy, "cat", stage.path, x, joined, x.type());
    y = stage.merge_norm->forward(tape, y);
    return stage.merge->forward(tape, y);
}

std::vector<Tensor> SwinBackbone::forward(Tape& tape, const Tensor& pixels) const {
    const std::int64_t batch = pixels.shape()[0];
    Size size{(pixels.shape()[2] + kPatch - 1) / kPatch, (pixels.shape()[3] + kPatch - 1) / kPatch};
    Tensor x = [&] {
        const Tensor patches = patches_.forward(tape, pixels);
        return patch_norm_.forward_strided(
            tape, patches.view({batch, size.rows * size.columns, config_.width}));
    }();
    // The map goes on as rows of tokens, which its layout is not.
    x = ghost::clone(tape, path_, x, x.shape());
    std::vector<Tensor> maps;
    for (const Stage& stage : stages_) {
        const Size whole = padded(size);
        const std::int64_t side = config_.window;
        const std::int64_t windows = whole.rows * whole.columns / (side * side);
        const Tensor mask =
            ghost::create(tape, "masked_fill", stage.path, {windows, side * side, side * side},
                          ElementType::Float32);
        for (const Block& block : stage.blocks) run(tape, stage, block, size, x);
        Tensor next;
        if (stage.merge) next = merge(tape, stage, size, x);
        {
            const Tensor normed = stage.norm.forward(tape, x);
            maps.push_back(ghost::clone(tape, stage.path, normed,
                                        {batch, stage.width, size.rows, size.columns}));
        }
        if (!stage.merge) break;
        x = std::move(next);
        size = {halved(size.rows), halved(size.columns)};
    }
    return maps;
}

}  // namespace plimsoll::memory
