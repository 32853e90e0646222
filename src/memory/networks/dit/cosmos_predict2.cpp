// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/cosmos_predict2.h"

#include "memory/networks/dit/anima_adapter.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kModulations = 3;       // shift, scale, gate
constexpr std::int64_t kModulationsFinal = 2;  // shift, scale
constexpr std::int64_t kSigmasFlow = 1000;     // of ComfyUI's flow schedule
constexpr std::int64_t kSigmasEdm = 2000;      // of its continuous one: sigmas and their logarithms

// How the channels of a head are shared out among the axes of positions, in pairs.
struct RotaryPairs {
    std::int64_t space = 0;  // for rows, and as many for columns
    std::int64_t time = 0;
};
RotaryPairs rotary_pairs(std::int64_t head_dim) {
    const std::int64_t space = head_dim / 6;
    return {.space = space, .time = head_dim / 2 - 2 * space};
}

// One of the equal parts that a modulation is cut into: a view.
Tensor part(const Tensor& modulation, std::int64_t width) {
    return modulation.view({modulation.shape()[0], 1, 1, 1, width});
}

// norm(x) x (1 + scale) + shift.
Tensor modulated(Tape& tape, Module module, const LayerNorm& norm, const Tensor& x,
                 const Tensor& modulation) {
    const Tensor one = part(modulation, x.shape().last());
    const Tensor scaled = [&] {
        const Tensor normal = norm.forward(tape, x);
        const Tensor factor = ghost::unary(tape, "add", module, one);
        return ghost::binary(tape, "mul", module, normal, factor);
    }();
    return ghost::binary(tape, "add", module, scaled, one);
}

// x + gate x update; an fp32 x stays so.
Tensor add_gated(Tape& tape, Module module, const Tensor& x, const Tensor& update,
                 const Tensor& modulation) {
    const Tensor gate = part(modulation, x.shape().last());
    if (!since_033(tape)) {
        const Tensor gated = ghost::binary(tape, "mul", module, update, gate);
        return ghost::binary(tape, "add", module, x, gated);
    }
    const Tensor wide_gate = ghost::to_type(tape, module, gate, x.type());
    const Tensor wide = ghost::to_type(tape, module, update, x.type());
    return ghost::combine(tape, "addcmul", module, {&x, &wide_gate, &wide}, x.shape(), x.type());
}

// [N, tokens, heads, head_dim] rotated in fp32, in halves rather than neighbours: the result is put
// in order by a copy.
Tensor rotate(Tape& tape, Module module, const Tensor& x, const Tensor& pe) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &pe}, x.shape(), x.type());
    const Shape& s = x.shape();
    const Shape pairs{s[0], s[1], s[2], s[3] / 2, 2};
    const Tensor wide = ghost::to_type(tape, module, x.view({s[0], s[1], s[2], s[3] / 2, 1, 2}),
                                       ElementType::Float32);
    const Tensor sum = [&] {
        const Tensor half = wide.view(pairs.with_last(1));
        const Tensor column = pe.view(pe.shape().with_last(pe.shape().last() / 2));
        const auto product = [&] {
            return ghost::combine(tape, "mul", module, {&column, &half}, pairs, wide.type());
        };
        const Tensor first = product();
        const Tensor second = product();
        return ghost::binary(tape, "add", module, first, second);
    }();
    const Tensor ordered = ghost::clone(tape, module, sum, {s[0], s[1], s[2], 2, s[3] / 2}).view(s);
    return ghost::to_type(tape, module, ordered, x.type());
}

}  // namespace

CosmosModulation::CosmosModulation(Registry& r, std::string_view path, const CosmosWidths& w,
                                   std::int64_t parts)
    : parts_width_(parts * w.hidden),
      silu_(r.path(path, "0")),
      down_(r, r.path(path, "1"), w.hidden, w.lora, Bias::No),
      up_(r, r.path(path, "2"), w.lora, parts_width_, Bias::No) {}

Tensor CosmosModulation::forward(Tape& tape, Module adder, const Tensor& emb,
                                 const Tensor& shared) const {
    const Tensor own = [&] {
        const Tensor low = [&] {
            const Tensor active = ghost::unary(tape, "silu", silu_, emb);
            return down_.forward(tape, active);
        }();
        return up_.forward(tape, low);
    }();
    return ghost::binary(tape, "add", adder, own, shared.view(own.shape()));
}

