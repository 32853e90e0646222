// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/pixart.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;   // of the sinusoids
constexpr std::int64_t kModulations = 6;       // shift, scale and gate, twice
constexpr std::int64_t kModulationsFinal = 2;  // shift, scale
constexpr std::int64_t kSigmas = 2000;  // of ComfyUI's discrete schedule, and their logarithms
constexpr std::int64_t kTokensMax = 1 << 16;

// One of the equal parts that a modulation is cut into: a view.
Tensor part(const Tensor& modulation, std::int64_t width) {
    return modulation.view({modulation.shape()[0], 1, width});
}

// x * (1 + scale) + shift. The normal is the caller's argument, which lives on until the product is
// there.
Tensor modulated(Tape& tape, Module module, const LayerNorm& norm, const Tensor& x,
                 const Tensor& modulation) {
    const Tensor one = part(modulation, x.shape().last());
    const Tensor normal = norm.forward_strided(tape, x);
    const Tensor scaled = [&] {
        const Tensor factor = ghost::unary(tape, "add", module, one);
        return ghost::binary(tape, "mul", module, normal, factor);
    }();
    return ghost::binary(tape, "add", module, scaled, one);
}

// A table's own numbers, [parts, hidden] in fp32, plus the timestep's for each latent.
Tensor with_table(Tape& tape, Module module, std::int64_t parts, const Tensor& t,
                  std::int64_t hidden) {
    const Tape::Cast table = tape.cast_weight({1, parts, hidden}, module, ElementType::Float32);
    Tensor sum = tape.make({t.shape()[0], parts, hidden}, t.type(), "add", module);
    tape.charge(OpClass::Elementwise, "add", module, 0,
                parts * hidden * ghost::element_bytes(t.type()) + t.bytes() + sum.bytes());
    return sum;
}

}  // namespace

PixArtBlock::PixArtBlock(Registry& r, std::string_view path, const PixArtWidths& w)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "PixArtMSBlock", kModulations * w.hidden,
                               ModuleStorage::Float32);  // the table
          return own;
      }()),
      widths_(w),
      norm1_(r, r.path(path, "norm1"), w.hidden, Affine::No),
      attn_(r.path(path, "attn")),
      qkv_(r, r.path(path, "attn.qkv"), w.hidden, 3 * w.hidden),
      proj_(r, r.path(path, "attn.proj"), w.hidden, w.hidden),
      cross_(r.path(path, "cross_attn")),
      cross_q_(r, r.path(path, "cross_attn.q_linear"), w.hidden, w.hidden),
      cross_kv_(r, r.path(path, "cross_attn.kv_linear"), w.hidden, 2 * w.hidden),
      cross_proj_(r, r.path(path, "cross_attn.proj"), w.hidden, w.hidden),
      norm2_(r, r.path(path, "norm2"), w.hidden, Affine::No),
      mlp_in_(r, r.path(path, "mlp.fc1"), w.hidden, w.mlp),
      mlp_act_(r.path(path, "mlp.act")),
      mlp_out_(r, r.path(path, "mlp.fc2"), w.mlp, w.hidden) {}

Tensor PixArtBlock::attend_to_itself(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor qkv = qkv_.forward(tape, x);
    const Tensor q = qkv.view(s);
    const Tensor attn = ghost::attention(tape, attn_, q, q, q,
                                         {.batch = s[0],
                                          .heads = widths_.heads,
                                          .queries = s[1],
                                          .keys = s[1],
                                          .head_dim = widths_.hidden / widths_.heads});
    return proj_.forward(tape, attn.view(s));
}

Tensor PixArtBlock::attend_to_text(Tape& tape, const Tensor& x, const Tensor& y) const {
    const Shape& s = x.shape();
    const Tensor q = cross_q_.forward_batched(tape, x);
    const Tensor kv = cross_kv_.forward(tape, y);
    const Tensor k = kv.view({s[0], y.shape()[1] / s[0], widths_.hidden});
    const Tensor attn = ghost::attention(tape, cross_, q, k, k,
                                         {.batch = s[0],
                                          .heads = widths_.heads,
                                          .queries = s[1],
                                          .keys = k.shape()[1],
                                          .head_dim = widths_.hidden / widths_.heads});
    return cross_proj_.forward(tape, attn.view(s));
}

