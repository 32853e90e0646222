// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/kandinsky5.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Kandinsky5Config;

namespace {

constexpr std::int64_t kSigmas = 10'000;         // of ComfyUI's shifted flow schedule
constexpr std::int64_t kUnchunkedTokens = 8192;  // ComfyUI cuts longer sequences
constexpr std::int64_t kProjectionChunks = 2;
constexpr std::int64_t kFeedForwardChunks = 4;
constexpr int kPerPart = 3;  // shift, scale and gate
constexpr std::size_t kAxes = 3;

// A sequence as torch.chunk cuts it: runs `each` with a view of every chunk and joins the results.
template <class Each>
Tensor in_chunks(Tape& tape, Module module, const Tensor& x, std::int64_t count, Each each) {
    const std::int64_t tokens = x.shape()[1];
    const std::int64_t length = (tokens + count - 1) / count;
    std::vector<Tensor> parts;
    for (std::int64_t at = 0; at < tokens; at += length)
        parts.push_back(each(x.view(x.shape().with(1, std::min(length, tokens - at)))));
    return ghost::cat(tape, module, parts, 1);
}

Tensor scaled_and_shifted(Tape& tape, Module module, const LayerNorm& norm, const Tensor& x,
                          const Tensor& part) {
    const Tensor normal = norm.forward(tape, x);
    const Tensor factor = ghost::unary(tape, "add", module, part);
    return ghost::combine(tape, "addcmul", module, {&part, &normal, &factor}, x.shape(), x.type());
}

}  // namespace

Kandinsky5Attention::Kandinsky5Attention(Registry& r, std::string_view path,
                                         const Kandinsky5Config& c)
    : path_(r.path(path, "")),
      heads_(c.model_dim / rotated_channels(c.axes_dims)),
      head_dim_(rotated_channels(c.axes_dims)),
      to_query_(r, r.path(path, "to_query"), c.model_dim, c.model_dim),
      to_key_(r, r.path(path, "to_key"), c.model_dim, c.model_dim),
      to_value_(r, r.path(path, "to_value"), c.model_dim, c.model_dim),
      query_norm_(r, r.path(path, "query_norm"), head_dim_),
      key_norm_(r, r.path(path, "key_norm"), head_dim_),
      out_(r, r.path(path, "out_layer"), c.model_dim, c.model_dim) {}

Shape Kandinsky5Attention::in_heads(const Tensor& x) const {
    return {x.shape()[0], x.shape()[1], heads_, head_dim_};
}

Tensor Kandinsky5Attention::project(Tape& tape, const Linear& linear, const RmsNorm& norm,
                                    const Tensor& x, const Tensor& table) const {
    const auto rotated = [&](const Tensor& projected, std::int64_t tokens) {
        const Tensor normal = norm.forward(tape, projected);
        return apply_rope(tape, path_, normal, table.view(table.shape().with(1, tokens)));
    };
    if (x.shape()[1] <= kUnchunkedTokens) {
        const Tensor projected = linear.forward(tape, x).view(in_heads(x));
        return rotated(projected, x.shape()[1]);
    }
    return in_chunks(tape, path_, x, kProjectionChunks, [&](const Tensor& chunk) {
        const Tensor projected = linear.forward_slice(tape, chunk).view(in_heads(chunk));
        return rotated(projected, chunk.shape()[1]);
    });
}

Tensor Kandinsky5Attention::attend(Tape& tape, const Tensor& q, const Tensor& k,
                                   const Tensor& v) const {
    const Tensor attended = ghost::attention(tape, path_, q, k, v,
                                             {.batch = q.shape()[0],
                                              .heads = heads_,
                                              .queries = q.shape()[1],
                                              .keys = k.shape()[1],
                                              .head_dim = head_dim_});
    return attended.view({q.shape()[0], q.shape()[1], heads_ * head_dim_});
}

Tensor Kandinsky5Attention::forward_self(Tape& tape, const Tensor& x, const Tensor& table) const {
    const Tensor q = project(tape, to_query_, query_norm_, x, table);
    const Tensor k = project(tape, to_key_, key_norm_, x, table);
    const Tensor v = to_value_.forward(tape, x).view(in_heads(x));
    const Tensor out = attend(tape, q, k, v);
    return out_.forward(tape, out);
}

