// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/flux.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;       // of the sinusoids
constexpr std::int64_t kSigmas = 10'000;           // of ComfyUI's shifted flow schedule
constexpr std::int64_t kSigmasUndistilled = 1000;  // of its plain one
// Chosen: far above any published network.
constexpr std::int64_t kWidthMax = 1 << 16;
constexpr std::int64_t kDepthMax = 512;
constexpr std::int64_t kPatchMax = 64;
constexpr double kMlpRatioMax = 64;

// One of the equal parts that a modulation is cut into: a view.
Tensor part(const Tensor& modulation, std::int64_t width) {
    return modulation.view({modulation.shape()[0], 1, width});
}

// [N, tokens, 3 x heads x dim] as one of q, k, v: [N, heads, tokens, dim], a view.
Tensor head_view(const Tensor& qkv, const FluxWidths& w) {
    return qkv.view({qkv.shape()[0], w.heads, qkv.shape()[1], w.hidden / w.heads});
}

// What fp16 cannot hold is clipped.
Tensor without_infinities(Tape& tape, Module module, const Tensor& x) {
    return x.type() == ElementType::Float16 ? ghost::unary(tape, "nan_to_num", module, x) : x;
}

}  // namespace

QkNorm::QkNorm(Registry& r, std::string_view path, std::int64_t head_dim)
    : query_(r, r.path(path, "query_norm"), head_dim),
      key_(r, r.path(path, "key_norm"), head_dim) {}

FluxModulation::FluxModulation(Registry& r, std::string_view path, std::int64_t width, int sets)
    : path_(r.path(path, "")), lin_(r, r.path(path, "lin"), width, 3 * sets * width) {}

Tensor FluxModulation::forward(Tape& tape, const Tensor& vec) const {
    const Tensor active = ghost::unary(tape, "silu", path_, vec);
    const Tensor out = lin_.forward(tape, active);
    return out.view({out.shape()[0], 1, out.shape().last()});
}

FluxDoubleBlock::Stream FluxDoubleBlock::make_stream(Registry& r, std::string_view path,
                                                     std::string_view name, const FluxWidths& w) {
    const auto at = [&](std::string_view rest) {
        return r.path(path, fmt::format("{}_{}", name, rest));
    };
    const Bias bias = w.qkv_bias ? Bias::Yes : Bias::No;
    FluxModulation mod(r, *at("mod"), w.hidden, 2);
    LayerNorm norm1(r, at("norm1"), w.hidden, Affine::No);
    Linear qkv(r, at("attn.qkv"), w.hidden, 3 * w.hidden, bias);
    QkNorm norm(r, *at("attn.norm"), w.hidden / w.heads);
    Linear proj(r, at("attn.proj"), w.hidden, w.hidden);
    LayerNorm norm2(r, at("norm2"), w.hidden, Affine::No);
    Linear mlp_in(r, at("mlp.0"), w.hidden, w.mlp);
    Linear mlp_out(r, at("mlp.2"), w.mlp, w.hidden);
    return {std::move(mod),   std::move(norm1),  std::move(qkv), std::move(norm),   std::move(proj),
            std::move(norm2), std::move(mlp_in), at("mlp.1"),    std::move(mlp_out)};
}