CosmosAttention::CosmosAttention(Registry& r, std::string_view path, const CosmosWidths& w,
                                 std::int64_t context_width)
    : path_(r.path(path, "")),
      widths_(w),
      q_(r, r.path(path, "q_proj"), w.hidden, w.hidden, Bias::No),
      q_norm_(r, r.path(path, "q_norm"), w.head_dim),
      k_(r, r.path(path, "k_proj"), context_width, w.hidden, Bias::No),
      k_norm_(r, r.path(path, "k_norm"), w.head_dim),
      v_(r, r.path(path, "v_proj"), context_width, w.hidden, Bias::No),
      out_(r, r.path(path, "output_proj"), w.hidden, w.hidden, Bias::No) {}

// The projections live on in the caller's frame while their norms and rotations are made.
CosmosAttention::Qkv CosmosAttention::project(Tape& tape, const Tensor& x, const Tensor& context,
                                              const Tensor& pe, const PatchedPlace& patch) const {
    const auto heads = [&](const Tensor& t) {
        return t.view({t.shape()[0], t.shape()[1], widths_.heads, widths_.head_dim});
    };
    // All inputs are patched before the first is projected.
    const bool crossed = !pe.defined();
    Tensor q = patch.before(crossed ? PatchedInput::CrossQuery : PatchedInput::Query, x);
    Tensor k = crossed ? context : patch.before(PatchedInput::Key, context);
    Tensor v = crossed ? context : patch.before(PatchedInput::Value, context);
    q = heads(q_.forward(tape, q));
    k = heads(k_.forward(tape, k));
    v = heads(v_.forward(tape, v));
    Qkv out{.q = q_norm_.forward(tape, q), .k = k_norm_.forward(tape, k), .v = v};
    if (pe.defined()) {
        out.q = rotate(tape, path_, out.q, pe);
        out.k = rotate(tape, path_, out.k, pe);
    }
    return out;
}

Tensor CosmosAttention::forward(Tape& tape, const Tensor& x, const Tensor& context,
                                const Tensor& pe, const PatchedPlace& patch) const {
    const Qkv qkv = project(tape, x, context, pe, patch);
    const Tensor attn = ghost::attention(tape, path_, qkv.q, qkv.k, qkv.v,
                                         {.batch = x.shape()[0],
                                          .heads = widths_.heads,
                                          .queries = x.shape()[1],
                                          .keys = context.shape()[1],
                                          .head_dim = widths_.head_dim});
    return out_.forward(tape, attn.view(x.shape()));
}

CosmosBlock::CosmosBlock(Registry& r, std::string_view path, const CosmosWidths& w)
    : path_(r.path(path, "")),
      self_norm_(r, r.path(path, "layer_norm_self_attn"), w.hidden, Affine::No),
      self_attn_(r, *r.path(path, "self_attn"), w, w.hidden),
      cross_norm_(r, r.path(path, "layer_norm_cross_attn"), w.hidden, Affine::No),
      cross_attn_(r, *r.path(path, "cross_attn"), w, w.context),
      mlp_norm_(r, r.path(path, "layer_norm_mlp"), w.hidden, Affine::No),
      mlp_in_(r, r.path(path, "mlp.layer1"), w.hidden, w.mlp, Bias::No),
      mlp_act_(r.path(path, "mlp.activation")),
      mlp_out_(r, r.path(path, "mlp.layer2"), w.mlp, w.hidden, Bias::No),
      self_modulation_(r, *r.path(path, "adaln_modulation_self_attn"), w, kModulations),
      cross_modulation_(r, *r.path(path, "adaln_modulation_cross_attn"), w, kModulations),
      mlp_modulation_(r, *r.path(path, "adaln_modulation_mlp"), w, kModulations) {}