void PixArtBlock::forward(Tape& tape, Tensor& callers_x, const Tensor& y, const Tensor& t) const {
    Tensor x = callers_x;
    const Tensor modulation = with_table(tape, path_, kModulations, t, widths_.hidden);
    const Tensor gate = part(modulation, widths_.hidden);
    const auto add = [&](const Tensor& update) {
        x = ghost::binary(tape, "add", path_, x, update);
    };
    const auto add_gated = [&](Tensor update) {
        const Tensor gated = ghost::binary(tape, "mul", path_, update, gate);
        update = {};
        add(gated);
    };
    add_gated([&] {
        const Tensor in = modulated(tape, path_, norm1_, x, modulation);
        return attend_to_itself(tape, in);
    }());
    add(attend_to_text(tape, x, y));
    add_gated([&] {
        const Tensor in = modulated(tape, path_, norm2_, x, modulation);
        const Tensor hidden = [&] {
            const Tensor first = mlp_in_.forward(tape, in);
            return ghost::unary(tape, "gelu", mlp_act_, first);
        }();
        return mlp_out_.forward(tape, hidden);
    }());
    callers_x = x;
}

PixArtNetwork::PixArtNetwork(const modelfile::PixArtConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio)},
      root_(registry_.path("", "")),
      t_silu_(registry_.path("t_block", "0")),
      t_block_(registry_, registry_.path("t_block", "1"), widths_.hidden,
               kModulations * widths_.hidden),
      x_embedder_(registry_.path("x_embedder", "")),
      patch_proj_(registry_, registry_.path("x_embedder", "proj"), c.in_channels, widths_.hidden,
                  {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0}),
      t_embedder_(registry_, "t_embedder", kTimestepWidth, widths_.hidden, Bias::Yes,
                  kSequentialMlp),
      y_embedder_([&] {
          const Module own = registry_.path("y_embedder", "");
          registry_.add_buffer(own, "CaptionEmbedder",
                               std::int64_t{c.model_max_length} * c.caption_channels,
                               ModuleStorage::Float32, Saved::Yes);
          return own;
      }()),
      y_in_(registry_, registry_.path("y_embedder", "y_proj.fc1"), c.caption_channels,
            widths_.hidden),
      y_act_(registry_.path("y_embedder", "y_proj.act")),
      y_out_(registry_, registry_.path("y_embedder", "y_proj.fc2"), widths_.hidden, widths_.hidden),
      blocks_([&] {
          std::vector<PixArtBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("blocks.{}", i), widths_);
          return blocks;
      }()),
      final_([&] {
          const Module own = registry_.path("final_layer", "");
          registry_.add_own_parameters(own, "T2IFinalLayer", kModulationsFinal * widths_.hidden,
                                       ModuleStorage::Float32);  // the table
          return own;
      }()),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), widths_.hidden,
                  Affine::No),
      final_linear_(
          registry_, registry_.path("final_layer", "linear"), widths_.hidden,
          std::int64_t{c.in_channels} * (c.pred_sigma ? 2 : 1) * c.patch_size * c.patch_size) {}

std::vector<ModuleEntry> PixArtNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

StepInputs PixArtNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.caption_channels}, wish.type);
    return in;
}

Tensor PixArtNetwork::embed_positions(Tape& tape, std::int64_t rows, std::int64_t columns,
                                      ElementType type) const {
    const std::int64_t patches = rows * columns;
    const std::int64_t waves = widths_.hidden / 4;
    const auto places = [&](std::int64_t n) {
        Tensor axis = ghost::create(tape, "arange", root_, {n}, type);
        for (int i = 0; i < 2; ++i) axis = ghost::unary(tape, "div", root_, axis);
        return axis;
    };
    const Tensor by_row = places(rows);
    const Tensor by_column = places(columns);
    const auto sinusoids = [&](const Tensor& axis) {
        const Tensor omega = [&] {
            const Tensor steps = ghost::create(tape, "arange", root_, {waves}, type);
            ghost::unary_in_place(tape, "div_", root_, steps);
            const Tensor power = ghost::unary(tape, "pow", root_, steps);
            const Tensor inverse = ghost::unary(tape, "reciprocal", root_, power);
            return ghost::unary(tape, "mul", root_, inverse);
        }();
        const Tensor grid =
            ghost::produce(tape, OpClass::Copy, "clone", root_, axis, {patches}, type);
        const Tensor angles =
            ghost::combine(tape, "mul", root_, {&grid, &omega}, {patches, waves}, type);
        const Tensor sin = ghost::unary(tape, "sin", root_, angles);
        const Tensor cos = ghost::unary(tape, "cos", root_, angles);
        return ghost::cat(tape, root_, std::array<Tensor, 2>{sin, cos}, 1);
    };
    const Tensor row_waves = sinusoids(by_row);
    const Tensor column_waves = sinusoids(by_column);
    return ghost::cat(tape, root_, std::array<Tensor, 2>{column_waves, row_waves}, 1);
}