FluxDoubleBlock::FluxDoubleBlock(Registry& r, std::string_view path, const FluxWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      img_(make_stream(r, path, "img", w)),
      txt_(make_stream(r, path, "txt", w)) {}

// What a stream brings to the joint attention. Its modulated input lives on in the caller's frame
// up to 0.3.64.
struct StreamAttention {
    Tensor modulation;
    Tensor modulated;
    Tensor q;
    Tensor k;
    Tensor v;
};

void FluxDoubleBlock::forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& vec,
                              const Tensor& pe) const {
    const bool newer = since_033(tape);
    const std::int64_t width = widths_.hidden;
    const Tensor callers_img = img;
    const Tensor img_mod = img_.mod.forward(tape, vec);
    const Tensor txt_mod = txt_.mod.forward(tape, vec);

    const auto prepare = [&](const Stream& s, const Tensor& x, const Tensor& mod) {
        StreamAttention a;
        {
            const Tensor normal = s.norm1.forward(tape, x);
            a.modulated = modulate(tape, path_, normal, part(mod, width), part(mod, width));
        }
        const Tensor qkv = s.qkv.forward(tape, a.modulated);
        if (newer) a.modulated = {};
        const Tensor heads = head_view(qkv, widths_);
        a.v = heads;
        a.q = s.norm.query(tape, heads);
        a.k = s.norm.key(tape, heads);
        return a;
    };
    StreamAttention ia = prepare(img_, img, img_mod);
    StreamAttention ta = prepare(txt_, txt, txt_mod);

    const std::int64_t txt_tokens = txt.shape()[1];
    Tensor attn = [&] {
        Tensor q;
        Tensor k;
        Tensor v;
        const auto join = [&](Tensor& t, Tensor& i) {
            const std::array<Tensor, 2> both = {t, i};
            return ghost::cat(tape, path_, both, 2);
        };
        q = join(ta.q, ia.q);
        if (newer) ta.q = ia.q = {};
        k = join(ta.k, ia.k);
        if (newer) ta.k = ia.k = {};
        v = join(ta.v, ia.v);
        if (newer) ta.v = ia.v = {};
        const Rotated rotated = apply_rope(tape, path_, std::move(q), std::move(k), pe);
        const Shape& s = v.shape();
        const Tensor out = ghost::attention(
            tape, path_, rotated.q, rotated.k, v,
            {.batch = s[0], .heads = s[1], .queries = s[2], .keys = s[2], .head_dim = s[3]});
        // One recorder lays the result out head by head, as q is, the others token by token.
        if (tape.options().casts_included) return out.view({s[0], s[2], width});
        return ghost::clone(tape, path_, out, {s[0], s[2], s[1], s[3]}).view({s[0], s[2], width});
    }();
    const std::int64_t batch = img.shape()[0];
    const Tensor txt_attn = attn.view({batch, txt_tokens, width});
    const Tensor img_attn = attn.view({batch, img.shape()[1], width});

    const auto add_gated = [&](Tensor& x, Tensor update, const Tensor& mod, bool in_place) {
        const Tensor gated = ghost::binary(tape, "mul", path_, update, part(mod, width));
        update = {};
        if (in_place)
            ghost::binary_in_place(tape, "add_", path_, x, gated);
        else
            x = ghost::binary(tape, "add", path_, x, gated);
    };
    const auto feed_forward = [&](const Stream& s, const Tensor& x, const Tensor& mod) {
        const Tensor modulated = [&] {
            const Tensor normal = s.norm2.forward(tape, x);
            return modulate(tape, path_, normal, part(mod, width), part(mod, width));
        }();
        const Tensor hidden = [&] {
            const Tensor in = s.mlp_in.forward(tape, modulated);
            return ghost::unary(tape, "gelu", s.mlp_act, in);
        }();
        return s.mlp_out.forward(tape, hidden);
    };
    add_gated(img, img_.proj.forward_slice(tape, img_attn), img_mod, newer);
    add_gated(img, feed_forward(img_, img, img_mod), img_mod, newer);
    add_gated(txt, txt_.proj.forward_slice(tape, txt_attn), txt_mod, true);
    add_gated(txt, feed_forward(txt_, txt, txt_mod), txt_mod, true);
    txt = without_infinities(tape, path_, txt);
}

