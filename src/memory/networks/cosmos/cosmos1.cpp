// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/cosmos/cosmos1.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr int kModulations = 3;  // shift, scale and gate
constexpr int kModulationsFinal = 2;
constexpr std::int64_t kSigmas = 1000;  // of ComfyUI's continuous schedule

CosmosWidths widths_of(const modelfile::Cosmos1Config& c) {
    return {.hidden = c.model_channels,
            .heads = c.num_heads,
            .head_dim = c.model_channels / c.num_heads,
            .mlp = static_cast<std::int64_t>(c.model_channels * c.mlp_ratio),
            .context = c.crossattn_emb_channels,
            .lora = c.adaln_lora_dim};
}

// A third of the head's channels, in pairs, for rows and as many for columns; the rest for frames.
std::int64_t spatial_pairs(std::int64_t head_dim) {
    return head_dim / 6;
}

}  // namespace

Cosmos1Attention::Cosmos1Attention(Registry& r, std::string_view path, const CosmosWidths& w,
                                   std::int64_t context_width)
    : path_(r.path(path, "")),
      widths_(w),
      q_(r, r.path(path, "to_q.0"), w.hidden, w.hidden, Bias::No),
      q_norm_(r, r.path(path, "to_q.1"), w.head_dim),
      k_(r, r.path(path, "to_k.0"), context_width, w.hidden, Bias::No),
      k_norm_(r, r.path(path, "to_k.1"), w.head_dim),
      v_(r, r.path(path, "to_v.0"), context_width, w.hidden, Bias::No),
      out_(r, r.path(path, "to_out.0"), w.hidden, w.hidden, Bias::No) {}

// Halves rotated against each other in fp32, then laid side by side again.
Tensor Cosmos1Attention::rotate(Tape& tape, const Tensor& x, const Tensor& table) const {
    const Shape& s = x.shape();
    const Tensor rotated = [&] {
        const Tensor half = x.view(s.with_last(s.last() / 2));
        const Tensor column = table.view({table.shape()[0], table.shape()[1], 2, 1});
        const auto product = [&] {
            return ghost::combine(tape, "mul", path_, {&column, &half}, s, table.type());
        };
        const Tensor first = product();
        const Tensor second = product();
        return ghost::binary(tape, "add", path_, first, second);
    }();
    const Tensor dense = ghost::clone(tape, path_, rotated, s);
    return ghost::to_type(tape, path_, dense, x.type());
}

Tensor Cosmos1Attention::forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 const Tensor& table) const {
    const std::int64_t batch = x.shape()[3];
    const std::int64_t queries = x.elements() / batch / widths_.hidden;
    const std::int64_t keys = context.elements() / batch / context.shape().last();
    const auto by_head = [&](std::int64_t tokens) {
        return Shape{batch, widths_.heads, tokens, widths_.head_dim};
    };
    const Tensor out = [&] {
        Tensor q = q_.forward(tape, x).view(by_head(queries));
        Tensor k = k_.forward(tape, context).view(by_head(keys));
        const Tensor v = v_.forward(tape, context).view(by_head(keys));
        q = q_norm_.forward(tape, q);
        k = k_norm_.forward(tape, k);
        if (table.defined()) {
            q = rotate(tape, q, table);
            k = rotate(tape, k, table);
        }
        return ghost::attention(tape, path_, q, k, v,
                                {.batch = batch,
                                 .heads = widths_.heads,
                                 .queries = queries,
                                 .keys = keys,
                                 .head_dim = widths_.head_dim});
    }();
    return out_.forward(tape, out.view(x.shape()));
}

Cosmos1Block::Part Cosmos1Block::make_part(Registry& r, std::string_view path,
                                           const CosmosWidths& w) {
    const Module own = r.path(path, "");
    LayerNorm norm(r, r.path(path, "norm_state"), w.hidden, Affine::No);
    CosmosModulation modulation(r, *r.path(path, "adaLN_modulation"), w, kModulations);
    return {own, norm, modulation};
}