Tensor Kandinsky5Attention::forward_cross(Tape& tape, const Tensor& x, const Tensor& text) const {
    const Tensor q = to_query_.forward(tape, x).view(in_heads(x));
    const Tensor k = to_key_.forward(tape, text).view(in_heads(text));
    const Tensor v = to_value_.forward(tape, text).view(in_heads(text));
    const Tensor out = [&] {
        const Tensor normal_q = query_norm_.forward(tape, q);
        const Tensor normal_k = key_norm_.forward(tape, k);
        return attend(tape, normal_q, normal_k, v);
    }();
    return out_.forward(tape, out);
}

Kandinsky5FeedForward::Kandinsky5FeedForward(Registry& r, std::string_view path,
                                             const Kandinsky5Config& c)
    : path_(r.path(path, "")),
      in_(r, r.path(path, "in_layer"), c.model_dim, c.ff_dim, Bias::No),
      act_(r.path(path, "activation")),
      out_(r, r.path(path, "out_layer"), c.ff_dim, c.model_dim, Bias::No) {}

Tensor Kandinsky5FeedForward::forward_chunk(Tape& tape, const Tensor& x, bool slice) const {
    const Tensor hidden = [&] {
        const Tensor in = slice ? in_.forward_slice(tape, x) : in_.forward(tape, x);
        return ghost::unary(tape, "gelu", act_, in);
    }();
    return out_.forward(tape, hidden);
}

Tensor Kandinsky5FeedForward::forward(Tape& tape, const Tensor& x) const {
    if (x.shape()[1] <= kUnchunkedTokens) return forward_chunk(tape, x, false);
    return in_chunks(tape, path_, x, kFeedForwardChunks,
                     [&](const Tensor& chunk) { return forward_chunk(tape, chunk, true); });
}

Kandinsky5Block::Kandinsky5Block(Registry& r, std::string_view path, const Kandinsky5Config& c,
                                 Stream stream)
    : path_(r.path(path, "")),
      width_(c.model_dim),
      modulation_act_(r.path(path, stream == Stream::Text ? "text_modulation.activation"
                                                          : "visual_modulation.activation")),
      modulation_(r,
                  r.path(path, stream == Stream::Text ? "text_modulation.out_layer"
                                                      : "visual_modulation.out_layer"),
                  c.time_dim,
                  std::int64_t{kPerPart} * (stream == Stream::Text ? 2 : 3) * c.model_dim),
      self_norm_(r, r.path(path, "self_attention_norm"), c.model_dim, Affine::No),
      self_(r, *r.path(path, "self_attention"), c),
      cross_([&] {
          std::vector<Kandinsky5Attention> cross;
          if (stream == Stream::Visual) cross.emplace_back(r, *r.path(path, "cross_attention"), c);
          return cross;
      }()),
      cross_norm_(r, r.path(path, "cross_attention_norm"), c.model_dim, Affine::No),
      feed_forward_norm_(r, r.path(path, "feed_forward_norm"), c.model_dim, Affine::No),
      feed_forward_(r, *r.path(path, "feed_forward"), c) {}

// The last part's output lives on until the next part's input is there.
Tensor Kandinsky5Block::forward(Tape& tape, const Tensor& x, const Tensor& text, const Tensor& time,
                                const Tensor& table) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
        return modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, width_});
    Tensor stream = x;
    Tensor out;
    const auto run = [&](const LayerNorm& norm, auto update) {
        out = scaled_and_shifted(tape, path_, norm, stream, part);
        out = update(out);
        stream = ghost::combine(tape, "addcmul", path_, {&stream, &part, &out}, stream.shape(),
                                stream.type());
    };
    run(self_norm_, [&](const Tensor& in) { return self_.forward_self(tape, in, table); });
    for (const Kandinsky5Attention& cross : cross_)
        run(cross_norm_, [&](const Tensor& in) { return cross.forward_cross(tape, in, text); });
    run(feed_forward_norm_, [&](const Tensor& in) { return feed_forward_.forward(tape, in); });
    return stream;
}

namespace {

std::vector<Kandinsky5Block> make_blocks(Registry& r, std::string_view name, int count,
                                         const Kandinsky5Config& c,
                                         Kandinsky5Block::Stream stream) {
    std::vector<Kandinsky5Block> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}", name, i), c, stream);
    return blocks;
}

std::int64_t patch_cells(const Kandinsky5Config& c) {
    return std::int64_t{c.patch_size[0]} * c.patch_size[1] * c.patch_size[2];
}

}  // namespace