void CosmosBlock::forward(Tape& tape, Tensor& callers_x, const Shared& shared,
                          std::size_t index) const {
    const PatchedPlace place{shared.patch, index};
    const ElementType compute = shared.emb.type();
    const auto modulation = [&](const CosmosModulation& m) {
        return m.forward(tape, path_, shared.emb, shared.modulation);
    };
    const Tensor self_mod = modulation(self_modulation_);
    const Tensor cross_mod = modulation(cross_modulation_);
    const Tensor mlp_mod = modulation(mlp_modulation_);

    Tensor x = callers_x;
    const Shape grid = x.shape();
    const Shape tokens{grid[0], grid[1] * grid[2] * grid[3], grid[4]};
    const auto narrow = [&](const Tensor& t) { return ghost::to_type(tape, path_, t, compute); };

    Tensor normal = modulated(tape, path_, self_norm_, x, self_mod);
    Tensor result = [&] {
        const Tensor in = narrow(normal).view(tokens);
        return self_attn_.forward(tape, in, in, shared.pe, place).view(grid);
    }();
    x = add_gated(tape, path_, x, result, self_mod);

    result = [&] {
        const Tensor own = modulated(tape, path_, cross_norm_, x, cross_mod);
        const Tensor in = narrow(own).view(tokens);
        return cross_attn_.forward(tape, in, shared.context, {}, place).view(grid);
    }();
    x = add_gated(tape, path_, x, result, cross_mod);

    normal = narrow(modulated(tape, path_, mlp_norm_, x, mlp_mod));
    result = [&] {
        const Tensor hidden = [&] {
            const Tensor patched = place.before(PatchedInput::FeedForward, normal);
            const Tensor in = mlp_in_.forward(tape, patched);
            return ghost::unary(tape, "gelu", mlp_act_, in);
        }();
        return mlp_out_.forward(tape, hidden);
    }();
    callers_x = add_gated(tape, path_, x, result, mlp_mod);
}

CosmosPredict2Network::CosmosPredict2Network(const modelfile::CosmosPredict2Config& c)
    : config_(c),
      widths_{.hidden = c.model_channels,
              .heads = c.num_heads,
              .head_dim = c.model_channels / c.num_heads,
              .mlp = static_cast<std::int64_t>(c.model_channels * c.mlp_ratio),
              .context = c.crossattn_emb_channels,
              .lora = c.adaln_lora_dim},
      root_(registry_.path("", "")),
      pos_([&] {
          const Module pos = registry_.path("pos_embedder", "");
          const RotaryPairs pairs = rotary_pairs(widths_.head_dim);
          registry_.add_buffer(pos, "VideoRopePosition3DEmb", pairs.space + pairs.time,
                               ModuleStorage::Float32, Saved::No);
          return pos;
      }()),
      timesteps_(registry_.path("t_embedder.0", "")),
      time_in_(registry_, registry_.path("t_embedder.1", "linear_1"), widths_.hidden,
               widths_.hidden, Bias::No),
      time_act_(registry_.path("t_embedder.1", "activation")),
      time_out_(registry_, registry_.path("t_embedder.1", "linear_2"), widths_.hidden,
                kModulations * widths_.hidden, Bias::No),
      patch_cut_(registry_.path("x_embedder", "proj.0")),
      patch_proj_(
          registry_, registry_.path("x_embedder", "proj.1"),
          (c.in_channels + std::int64_t{1}) * c.patch_spatial * c.patch_spatial * c.patch_temporal,
          widths_.hidden, Bias::No),
      blocks_([&] {
          std::vector<CosmosBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_blocks));
          for (int i = 0; i < c.num_blocks; ++i)
              blocks.emplace_back(registry_, fmt::format("blocks.{}", i), widths_);
          return blocks;
      }()),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "layer_norm"), widths_.hidden,
                  Affine::No),
      final_linear_(
          registry_, registry_.path("final_layer", "linear"), widths_.hidden,
          std::int64_t{c.out_channels} * c.patch_spatial * c.patch_spatial * c.patch_temporal,
          Bias::No),
      final_modulation_(registry_, *registry_.path("final_layer", "adaln_modulation"), widths_,
                        kModulationsFinal),
      time_norm_(registry_, registry_.path("t_embedding_norm", ""), widths_.hidden) {
    if (is_anima()) add_anima_adapter(registry_, "llm_adapter");
}

Prediction CosmosPredict2Network::prediction() const {
    return is_anima() ? Prediction::FlowScaled : Prediction::FlowCosmos;
}

std::vector<ModuleEntry> CosmosPredict2Network::model_buffers() const {
    return {sigma_table(is_anima() ? kSigmasFlow : kSigmasEdm)};
}

StepInputs CosmosPredict2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const std::int64_t latent = config_.out_channels;
    const std::int64_t more = config_.in_channels - latent;
    const auto cells = [&](std::int64_t channels) {
        return Shape{wish.batch, channels, call.latent_frames, call.latent_height,
                     call.latent_width};
    };
    StepInputs in;
    in.x = tape.input(cells(wish.joined ? latent + more : latent), wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, widths_.context}, wish.type);
    if (more > 0 && !wish.joined) in.concat = tape.input(cells(more), wish.type);
    return in;
}