FluxSingleBlock::FluxSingleBlock(Registry& r, std::string_view path, const FluxWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      linear1_(r, r.path(path, "linear1"), w.hidden, 3 * w.hidden + w.mlp),
      linear2_(r, r.path(path, "linear2"), w.hidden + w.mlp, w.hidden),
      norm_(r, *r.path(path, "norm"), w.hidden / w.heads),
      pre_norm_(r, r.path(path, "pre_norm"), w.hidden, Affine::No),
      act_(r.path(path, "mlp_act")),
      modulation_(r, *r.path(path, "modulation"), w.hidden, 1) {}

void FluxSingleBlock::forward(Tape& tape, Tensor& x, const Tensor& vec, const Tensor& pe) const {
    const bool newer = since_033(tape);
    const std::int64_t width = widths_.hidden;
    const Tensor mod = modulation_.forward(tape, vec);
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    Tensor both;
    {
        const Tensor modulated = [&] {
            const Tensor normal = pre_norm_.forward(tape, x);
            return modulate(tape, path_, normal, part(mod, width), part(mod, width));
        }();
        both = linear1_.forward(tape, modulated);
    }
    const std::int64_t head_dim = width / widths_.heads;
    Tensor v = both.view({batch, widths_.heads, tokens, head_dim});
    Tensor q = norm_.query(tape, v);
    Tensor k = norm_.key(tape, v);
    Tensor attn;
    {
        const Rotated rotated = apply_rope(tape, path_, q, k, pe);
        attn = ghost::attention(tape, path_, rotated.q, rotated.k, v,
                                {.batch = batch,
                                 .heads = widths_.heads,
                                 .queries = tokens,
                                 .keys = tokens,
                                 .head_dim = head_dim});
        // The attention's result is laid out as q is. Head by head it must be copied: so the fused
        // kernels write it, and so it is multiplied with a table that differs over the batch.
        const ghost::TapeOptions& kernels = tape.options();
        if (kernels.fused_rope || kernels.fused_rms_norm)
            attn = ghost::clone(tape, path_, attn, {batch, tokens, width});
    }
    if (newer) q = k = {};
    // The output lives on in the caller's frame while its gated copy is added.
    const Tensor out = [&] {
        const Tensor joined = [&] {
            const std::array<Tensor, 2> parts = {
                attn.view({batch, tokens, width}),
                ghost::unary(tape, "gelu", act_, both.view({batch, tokens, widths_.mlp}))};
            if (newer) both = v = {};
            return ghost::cat(tape, path_, parts, 2);
        }();
        return linear2_.forward(tape, joined);
    }();
    const Tensor gated = ghost::binary(tape, "mul", path_, out, part(mod, width));
    ghost::binary_in_place(tape, "add_", path_, x, gated);
    x = without_infinities(tape, path_, x);
}

FluxNetwork::FluxNetwork(const modelfile::FluxConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
              .qkv_bias = c.qkv_bias},
      root_(registry_.path("", "")),
      pe_(registry_.path("pe_embedder", "")),
      img_in_(registry_, registry_.path("img_in", ""),
              std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.hidden_size),
      time_in_(registry_, "time_in", kTimestepWidth, c.hidden_size),
      vector_in_(c.vec_in_dim > 0
                     ? std::optional<MlpEmbedder>(std::in_place, registry_, "vector_in",
                                                  c.vec_in_dim, c.hidden_size)
                     : std::nullopt),
      guidance_in_(c.guidance_embed
                       ? std::optional<MlpEmbedder>(std::in_place, registry_, "guidance_in",
                                                    kTimestepWidth, c.hidden_size)
                       : std::nullopt),
      txt_in_(registry_, registry_.path("txt_in", ""), c.context_in_dim, c.hidden_size),
      double_blocks_([&] {
          std::vector<FluxDoubleBlock> blocks;
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("double_blocks.{}", i), widths_);
          return blocks;
      }()),
      single_blocks_([&] {
          std::vector<FluxSingleBlock> blocks;
          for (int i = 0; i < c.depth_single_blocks; ++i)
              blocks.emplace_back(registry_, fmt::format("single_blocks.{}", i), widths_);
          return blocks;
      }()),
      final_(registry_.path("final_layer", "")),
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.hidden_size,
                    std::int64_t{c.out_channels} * c.patch_size * c.patch_size),
      final_silu_(registry_.path("final_layer", "adaLN_modulation.0")),
      final_modulation_(registry_, registry_.path("final_layer", "adaLN_modulation.1"),
                        c.hidden_size, 2 * std::int64_t{c.hidden_size}),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), c.hidden_size,
                  Affine::No) {}

