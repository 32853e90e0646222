// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/qwen_vision.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kPatch = 14;
constexpr std::int64_t kPatchElements = 3 * 2 * kPatch * kPatch;  // an image counts as two frames
constexpr std::int64_t kMerged = 2;                               // patches of a token, a side
constexpr std::int64_t kTokenPatches = kMerged * kMerged;
constexpr std::int64_t kWindowTokens = 4;  // along a side
constexpr std::size_t kWholeEvery = 8;     // every eighth block attends over the whole image
constexpr double kPixelsMin = 3136;        // the processor's limits
constexpr double kPixelsMax = 12845056;

// Patches in each window, row by row: the last ones of a row or column may be smaller.
std::vector<std::int64_t> window_sizes(const PatchGrid& grid) {
    std::vector<std::int64_t> sizes;
    const std::int64_t rows = grid.rows / kMerged;
    const std::int64_t columns = grid.columns / kMerged;
    for (std::int64_t i = 0; i < rows; i += kWindowTokens)
        for (std::int64_t j = 0; j < columns; j += kWindowTokens)
            sizes.push_back(std::min(kWindowTokens, rows - i) *
                            std::min(kWindowTokens, columns - j) * kTokenPatches);
    return sizes;
}

}  // namespace

PatchGrid qwen_patch_grid(std::int64_t height, std::int64_t width) {
    constexpr std::int64_t kFactor = kPatch * kMerged;
    const double factor = kFactor;
    const auto h = static_cast<double>(height);
    const auto w = static_cast<double>(width);
    // Halves to even, as Python rounds.
    double rows = std::nearbyint(h / factor);
    double columns = std::nearbyint(w / factor);
    const double pixels = rows * columns * factor * factor;
    if (pixels > kPixelsMax) {
        const double scale = std::sqrt(h * w / kPixelsMax);
        rows = std::max(1.0, std::floor(h / scale / factor));
        columns = std::max(1.0, std::floor(w / scale / factor));
    } else if (pixels < kPixelsMin) {
        const double scale = std::sqrt(kPixelsMin / (h * w));
        rows = std::ceil(h * scale / factor);
        columns = std::ceil(w * scale / factor);
    }
    return {static_cast<std::int64_t>(rows) * kMerged,
            static_cast<std::int64_t>(columns) * kMerged};
}