Tensor CosmosPredict2Network::embed_patches(Tape& tape, const Tensor& masked) const {
    const Shape& s = masked.shape();
    const std::int64_t p = config_.patch_spatial;
    const std::int64_t pt = config_.patch_temporal;
    const Shape grid{s[0], s[2] / pt, s[3] / p, s[4] / p, s[1] * pt * p * p};
    const Tensor patches =
        ghost::clone(tape, patch_cut_, masked, {s[0], grid[1], grid[2], grid[3], s[1], pt, p, p});
    return patch_proj_.forward(tape, patches.view(grid));
}

// For every position a 2 x 2 rotation for each pair of channels, in fp32, the same for all latents.
Tensor CosmosPredict2Network::embed_positions(Tape& tape, const Shape& tokens) const {
    const RotaryPairs pairs = rotary_pairs(widths_.head_dim);
    const ElementType f32 = ElementType::Float32;
    const auto frequencies = [&](std::int64_t n) {
        // Of the exponents, which are the module's buffers.
        const Tensor power = tape.make({n}, f32, "pow", pos_);
        tape.charge(OpClass::Elementwise, "pow", pos_, 0, 2 * power.bytes());
        const Tensor inverse = ghost::unary(tape, "reciprocal", pos_, power);
        return ghost::unary(tape, "mul", pos_, inverse);
    };
    const Tensor row_frequencies = frequencies(pairs.space);
    const Tensor column_frequencies = frequencies(pairs.space);
    const Tensor time_frequencies = frequencies(pairs.time);
    const std::int64_t frames = tokens[1];
    const std::int64_t rows = tokens[2];
    const std::int64_t columns = tokens[3];
    const Tensor places =
        ghost::create(tape, "arange", pos_, {std::max({frames, rows, columns})}, f32);
    const auto outer = [&](std::int64_t n, const Tensor& of) {
        const Tensor own = places.view({n});
        return ghost::combine(tape, "mul", pos_, {&own, &of}, {n, of.elements()}, f32);
    };
    const auto rotations = [&](Tensor& angles) {
        const Tensor cos = ghost::unary(tape, "cos", pos_, angles);
        const Tensor minus_sin = [&] {
            const Tensor sin = ghost::unary(tape, "sin", pos_, angles);
            return ghost::unary(tape, "neg", pos_, sin);
        }();
        const Tensor sin = ghost::unary(tape, "sin", pos_, angles);
        const Tensor cos_again = ghost::unary(tape, "cos", pos_, angles);
        const Shape& s = angles.shape();
        angles = ghost::combine(tape, "stack", pos_, {&cos, &minus_sin, &sin, &cos_again},
                                {s[0], s[1], 4}, f32);
    };
    Tensor by_row = outer(rows, row_frequencies);
    Tensor by_column = outer(columns, column_frequencies);
    Tensor by_time = outer(frames, time_frequencies);
    for (Tensor* axis : {&by_row, &by_column, &by_time}) rotations(*axis);
    // Each axis seen from every position: views.
    return ghost::combine(tape, "cat", pos_, {&by_time, &by_row, &by_column},
                          {frames * rows * columns, widths_.head_dim / 2, 4}, f32);
}

CosmosPredict2Network::Embedded CosmosPredict2Network::embed(Tape& tape,
                                                             const Tensor& latent) const {
    const Shape& s = latent.shape();
    const Tensor mask = ghost::create(tape, "zeros", root_, {s[0], 1, s[3], s[4]}, latent.type());
    const Tensor masked = [&] {
        const Tensor repeated =
            ghost::produce(tape, OpClass::Copy, "repeat", root_, mask, s.with(1, 1), latent.type());
        return ghost::cat(tape, root_, std::array<Tensor, 2>{latent, repeated}, 1);
    }();
    Embedded out;
    out.x = embed_patches(tape, masked);
    out.pe = embed_positions(tape, out.x.shape());
    return out;
}