StepInputs FluxNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    // Beyond the latent: a mask and what it hides (Fill), or a control image.
    const std::int64_t latent = config_.out_channels;
    const std::int64_t more = config_.in_channels - latent;
    StepInputs in;
    in.x = tape.input(
        {wish.batch, wish.joined ? latent + more : latent, call.latent_height, call.latent_width},
        wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    if (vector_in_) in.y = tape.input({wish.cond_batch, config_.vec_in_dim}, wish.type);
    if (guidance_in_) in.guidance = tape.input({wish.cond_batch}, wish.type);
    if (more > 0 && !wish.joined)
        in.concat =
            tape.input({wish.batch, more, call.latent_height, call.latent_width}, wish.type);
    for (const LatentExtent& reference : call.references)
        in.references.push_back(
            tape.input({wish.cond_batch, latent, reference.height, reference.width}, wish.type));
    return in;
}

std::vector<ModuleEntry> FluxNetwork::model_buffers() const {
    return {sigma_table(guidance_in_ ? kSigmas : kSigmasUndistilled)};
}

// The vector of timestep, guidance and pooled text.
Tensor FluxNetwork::embed_condition(Tape& tape, const StepInputs& in) const {
    const auto embed = [&](const MlpEmbedder& embedder, const Tensor& t) {
        Tensor waves = [&] {
            const Tensor scaled = ghost::unary(tape, "mul", root_, t);
            return timestep_embedding(tape, root_, scaled, kTimestepWidth, t.type());
        }();
        waves = ghost::to_type(tape, root_, waves, in.x.type());
        return embedder.forward(tape, waves);
    };
    Tensor vec = embed(time_in_, in.timesteps);
    if (guidance_in_ && in.guidance.defined()) {
        const Tensor guidance = embed(*guidance_in_, in.guidance);
        vec = ghost::binary(tape, "add", root_, vec, guidance);
    }
    if (vector_in_) vec = ghost::binary(tape, "add", root_, vec, vector_in_->forward(tape, in.y));
    return vec;
}

namespace {

// Positions: in fp32 since 0.33.0, before that in the latents' type.
ElementType ids_type(const Tape& tape, const Tensor& like) {
    return since_033(tape) ? ElementType::Float32 : like.type();
}

// Positions of the tokens of an image, [N, tokens, 3], written axis by axis.
Tensor image_ids(Tape& tape, Module module, const Tensor& like, std::int64_t rows,
                 std::int64_t columns) {
    const ElementType type = ids_type(tape, like);
    const Tensor grid = ghost::create(tape, "zeros", module, {rows, columns, 3}, type);
    const auto write = [&](const Tensor& axis) {
        ghost::binary_in_place(tape, "copy_", module, axis, axis);
    };
    write(ghost::produce(tape, OpClass::Elementwise, "add", module, grid, {rows, columns}, type));
    for (const std::int64_t length : {rows, columns}) {
        const Tensor axis = [&] {
            const Tensor positions = ghost::create(tape, "linspace", module, {length}, type);
            return ghost::combine(tape, "add", module, {&positions, &grid}, {rows, columns}, type);
        }();
        write(axis);
    }
    return grid.view({like.shape()[0], rows * columns, 3});  // expanded over the batch, not copied
}

}  // namespace