Tensor PixArtNetwork::embed_patches(Tape& tape, const Tensor& latent,
                                    const Tensor& positions) const {
    const Tensor patches = [&] {
        const Tensor padded = pad_to_patches(tape, x_embedder_, latent, config_.patch_size);
        return patch_proj_.forward(tape, padded);
    }();
    const Shape& s = patches.shape();
    return ghost::binary(tape, "add", root_, patches.view({s[0], s[2] * s[3], s[1]}), positions);
}

Tensor PixArtNetwork::embed_text(Tape& tape, const Tensor& context) const {
    const Tensor hidden = [&] {
        const Tensor in = y_in_.forward(tape, context);
        return ghost::unary(tape, "gelu", y_act_, in);
    }();
    return y_out_.forward(tape, hidden);
}

Tensor PixArtNetwork::forward_final(Tape& tape, const Tensor& x, const Tensor& t) const {
    const Tensor modulation = with_table(tape, final_, kModulationsFinal, t, widths_.hidden);
    const Tensor in = modulated(tape, final_, final_norm_, x, modulation);
    return final_linear_.forward(tape, in);
}

Tensor PixArtNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t rows = in.x.shape()[2] / patch;
    const std::int64_t columns = in.x.shape()[3] / patch;
    const ElementType type = in.x.type();
    const Tensor positions = embed_positions(tape, rows, columns, type);
    Tensor x = embed_patches(tape, in.x, positions);
    const Tensor t = [&] {
        Tensor waves = timestep_embedding(tape, t_embedder_.path(), in.timesteps, kTimestepWidth);
        waves = ghost::to_type(tape, t_embedder_.path(), waves, type);
        return t_embedder_.forward(tape, waves);
    }();
    const Tensor t0 = [&] {
        const Tensor active = ghost::unary(tape, "silu", t_silu_, t);
        return t_block_.forward(tape, active);
    }();
    Tensor y = embed_text(tape, in.context);
    y = y.view({1, y.shape()[0] * y.shape()[1], widths_.hidden});
    for (const PixArtBlock& block : blocks_) block.forward(tape, x, y, t0);
    x = forward_final(tape, x, t);
    const Tensor out = from_tokens(
        tape, root_, x, config_.in_channels * (config_.pred_sigma ? 2 : 1), rows, columns, patch);
    return out.view(out.shape().with(1, config_.in_channels));  // without the variance
}

Result<std::shared_ptr<const PixArtNetwork>> build_pixart(const modelfile::PixArtConfig& c) {
    const bool sound = within(c.in_channels, 1, kWidthMax) && within(c.patch_size, 1, kPatchMax) &&
                       within(c.hidden_size, 4, kWidthMax) && c.hidden_size % 4 == 0 &&
                       within(c.num_heads, 1, c.hidden_size) && c.hidden_size % c.num_heads == 0 &&
                       within(c.depth, 0, kDepthMax) && c.mlp_ratio > 0 &&
                       c.mlp_ratio <= kMlpRatioMax && within(c.caption_channels, 1, kWidthMax) &&
                       within(c.model_max_length, 0, kTokensMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("PixArt of width {} with {} heads, {} blocks and patches of {} "
                                "cannot be",
                                c.hidden_size, c.num_heads, c.depth, c.patch_size));
    if (c.micro_condition || c.qk_norm)
        return fail(Errc::NotFound,
                    "of PixArt only the networks without size embeddings and query norms are "
                    "simulated");
    return std::make_shared<const PixArtNetwork>(c);
}

}  // namespace plimsoll::memory