Cosmos1Block::Cosmos1Block(Registry& r, std::string_view path, const CosmosWidths& w)
    : hidden_(w.hidden),
      self_(r, *r.path(path, "blocks.0.block.attn"), w, w.hidden),
      self_part_(make_part(r, *r.path(path, "blocks.0"), w)),
      cross_(r, *r.path(path, "blocks.1.block.attn"), w, w.context),
      cross_part_(make_part(r, *r.path(path, "blocks.1"), w)),
      mlp_in_(r, r.path(path, "blocks.2.block.layer1"), w.hidden, w.mlp, Bias::No),
      mlp_act_(r.path(path, "blocks.2.block.activation")),
      mlp_out_(r, r.path(path, "blocks.2.block.layer2"), w.mlp, w.hidden, Bias::No),
      mlp_part_(make_part(r, *r.path(path, "blocks.2"), w)) {}

// x + gate * inner(norm(x) * (1 + scale) + shift). Several items lie item by item, so that their
// norm copies them first.
template <class Inner>
Tensor Cosmos1Block::run(Tape& tape, const Part& part, const Tensor& x, const Shared& shared,
                         Inner inner) const {
    const std::int64_t batch = x.shape()[3];
    const Tensor modulation =
        part.modulation.forward(tape, part.path, shared.time, shared.modulation);
    const Tensor piece = modulation.view({batch, hidden_});
    const Tensor gated = [&] {
        const Tensor update = [&] {
            const Tensor in = [&] {
                const Tensor normal =
                    batch > 1 ? part.norm.forward_strided(tape, x) : part.norm.forward(tape, x);
                const Tensor product = scaled(tape, part.path, normal, piece);
                return ghost::binary(tape, "add", part.path, product, piece);
            }();
            return inner(in);
        }();
        return ghost::binary(tape, "mul", part.path, update, piece);
    }();
    return ghost::binary(tape, "add", part.path, x, gated);
}

Tensor Cosmos1Block::forward(Tape& tape, const Tensor& callers_x, const Shared& shared) const {
    Tensor x = run(tape, self_part_, callers_x, shared,
                   [&](const Tensor& in) { return self_.forward(tape, in, in, shared.table); });
    x = run(tape, cross_part_, x, shared,
            [&](const Tensor& in) { return cross_.forward(tape, in, shared.context, {}); });
    return run(tape, mlp_part_, x, shared, [&](const Tensor& in) {
        Tensor h = mlp_in_.forward(tape, in);
        h = ghost::unary(tape, "gelu", mlp_act_, h);
        return mlp_out_.forward(tape, h);
    });
}

Cosmos1Network::Cosmos1Network(const modelfile::Cosmos1Config& c)
    : config_(c),
      widths_(widths_of(c)),
      root_(registry_.path("", "")),
      patch_cut_(registry_.path("x_embedder", "proj.0")),
      patch_proj_(registry_, registry_.path("x_embedder", "proj.1"),
                  (std::int64_t{c.in_channels} + 1) * c.patch_spatial * c.patch_spatial,
                  c.model_channels, Bias::No),
      rope_([&] {
          const Module own = registry_.path("pos_embedder", "");
          const std::int64_t spatial = spatial_pairs(widths_.head_dim);
          registry_.add_buffer(own, "VideoRopePosition3DEmb", widths_.head_dim / 2 - spatial,
                               ModuleStorage::Float32, Saved::No);
          return own;
      }()),
      learned_([&] {
          const Module own = registry_.path("extra_pos_embedder", "");
          const std::int64_t places =
              c.max_img_h / c.patch_spatial + c.max_img_w / c.patch_spatial + c.max_frames;
          registry_.add_own_parameters(own, "LearnablePosEmbAxis", places * c.model_channels,
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      timesteps_(registry_.path("t_embedder", "0")),
      time_in_(registry_, registry_.path("t_embedder", "1.linear_1"), c.model_channels,
               c.model_channels, Bias::No),
      time_act_(registry_.path("t_embedder", "1.activation")),
      time_out_(registry_, registry_.path("t_embedder", "1.linear_2"), c.model_channels,
                kModulations * std::int64_t{c.model_channels}, Bias::No),
      blocks_([&] {
          std::vector<Cosmos1Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_blocks));
          for (int i = 0; i < c.num_blocks; ++i)
              blocks.emplace_back(registry_, fmt::format("blocks.block{}", i), widths_);
          return blocks;
      }()),
      time_norm_(registry_, registry_.path("affline_norm", ""), c.model_channels),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), c.model_channels,
                  Affine::No),
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.model_channels,
                    std::int64_t{c.out_channels} * c.patch_spatial * c.patch_spatial, Bias::No),
      final_modulation_(registry_, "final_layer.adaLN_modulation", widths_, kModulationsFinal) {}