Kandinsky5Network::Kandinsky5Network(const Kandinsky5Config& c)
    : config_(c),
      root_(registry_.path("", "")),
      time_([&] {
          const Module path = registry_.path("time_embeddings", "");
          registry_.add_buffer(path, "TimeEmbeddings", c.model_dim / 2, ModuleStorage::Float32,
                               Saved::No);
          return path;
      }()),
      time_in_(registry_, registry_.path("time_embeddings", "in_layer"), c.model_dim, c.time_dim),
      time_act_(registry_.path("time_embeddings", "activation")),
      time_out_(registry_, registry_.path("time_embeddings", "out_layer"), c.time_dim, c.time_dim),
      text_in_{Linear(registry_, registry_.path("text_embeddings", "in_layer"), c.in_text_dim,
                      c.model_dim),
               LayerNorm(registry_, registry_.path("text_embeddings", "norm"), c.model_dim)},
      pooled_in_{
          Linear(registry_, registry_.path("pooled_text_embeddings", "in_layer"), c.in_text_dim2,
                 c.time_dim),
          LayerNorm(registry_, registry_.path("pooled_text_embeddings", "norm"), c.time_dim)},
      visual_(registry_.path("visual_embeddings", "")),
      visual_in_(registry_, registry_.path("visual_embeddings", "in_layer"), c.visual_embed_dim,
                 c.model_dim),
      text_blocks_(make_blocks(registry_, "text_transformer_blocks", c.num_text_blocks, c,
                               Kandinsky5Block::Stream::Text)),
      visual_blocks_(make_blocks(registry_, "visual_transformer_blocks", c.num_visual_blocks, c,
                                 Kandinsky5Block::Stream::Visual)),
      out_(registry_.path("out_layer", "")),
      out_act_(registry_.path("out_layer", "modulation.activation")),
      out_modulation_(registry_, registry_.path("out_layer", "modulation.out_layer"), c.time_dim,
                      2 * std::int64_t{c.model_dim}),
      out_norm_(registry_, registry_.path("out_layer", "norm"), c.model_dim, Affine::No),
      out_layer_(registry_, registry_.path("out_layer", "out_layer"), c.model_dim,
                 patch_cells(c) * c.out_visual_dim),
      rope_3d_(registry_.path("rope_embedder_3d", "")),
      rope_1d_(registry_.path("rope_embedder_1d", "")) {}

StepInputs Kandinsky5Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const std::int64_t channels = config_.visual_embed_dim / patch_cells(config_);
    const auto video = [&](std::int64_t of) {
        return tape.input(
            {wish.batch, of, call.latent_frames, call.latent_height, call.latent_width}, wish.type);
    };
    StepInputs in;
    in.x = video(wish.joined ? channels : config_.in_visual_dim);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.in_text_dim}, wish.type);
    in.y = tape.input({wish.cond_batch, config_.in_text_dim2}, wish.type);
    if (channels > config_.in_visual_dim && !wish.joined)
        in.concat = video(channels - config_.in_visual_dim);
    return in;
}

std::vector<ModuleEntry> Kandinsky5Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// To whole patches: a copy even where nothing is missing.
Tensor Kandinsky5Network::pad(Tape& tape, const Tensor& x) const {
    Shape padded = x.shape();
    for (std::size_t i = 0; i < kAxes; ++i) {
        const std::int64_t patch = config_.patch_size[i];
        padded = padded.with(i + 2, (padded[i + 2] + patch - 1) / patch * patch);
    }
    Tensor out = tape.make(padded, x.type(), "new_empty", root_);
    tape.charge(OpClass::Copy, "new_empty", root_, 0, 0, 0);
    ghost::binary_in_place(tape, "copy_", root_, x, x);
    return out;
}

// Of the latent as it was before it was padded, rounded to patches.
Tensor Kandinsky5Network::visual_table(Tape& tape, const Tensor& x) const {
    std::array<std::int64_t, kAxes> steps{};
    for (std::size_t i = 0; i < kAxes; ++i)
        steps[i] = (x.shape()[i + 2] + config_.patch_size[i] / 2) / config_.patch_size[i];
    const Shape grid{steps[0], steps[1], steps[2]};
    const Tensor ids = ghost::create(tape, "zeros", root_,
                                     {steps[0], steps[1], steps[2], std::int64_t{kAxes}}, x.type());
    const Tensor axis = ids.view(grid);
    for (const std::int64_t length : steps) {
        const Tensor positions = [&] {
            const Tensor line = ghost::create(tape, "linspace", root_, {length}, x.type());
            return ghost::combine(tape, "add", root_, {&axis, &line}, grid, x.type());
        }();
        ghost::binary_in_place(tape, "copy_", root_, axis, positions);
    }
    return rope_table(tape, rope_3d_, ids.view({1, grid.elements(), std::int64_t{kAxes}}),
                      config_.axes_dims);
}