QwenVisionNetwork::QwenVisionNetwork(const QwenVisionConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      patch_embed_([&] {
          const Module path = registry_.path("patch_embed", "proj");
          registry_.add(path, "Conv3d", kPatchElements * c.hidden);
          return path;
      }()),
      blocks_([&] {
          std::vector<Block> blocks;
          Registry& r = registry_;
          for (int i = 0; i < c.layers; ++i) {
              const Module own = r.path("blocks", fmt::format("{}", i));
              const auto path = [&](std::string_view name) { return r.path(*own, name); };
              blocks.push_back(
                  {.path = own,
                   .norm1 = RmsNorm(r, path("norm1"), c.hidden),
                   .norm2 = RmsNorm(r, path("norm2"), c.hidden),
                   .attention_path = path("attn"),
                   .qkv = Linear(r, path("attn.qkv"), c.hidden, 3 * std::int64_t{c.hidden}),
                   .proj = Linear(r, path("attn.proj"), c.hidden, c.hidden),
                   .mlp_path = path("mlp"),
                   .gate = Linear(r, path("mlp.gate_proj"), c.hidden, c.intermediate),
                   .up = Linear(r, path("mlp.up_proj"), c.hidden, c.intermediate),
                   .down = Linear(r, path("mlp.down_proj"), c.intermediate, c.hidden),
                   .act = path("mlp.act_fn")});
          }
          return blocks;
      }()),
      merger_norm_(registry_, registry_.path("merger", "ln_q"), c.hidden),
      merger_in_(registry_, registry_.path("merger", "mlp.0"), kTokenPatches * c.hidden,
                 kTokenPatches * c.hidden),
      merger_act_(registry_.path("merger", "mlp.1")),
      merger_out_(registry_, registry_.path("merger", "mlp.2"), kTokenPatches * c.hidden,
                  c.output) {}

// A convolution whose kernel is the patch: [patches, hidden].
Tensor QwenVisionNetwork::embed(Tape& tape, const Tensor& patches) const {
    const std::int64_t hidden = config_.hidden;
    const std::int64_t count = patches.shape()[0];
    const Tape::Cast weight = tape.cast_weight({hidden, kPatchElements}, patch_embed_);
    Tensor out = tape.make({count, hidden}, patches.type(), "convolution", patch_embed_);
    tape.charge(
        OpClass::Convolution, "convolution", patch_embed_,
        ghost::saturating_product({2, count, kPatchElements, hidden}),
        patches.bytes() + kPatchElements * hidden * element_bytes(patches.type()) + out.bytes());
    return out;
}

// Angles by row and by column of each patch, in the order of the windows.
QwenVisionNetwork::Rotations QwenVisionNetwork::embed_positions(Tape& tape,
                                                                const PatchGrid& grid) const {
    const ElementType f32 = ElementType::Float32;
    const std::int64_t pairs = config_.hidden / config_.heads / 4;  // along one axis
    const std::int64_t count = grid.count();
    const Tensor ids = [&] {
        const auto axis = [&](std::int64_t length) {
            const Tensor numbers =
                ghost::create(tape, "arange", root_, {length}, ElementType::Int64);
            return ghost::produce(tape, OpClass::Copy, "clone", root_, numbers, {count},
                                  ElementType::Int64);
        };
        const Tensor rows = axis(grid.rows);
        const Tensor columns = axis(grid.columns);
        Tensor both =
            ghost::combine(tape, "stack", root_, {&rows, &columns}, {count, 2}, ElementType::Int64);
        both = ghost::clone(tape, root_, both, both.shape());
        return ghost::cat(tape, root_, std::array<Tensor, 1>{both}, 0);
    }();
    Tensor angles = [&] {
        Tensor frequencies = ghost::create(tape, "arange", root_, {pairs}, f32);
        for (const std::string_view op : {"div", "pow", "reciprocal", "mul"})
            frequencies = ghost::unary(tape, op, root_, frequencies);
        const std::int64_t length = std::max(grid.rows, grid.columns);
        const Tensor numbers = ghost::create(tape, "arange", root_, {length}, f32);
        const Tensor table =
            ghost::combine(tape, "mul", root_, {&numbers, &frequencies}, {length, pairs}, f32);
        return ghost::combine(tape, "index", root_, {&table, &ids}, {count, 2 * pairs}, f32);
    }();
    angles = ghost::produce(tape, OpClass::Copy, "index", root_, angles, angles.shape(), f32);
    angles = ghost::cat(tape, root_, std::array<Tensor, 2>{angles, angles}, 1);
    Rotations rotations;
    rotations.cos = ghost::unary(tape, "cos", root_, angles);
    rotations.sin = ghost::unary(tape, "sin", root_, angles);
    return rotations;
}

Tensor QwenVisionNetwork::rotate(Tape& tape, const Block& block, const Tensor& x,
                                 const Rotations& rotations) const {
    const Module m = block.attention_path;
    const Tensor straight = ghost::binary(tape, "mul", m, x, rotations.cos);
    const Tensor crossed = [&] {
        const Tensor half = x.view(x.shape().with_last(x.shape().last() / 2));
        const Tensor turned = [&] {
            const Tensor negative = ghost::unary(tape, "neg", m, half);
            return ghost::cat(tape, m, std::array<Tensor, 2>{negative, half}, 2);
        }();
        return ghost::binary(tape, "mul", m, turned, rotations.sin);
    }();
    return ghost::binary(tape, "add", m, straight, crossed);
}

Tensor QwenVisionNetwork::attend(Tape& tape, const Block& block, const Tensor& x,
                                 const Rotations& rotations,
                                 const std::vector<std::int64_t>& windows) const {
    const std::int64_t heads = config_.heads;
    const std::int64_t head = config_.hidden / heads;
    const Tensor qkv = block.qkv.forward(tape, x);
    const Tensor part = qkv.view({x.shape()[0], heads, head});
    const Tensor q = rotate(tape, block, part, rotations);
    const Tensor k = rotate(tape, block, part, rotations);
    std::vector<Tensor> outputs;
    outputs.reserve(windows.size());
    for (const std::int64_t size : windows) {
        const Shape shape{size, heads, head};
        outputs.push_back(
            ghost::attention(
                tape, block.attention_path, q.view(shape), k.view(shape), part.view(shape),
                {.batch = 1, .heads = heads, .queries = size, .keys = size, .head_dim = head})
                .view({size, heads * head}));
    }
    const Tensor joined = ghost::cat(tape, block.attention_path, outputs, 0);
    return block.proj.forward(tape, joined);
}

Tensor QwenVisionNetwork::forward_block(Tape& tape, const Block& block, const Tensor& input,
                                        const Rotations& rotations,
                                        const std::vector<std::int64_t>& windows) const {
    const Tensor x = [&] {
        const Tensor update = [&] {
            const Tensor in = block.norm1.forward(tape, input);
            return attend(tape, block, in, rotations, windows);
        }();
        return ghost::binary(tape, "add", block.path, input, update);
    }();
    const Tensor update = [&] {
        const Tensor in = block.norm2.forward(tape, x);
        const Tensor hidden = [&] {
            const Tensor gate = [&] {
                const Tensor open = block.gate.forward(tape, in);
                return ghost::unary(tape, "silu", block.act, open);
            }();
            const Tensor up = block.up.forward(tape, in);
            return ghost::binary(tape, "mul", block.mlp_path, gate, up);
        }();
        return block.down.forward(tape, hidden);
    }();
    return ghost::binary(tape, "add", block.path, x, update);
}

Tensor QwenVisionNetwork::encode(Tape& tape, const Tensor& patches, const PatchGrid& grid) const {
    const std::int64_t count = grid.count();
    const std::int64_t hidden = config_.hidden;
    Tensor x = embed(tape, patches);
    const Rotations rotations = embed_positions(tape, grid);
    // Into the order of the windows.
    x = ghost::produce(tape, OpClass::Copy, "index", root_, x,
                       {count / kTokenPatches, kTokenPatches, hidden}, x.type())
            .view({count, hidden});
    const std::vector<std::int64_t> windows = window_sizes(grid);
    const std::vector<std::int64_t> whole = {count};
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        x = forward_block(tape, blocks_[i], x, rotations,
                          (i + 1) % kWholeEvery == 0 ? whole : windows);
    const Tensor merged = [&] {
        Tensor h =
            merger_norm_.forward(tape, x).view({count / kTokenPatches, kTokenPatches * hidden});
        const Tensor in = h;
        h = merger_in_.forward(tape, h);
        h = ghost::unary(tape, "gelu", merger_act_, h);
        return merger_out_.forward(tape, h);
    }();
    x = {};
    return ghost::produce(tape, OpClass::Copy, "index", root_, merged, merged.shape(),
                          merged.type());
}

Result<std::shared_ptr<const QwenVisionNetwork>> build_qwen_vision(const QwenVisionConfig& c) {
    const bool sound = within(c.hidden, 4, kWidthMax) && within(c.intermediate, 1, kWidthMax) &&
                       within(c.heads, 1, c.hidden) && c.hidden % c.heads == 0 &&
                       c.hidden / c.heads % 4 == 0 && within(c.layers, 1, kDepthMax) &&
                       within(c.output, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a vision tower of width {} with {} blocks and {} heads cannot be",
                                c.hidden, c.layers, c.heads));
    return std::make_shared<const QwenVisionNetwork>(c);
}

Walk simulate_image_encode(const QwenVisionNetwork& network, const QwenVisionCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor patches =
        tape.input({call.grid.count(), kPatchElements}, element_type(call.compute));
    const Tensor tokens = network.encode(tape, patches, call.grid);
    return finish_walk(tape, network, call.storage, call.rules);
}

}  // namespace plimsoll::memory