CosmosPredict2Network::Timestep CosmosPredict2Network::embed_timestep(Tape& tape,
                                                                      const Tensor& timesteps,
                                                                      ElementType type) const {
    const std::int64_t batch = timesteps.elements();
    const std::int64_t half = widths_.hidden / 2;
    const ElementType f32 = ElementType::Float32;
    Tensor waves = [&] {
        const Tensor exponent = [&] {
            const Tensor product = [&] {
                const Tensor steps = ghost::create(tape, "arange", timesteps_, {half}, f32);
                return ghost::unary(tape, "mul", timesteps_, steps);
            }();
            return ghost::unary(tape, "div", timesteps_, product);
        }();
        const Tensor angles = [&] {
            const Tensor frequencies = ghost::unary(tape, "exp", timesteps_, exponent);
            return ghost::combine(tape, "mul", timesteps_, {&timesteps, &frequencies},
                                  {batch, half}, f32);
        }();
        const Tensor sin = ghost::unary(tape, "sin", timesteps_, angles);
        const Tensor cos = ghost::unary(tape, "cos", timesteps_, angles);
        return ghost::cat(tape, timesteps_, std::array<Tensor, 2>{cos, sin}, 1);
    }();
    Timestep out;
    out.emb = ghost::to_type(tape, root_, waves.view({batch, 1, widths_.hidden}), type);
    waves = {};
    const Tensor active = [&] {
        const Tensor hidden = time_in_.forward(tape, out.emb);
        return ghost::unary(tape, "silu", time_act_, hidden);
    }();
    out.modulation = time_out_.forward(tape, active);
    return out;
}

Tensor CosmosPredict2Network::forward_final(Tape& tape, const Tensor& x,
                                            const CosmosBlock::Shared& shared) const {
    const Tensor modulation = final_modulation_.forward(
        tape, final_, shared.emb,
        shared.modulation.view({x.shape()[0], 1, kModulationsFinal * widths_.hidden}));
    const Tensor own = modulated(tape, final_, final_norm_, x, modulation);
    return final_linear_.forward(tape, own);
}

Tensor CosmosPredict2Network::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t p = config_.patch_spatial;
    const std::int64_t pt = config_.patch_temporal;
    Tensor latent = in.x;
    if (since_033(tape)) latent = pad_to_patches(tape, root_, latent, p);
    auto [x, pe] = embed(tape, latent);
    CosmosBlock::Shared shared;
    shared.context = in.context;
    shared.pe = std::move(pe);
    {
        Timestep timestep = embed_timestep(tape, in.timesteps, x.type());
        shared.modulation = std::move(timestep.modulation);
        shared.emb = std::move(timestep.emb);
    }
    shared.emb = time_norm_.forward(tape, shared.emb);
    if (!since_033(tape)) tape.keep(shared.emb);  // for the log that the network keeps of itself
    if (since_033(tape) && x.type() == ElementType::Float16)
        x = ghost::to_type(tape, root_, x, ElementType::Float32);  // between the blocks
    const std::unique_ptr<PatchRun> patch = begin_patch(tape, in);
    shared.patch = patch.get();
    for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].forward(tape, x, shared, i);

    const Tensor out = [&] {
        const Tensor narrow = ghost::to_type(tape, root_, x, shared.context.type());
        return forward_final(tape, narrow, shared);
    }();
    const Shape& grid = x.shape();
    return ghost::clone(tape, root_, out,
                        {grid[0], config_.out_channels, grid[1], pt, grid[2], p, grid[3], p})
        .view({grid[0], config_.out_channels, grid[1] * pt, grid[2] * p, grid[3] * p});
}

Result<std::shared_ptr<const CosmosPredict2Network>> build_cosmos_predict2(
    const modelfile::CosmosPredict2Config& c) {
    const bool sound =
        within(c.in_channels, 1, kWidthMax) && within(c.out_channels, 1, c.in_channels) &&
        within(c.patch_spatial, 1, kPatchMax) && c.patch_temporal == 1 &&
        within(c.model_channels, 1, kWidthMax) && within(c.num_heads, 1, c.model_channels) &&
        c.model_channels % c.num_heads == 0 && c.model_channels / c.num_heads % 2 == 0 &&
        within(c.num_blocks, 0, kDepthMax) && c.mlp_ratio > 0 && c.mlp_ratio <= kMlpRatioMax &&
        within(c.crossattn_emb_channels, 1, kWidthMax) && within(c.adaln_lora_dim, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Cosmos-Predict2 of width {} with {} heads, {} blocks and patches "
                                "of {} x {} x {} cannot be",
                                c.model_channels, c.num_heads, c.num_blocks, c.patch_temporal,
                                c.patch_spatial, c.patch_spatial));
    const bool known = c.concat_padding_mask && c.use_adaln_lora &&
                       !c.extra_per_block_abs_pos_emb && c.pos_emb_cls == "rope3d" &&
                       (c.image_model == "cosmos_predict2" || c.image_model == "anima");
    if (!known)
        return fail(Errc::NotFound,
                    "of Cosmos-Predict2 only the networks with padding mask, low-rank modulation "
                    "and rotary positions are simulated");
    return std::make_shared<const CosmosPredict2Network>(c);
}

}  // namespace plimsoll::memory