StepInputs Cosmos1Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_frames, call.latent_height,
                       call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context =
        tape.input({wish.cond_batch, call.tokens, config_.crossattn_emb_channels}, wish.type);
    in.more.push_back(tape.input({wish.cond_batch, call.tokens}, wish.type));  // a mask, unused
    return in;
}

std::vector<ModuleEntry> Cosmos1Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// [N, frames, rows, columns, hidden].
Tensor Cosmos1Network::embed_patches(Tape& tape, const Tensor& latent) const {
    const Shape& s = latent.shape();
    const std::int64_t patch = config_.patch_spatial;
    const Tensor masked = [&] {
        const Tensor mask =
            ghost::create(tape, "zeros", root_, {s[0], 1, s[3], s[4]}, latent.type());
        const Tensor repeated =
            ghost::produce(tape, OpClass::Copy, "repeat", root_, mask, s.with(1, 1), latent.type());
        return ghost::cat(tape, root_, std::array<Tensor, 2>{latent, repeated}, 1);
    }();
    const Tensor cut =
        ghost::clone(tape, patch_cut_, masked,
                     {s[0], s[2], s[3] / patch, s[4] / patch, (s[1] + 1) * patch * patch});
    return patch_proj_.forward(tape, cut);
}

// Of frames, rows and columns, added and brought to unit length.
Tensor Cosmos1Network::learned_positions(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor sum = [&] {
        const auto add = [&](std::int64_t read_bytes) {
            Tensor out = tape.make(s, x.type(), "add", learned_);
            tape.charge(OpClass::Elementwise, "add", learned_, 0, read_bytes + out.bytes());
            return out;
        };
        // The parameters are seen as if repeated over the tokens.
        const Tensor two = add(2 * x.bytes());
        return add(two.bytes() + x.bytes());
    }();
    Tensor length = ghost::produce(tape, OpClass::Normalization, "linalg_vector_norm", learned_,
                                   sum, s.with_last(1), ElementType::Float32);
    length = ghost::unary(tape, "add", learned_, length);
    length = ghost::to_type(tape, learned_, length, x.type());
    return ghost::binary(tape, "div", learned_, sum, length);
}

// [tokens, pairs, 2, 2] in fp32.
Tensor Cosmos1Network::rotations(Tape& tape, const Shape& tokens) const {
    const auto make = [&](std::string_view op, const Shape& shape) {
        return ghost::create(tape, op, rope_, shape, ElementType::Float32);
    };
    const std::int64_t spatial = spatial_pairs(widths_.head_dim);
    const std::int64_t temporal = widths_.head_dim / 2 - 2 * spatial;
    struct Axis {
        std::int64_t places;
        std::int64_t pairs;
    };
    const std::array<Axis, 3> axes = {
        {{tokens[2], spatial}, {tokens[3], spatial}, {tokens[1], temporal}}};
    std::vector<Tensor> frequencies;
    frequencies.reserve(axes.size());
    for (const Axis& axis : axes) {
        Tensor f = make("pow", {axis.pairs});
        f = ghost::unary(tape, "reciprocal", rope_, f);
        frequencies.push_back(ghost::unary(tape, "mul", rope_, f));
    }
    const Tensor places = make("arange", {std::max({tokens[1], tokens[2], tokens[3]})});
    std::vector<Tensor> tables;
    tables.reserve(axes.size());
    for (const Axis& axis : axes) tables.push_back(make("mul", {axis.places, axis.pairs}));
    for (Tensor& table : tables) {
        const Tensor cos = ghost::unary(tape, "cos", rope_, table);
        const Tensor negated =
            ghost::unary(tape, "neg", rope_, ghost::unary(tape, "sin", rope_, table));
        const Tensor sin = ghost::unary(tape, "sin", rope_, table);
        const Tensor cos_again = ghost::unary(tape, "cos", rope_, table);
        const Shape& s = table.shape();
        table = ghost::combine(tape, "stack", rope_, {&cos, &negated, &sin, &cos_again},
                               {s[0], s[1], 4}, ElementType::Float32);
    }
    const std::int64_t count = tokens[1] * tokens[2] * tokens[3];
    Tensor all = tape.make({count, widths_.head_dim / 2, 2, 2}, ElementType::Float32, "cat", rope_);
    tape.charge(OpClass::Copy, "cat", rope_, 0, 2 * all.bytes());
    return all;
}