Tensor Kandinsky5Network::text_table(Tape& tape, std::int64_t tokens, ElementType type) const {
    const Tensor ids = ghost::create(tape, "linspace", root_, {1, tokens, 1}, type);
    const std::array<int, 1> axes = {static_cast<int>(rotated_channels(config_.axes_dims))};
    return rope_table(tape, rope_1d_, ids, axes);
}

Tensor Kandinsky5Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const std::int64_t half = config_.model_dim / 2;
    const ElementType f32 = ElementType::Float32;
    const Tensor angles = [&] {
        // The buffer's own device is not the network's.
        const Tensor frequencies = ghost::create(tape, "_to_copy", time_, {half}, f32);
        return ghost::combine(tape, "mul", time_, {&timesteps, &frequencies},
                              {timesteps.elements(), half}, f32);
    }();
    Tensor waves = [&] {
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", time_, angles),
                                            ghost::unary(tape, "sin", time_, angles)};
        return ghost::cat(tape, time_, both, 1);
    }();
    waves = ghost::to_type(tape, time_, waves, type);
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

Tensor Kandinsky5Network::forward_out(Tape& tape, const Tensor& x, const Tensor& time,
                                      const Shape& padded) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", out_act_, time);
        return out_modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, x.shape().last()});
    const Tensor in = scaled_and_shifted(tape, out_, out_norm_, x, part);
    const Tensor patches = out_layer_.forward(tape, in);
    return ghost::clone(tape, out_, patches, padded.with(1, config_.out_visual_dim));
}

Tensor Kandinsky5Network::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const ElementType type = in.x.type();
    const Tensor x = pad(tape, in.x);
    const Tensor table = visual_table(tape, in.x);
    const Tensor text_positions = text_table(tape, in.context.shape()[1], type);
    const auto embed = [&](const Embedder& embedder, const Tensor& from) {
        const Tensor raw = embedder.in.forward(tape, from);
        return embedder.norm.forward(tape, raw);
    };
    Tensor text = embed(text_in_, in.context);
    const Tensor time = [&] {
        const Tensor own = embed_time(tape, in.timesteps, type);
        const Tensor pooled = embed(pooled_in_, in.y);
        return ghost::binary(tape, "add", root_, own, pooled);
    }();
    for (const Kandinsky5Block& block : text_blocks_)
        text = block.forward(tape, text, {}, time, text_positions);
    Tensor visual = [&] {
        const std::int64_t tokens = table.shape()[1];
        const Tensor patches =
            ghost::clone(tape, visual_, x, {batch, tokens, config_.visual_embed_dim});
        return visual_in_.forward(tape, patches);
    }();
    for (const Kandinsky5Block& block : visual_blocks_)
        visual = block.forward(tape, visual, text, time, table);
    return forward_out(tape, visual, time, x.shape());
}

Result<std::shared_ptr<const Denoiser>> build_kandinsky5(const Kandinsky5Config& c) {
    const auto sound_patch = [&] {
        if (c.patch_size.size() != kAxes) return false;
        for (const int side : c.patch_size)
            if (!within(side, 1, kPatchMax)) return false;
        return within(c.visual_embed_dim, 1, kWidthMax) &&
               c.visual_embed_dim % patch_cells(c) == 0 &&
               c.visual_embed_dim / patch_cells(c) >= c.in_visual_dim;
    };
    const std::int64_t head_dim = rotated_channels(c.axes_dims);
    const bool sound =
        sound_patch() && within(c.in_visual_dim, 1, kWidthMax) &&
        within(c.out_visual_dim, 1, kWidthMax) && within(c.in_text_dim, 1, kWidthMax) &&
        within(c.in_text_dim2, 1, kWidthMax) && within(c.time_dim, 1, kWidthMax) &&
        within(c.model_dim, 2, kWidthMax) && within(c.ff_dim, 1, kWidthMax) &&
        within(c.num_text_blocks, 0, kDepthMax) && within(c.num_visual_blocks, 0, kDepthMax) &&
        c.axes_dims.size() == kAxes && within(head_dim, 2, c.model_dim) &&
        c.model_dim % head_dim == 0 && c.model_dim % 2 == 0;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Kandinsky 5 of width {} with heads of {}, {} + {} blocks and "
                                "patches of {} channels cannot be",
                                c.model_dim, head_dim, c.num_text_blocks, c.num_visual_blocks,
                                c.visual_embed_dim));
    return std::make_shared<const Kandinsky5Network>(c);
}

}  // namespace plimsoll::memory