Tensor FluxNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t rows = (in.x.shape()[2] + patch - 1) / patch;
    const std::int64_t columns = (in.x.shape()[3] + patch - 1) / patch;
    const std::int64_t image_tokens = rows * columns;

    const auto process = [&](const Tensor& latent) {
        const Tensor padded = pad_to_patches(tape, root_, latent, patch);
        return std::pair{
            to_tokens(tape, root_, padded, patch),
            image_ids(tape, root_, latent, padded.shape()[2] / patch, padded.shape()[3] / patch)};
    };
    auto [img, img_ids] = process(in.x);
    std::pair<Tensor, Tensor> last;  // the loop's variables outlive it
    for (const Tensor& reference : in.references) {
        last = process(reference);
        const auto& [tokens, ids] = last;
        img = ghost::cat(tape, root_, std::array<Tensor, 2>{img, tokens}, 1);
        img_ids = ghost::cat(tape, root_, std::array<Tensor, 2>{img_ids, ids}, 1);
    }
    const Tensor txt_ids = ghost::create(tape, "zeros", root_, {batch, in.context.shape()[1], 3},
                                         ids_type(tape, in.x));
    const Tensor out = forward_tokens(tape, in, img, img_ids, txt_ids);
    return from_tokens(tape, root_, out.view({batch, image_tokens, out.shape().last()}),
                       config_.out_channels, rows, columns, patch);
}

// Between patches and patches: all of [N, image and reference tokens, channels]. The patches live
// on in the caller's frame.
Tensor FluxNetwork::forward_tokens(Tape& tape, const StepInputs& in, const Tensor& patches,
                                   const Tensor& img_ids, const Tensor& txt_ids) const {
    Tensor img = img_in_.forward(tape, patches);
    const Tensor vec = embed_condition(tape, in);
    Tensor txt = txt_in_.forward(tape, in.context);
    const Tensor ids = ghost::cat(tape, root_, std::array<Tensor, 2>{txt_ids, img_ids}, 1);
    const Tensor pe = rope_table(tape, pe_, ids, config_.axes_dim);
    for (const FluxDoubleBlock& block : double_blocks_) block.forward(tape, img, txt, vec, pe);
    {
        const std::array<Tensor, 2> both = {txt, std::move(img)};
        img = ghost::cat(tape, root_, both, 1);
    }
    for (const FluxSingleBlock& block : single_blocks_) block.forward(tape, img, vec, pe);
    return forward_final(tape, img.view({img.shape()[0], patches.shape()[1], config_.hidden_size}),
                         vec);
}

Tensor FluxNetwork::forward_final(Tape& tape, const Tensor& own, const Tensor& vec) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_silu_, vec);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor modulated = [&] {
        const Tensor normal = final_norm_.forward(tape, own);
        const Tensor shift = modulation.view({own.shape()[0], 1, config_.hidden_size});
        return modulate(tape, final_, normal, shift, shift);
    }();
    return final_linear_.forward(tape, modulated);
}

Result<std::shared_ptr<const Denoiser>> build_flux(const modelfile::FluxConfig& c) {
    const auto within = [](std::int64_t value, std::int64_t low, std::int64_t high) {
        return value >= low && value <= high;
    };
    std::int64_t rotated = 0;
    for (const int dim : c.axes_dim) rotated += dim > 0 && dim % 2 == 0 ? dim : -kWidthMax;
    const bool sound =
        within(c.in_channels, 1, kWidthMax) && within(c.out_channels, 1, c.in_channels) &&
        within(c.patch_size, 1, kPatchMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.num_heads, 1, c.hidden_size) && c.hidden_size % c.num_heads == 0 &&
        c.mlp_ratio > 0 && c.mlp_ratio <= kMlpRatioMax && within(c.depth, 0, kDepthMax) &&
        within(c.depth_single_blocks, 0, kDepthMax) && within(c.context_in_dim, 1, kWidthMax) &&
        within(c.vec_in_dim, 0, kWidthMax) && rotated == c.hidden_size / c.num_heads;
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("Flux of width {} with {} heads, {} + {} blocks and patches of {} "
                        "cannot be",
                        c.hidden_size, c.num_heads, c.depth, c.depth_single_blocks, c.patch_size));
    return std::make_shared<const FluxNetwork>(c);
}

}  // namespace plimsoll::memory