// The sinusoids themselves, normed, and a modulation that all blocks share.
void Cosmos1Network::embed_time(Tape& tape, const StepInputs& in,
                                Cosmos1Block::Shared& shared) const {
    const Tensor waves =
        timestep_embedding(tape, timesteps_, in.timesteps, widths_.hidden, in.x.type());
    Tensor h = time_in_.forward(tape, waves);
    h = ghost::unary(tape, "silu", time_act_, h);
    shared.modulation = time_out_.forward(tape, h);
    shared.time = time_norm_.forward(tape, waves);
}

Tensor Cosmos1Network::forward_final(Tape& tape, const Tensor& x,
                                     const Cosmos1Block::Shared& shared) const {
    const std::int64_t batch = x.shape()[3];
    const Tensor modulation = final_modulation_.forward(
        tape, final_, shared.time,
        shared.modulation.view({batch, kModulationsFinal * widths_.hidden}));
    const Tensor piece = modulation.view({batch, widths_.hidden});
    const Tensor in = [&] {
        const Tensor product = [&] {
            const Tensor normal = final_norm_.forward(tape, x);
            return scaled(tape, final_, normal, piece);
        }();
        return ghost::binary(tape, "add", final_, product, piece);
    }();
    return final_linear_.forward(tape, in);
}

Tensor Cosmos1Network::forward(Tape& tape, const StepInputs& in) const {
    const Shape& latent = in.x.shape();
    Cosmos1Block::Shared shared;
    Tensor x = embed_patches(tape, in.x);
    const Shape tokens = x.shape();
    const Tensor positions = learned_positions(tape, x);
    shared.table = rotations(tape, tokens);
    embed_time(tape, in, shared);
    shared.context = in.context;
    x = x.view({tokens[1], tokens[2], tokens[3], tokens[0], tokens[4]});
    for (const Cosmos1Block& block : blocks_) {
        ghost::binary_in_place(tape, "add_", root_, x, positions);
        x = block.forward(tape, x, shared);
    }
    const Tensor out = forward_final(tape, x, shared);
    return ghost::clone(tape, root_, out, latent.with(1, config_.out_channels));
}

Result<std::shared_ptr<const Denoiser>> build_cosmos1(const modelfile::Cosmos1Config& c) {
    bool sound = within(c.in_channels, 1, kWidthMax) && within(c.out_channels, 1, kWidthMax) &&
                 within(c.patch_spatial, 1, kPatchMax) && within(c.model_channels, 1, kWidthMax) &&
                 within(c.num_blocks, 1, kDepthMax) && within(c.num_heads, 1, c.model_channels) &&
                 c.model_channels % c.num_heads == 0 && c.mlp_ratio > 0 &&
                 c.mlp_ratio <= kMlpRatioMax && within(c.crossattn_emb_channels, 1, kWidthMax) &&
                 within(c.adaln_lora_dim, 1, kWidthMax) && within(c.max_img_h, 1, kWidthMax) &&
                 within(c.max_img_w, 1, kWidthMax) && within(c.max_frames, 1, kWidthMax);
    if (sound) {
        const int head_dim = c.model_channels / c.num_heads;
        sound = head_dim % 2 == 0 && head_dim >= 8;
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Cosmos-1 with {} blocks, {} heads of {} in all and patches of {} "
                                "cannot be",
                                c.num_blocks, c.num_heads, c.model_channels, c.patch_spatial));
    return std::make_shared<const Cosmos1Network>(c);
}

}  // namespace plimsoll::memory
