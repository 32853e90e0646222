// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/qwen_image.h"

#include "memory/networks/limits.h"
#include "memory/networks/model_patch.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 10'000;      // of ComfyUI's shifted flow schedule
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kLayeredKinds = 2;
constexpr std::string_view kTimestepZero = "index_timestep_zero";
constexpr int kModulations = 6;  // shift, scale and gate around attention and feed-forward

Shape with_tokens(const Tensor& x, std::int64_t tokens) {
    return x.shape().with(1, tokens);
}

}  // namespace

QwenAttention::QwenAttention(Registry& r, std::string_view path, const QwenWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      norm_q_(r, r.path(path, "norm_q"), w.head_dim),
      norm_k_(r, r.path(path, "norm_k"), w.head_dim),
      norm_added_q_(r, r.path(path, "norm_added_q"), w.head_dim),
      norm_added_k_(r, r.path(path, "norm_added_k"), w.head_dim),
      to_q_(r, r.path(path, "to_q"), w.hidden, w.hidden),
      to_k_(r, r.path(path, "to_k"), w.hidden, w.hidden),
      to_v_(r, r.path(path, "to_v"), w.hidden, w.hidden),
      add_q_(r, r.path(path, "add_q_proj"), w.hidden, w.hidden),
      add_k_(r, r.path(path, "add_k_proj"), w.hidden, w.hidden),
      add_v_(r, r.path(path, "add_v_proj"), w.hidden, w.hidden),
      to_out_(r, r.path(path, "to_out.0"), w.hidden, w.hidden),
      to_add_out_(r, r.path(path, "to_add_out"), w.hidden, w.hidden) {}

// Since 0.33.0 head by head, for which queries and keys are copied; values only once they are
// joined.
QwenAttention::Heads QwenAttention::project(Tape& tape, const Linear& q, const Linear& k,
                                            const Linear& v, const Tensor& x) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const bool by_head = since_033(tape);
    const Shape heads = by_head ? Shape{batch, widths_.heads, tokens, widths_.head_dim}
                                : Shape{batch, tokens, widths_.heads, widths_.head_dim};
    const auto in_heads = [&](const Linear& linear, bool copied) {
        const Tensor out = linear.forward(tape, x);
        return copied ? ghost::clone(tape, path_, out, heads) : out.view(heads);
    };
    Heads projected;
    projected.q = in_heads(q, by_head);
    projected.k = in_heads(k, by_head);
    projected.v = in_heads(v, false);
    return projected;
}

// Every variable of the Python function lives until it returns.
QwenAttention::Streams QwenAttention::forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                              const Tensor& table) const {
    Heads i = project(tape, to_q_, to_k_, to_v_, img);
    Heads t = project(tape, add_q_, add_k_, add_v_, txt);
    i.q = norm_q_.forward(tape, i.q);
    i.k = norm_k_.forward(tape, i.k);
    t.q = norm_added_q_.forward(tape, t.q);
    t.k = norm_added_k_.forward(tape, t.k);

    const auto join = [&](const Tensor& text, const Tensor& image) {
        const std::array<Tensor, 2> both = {text, image};
        return ghost::cat(tape, path_, both, since_033(tape) ? 2 : 1);
    };
    Tensor q = join(t.q, i.q);
    Tensor k = join(t.k, i.k);
    const Tensor v = join(t.v, i.v);
    q = apply_rope(tape, path_, q, table);
    k = apply_rope(tape, path_, k, table);

    const std::int64_t batch = img.shape()[0];
    const std::int64_t tokens = txt.shape()[1] + img.shape()[1];
    const Tensor out = ghost::attention(tape, path_, q, k, v,
                                        {.batch = batch,
                                         .heads = widths_.heads,
                                         .queries = tokens,
                                         .keys = tokens,
                                         .head_dim = widths_.head_dim});
    Streams streams;
    streams.img = to_out_.forward_slice(tape, out.view(img.shape()));
    streams.txt = to_add_out_.forward_slice(tape, out.view(txt.shape()));
    return streams;
}

QwenBlock::Stream QwenBlock::make_stream(Registry& r, std::string_view path, std::string_view name,
                                         const QwenWidths& w) {
    const auto at = [&](std::string_view rest) {
        return r.path(path, fmt::format("{}_{}", name, rest));
    };
    Linear mod(r, at("mod.1"), w.hidden, kModulations * w.hidden);
    LayerNorm norm1(r, at("norm1"), w.hidden, Affine::No);
    LayerNorm norm2(r, at("norm2"), w.hidden, Affine::No);
    Linear mlp_in(r, at("mlp.net.0.proj"), w.hidden, kMlpRatio * w.hidden);
    Linear mlp_out(r, at("mlp.net.2"), kMlpRatio * w.hidden, w.hidden);
    return {at("mod.0"), mod, norm1, norm2, mlp_in, at("mlp.net.0"), mlp_out};
}

QwenBlock::QwenBlock(Registry& r, std::string_view path, const QwenWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      img_(make_stream(r, path, "img", w)),
      txt_(make_stream(r, path, "txt", w)),
      attn_(r, *r.path(path, "attn"), w) {}

Tensor QwenBlock::modulation(Tape& tape, const Stream& stream, const Tensor& time) {
    const Tensor active = ghost::unary(tape, "silu", stream.mod_act, time);
    return stream.mod.forward(tape, active);
}

Tensor QwenBlock::feed_forward(Tape& tape, const Stream& stream, const Tensor& x) {
    const Tensor hidden = [&] {
        const Tensor in = stream.mlp_in.forward(tape, x);
        return ghost::unary(tape, "gelu", stream.mlp_act, in);
    }();
    return stream.mlp_out.forward(tape, hidden);
}

Tensor QwenBlock::modulate(Tape& tape, const Tensor& x, const Tensor& mod,
                           std::int64_t split) const {
    const Tensor part = mod.view({x.shape()[0], 1, widths_.hidden});
    if (split == 0) return memory::modulate(tape, path_, x, part, part);
    const auto modulated = [&](std::int64_t tokens) {
        return memory::modulate(tape, path_, x.view(with_tokens(x, tokens)), part, part);
    };
    const Tensor own = modulated(split);
    const Tensor references = modulated(x.shape()[1] - split);
    return ghost::cat(tape, path_, std::array<Tensor, 2>{own, references}, 1);
}

Tensor QwenBlock::add_gated(Tape& tape, const Tensor& x, const Tensor& update, const Tensor& mod,
                            std::int64_t split) const {
    const Tensor gate = mod.view({x.shape()[0], 1, widths_.hidden});
    if (split == 0)
        return ghost::combine(tape, "addcmul", path_, {&x, &gate, &update}, x.shape(), x.type());
    const Tensor gated = [&] {
        const auto product = [&](std::int64_t tokens) {
            return ghost::binary(tape, "mul", path_, update.view(with_tokens(update, tokens)),
                                 gate);
        };
        const Tensor own = product(split);
        const Tensor references = product(update.shape()[1] - split);
        return ghost::cat(tape, path_, std::array<Tensor, 2>{own, references}, 1);
    }();
    return ghost::binary(tape, "add", path_, x, gated);
}

void QwenBlock::forward(Tape& tape, Tensor& img, Tensor& txt,
                        const QwenCondition& condition) const {
    if (since_033(tape))
        forward_33000(tape, img, txt, condition);
    else
        forward_3064(tape, img, txt, condition);
}

// The streams live on in the caller's variables until the block returns; so does every variable of
// the block.
void QwenBlock::forward_3064(Tape& tape, Tensor& img, Tensor& txt,
                             const QwenCondition& condition) const {
    const Tensor callers_img = img;
    const Tensor callers_txt = txt;
    const Tensor img_mod = modulation(tape, img_, condition.timestep);
    const Tensor txt_mod = modulation(tape, txt_, condition.timestep);
    const Tensor img_normal = img_.norm1.forward(tape, img);
    const Tensor img_modulated = modulate(tape, img_normal, img_mod, 0);
    const Tensor txt_normal = txt_.norm1.forward(tape, txt);
    const Tensor txt_modulated = modulate(tape, txt_normal, txt_mod, 0);
    const QwenAttention::Streams attention =
        attn_.forward(tape, img_modulated, txt_modulated, condition.table);

    const auto add_attention = [&](Tensor& x, const Tensor& update, const Tensor& mod) {
        const Tensor gate = mod.view({x.shape()[0], 1, widths_.hidden});
        const Tensor gated = ghost::binary(tape, "mul", path_, update, gate);
        x = ghost::binary(tape, "add", path_, x, gated);
    };
    add_attention(img, attention.img, img_mod);
    add_attention(txt, attention.txt, txt_mod);

    const Tensor img_normal2 = img_.norm2.forward(tape, img);
    const Tensor img_modulated2 = modulate(tape, img_normal2, img_mod, 0);
    img = add_gated(tape, img, feed_forward(tape, img_, img_modulated2), img_mod, 0);
    const Tensor txt_normal2 = txt_.norm2.forward(tape, txt);
    const Tensor txt_modulated2 = modulate(tape, txt_normal2, txt_mod, 0);
    txt = add_gated(tape, txt, feed_forward(tape, txt_, txt_modulated2), txt_mod, 0);
}

void QwenBlock::forward_33000(Tape& tape, Tensor& img, Tensor& txt,
                              const QwenCondition& condition) const {
    const Tensor callers_img = img;
    const Tensor callers_txt = txt;
    const std::int64_t split = condition.zero_time ? condition.own : 0;
    const Tensor img_mod = modulation(tape, img_, condition.timestep);
    // Text is of the timestep itself.
    const Tensor txt_mod = modulation(
        tape, txt_, condition.timestep.view({img.shape()[0], condition.timestep.shape().last()}));

    const auto prepare = [&](const LayerNorm& norm, const Tensor& x, const Tensor& mod,
                             std::int64_t split_at) {
        const Tensor normal = norm.forward(tape, x);
        return modulate(tape, normal, mod, split_at);
    };
    QwenAttention::Streams attention;
    {
        const Tensor img_modulated = prepare(img_.norm1, img, img_mod, split);
        const Tensor txt_modulated = prepare(txt_.norm1, txt, txt_mod, 0);
        attention = attn_.forward(tape, img_modulated, txt_modulated, condition.table);
    }
    img = add_gated(tape, img, attention.img, img_mod, split);
    {
        const Tensor gate = txt_mod.view({txt.shape()[0], 1, widths_.hidden});
        const Tensor gated = ghost::binary(tape, "mul", path_, attention.txt, gate);
        txt = ghost::binary(tape, "add", path_, txt, gated);
    }
    attention = {};

    const Tensor img_modulated = prepare(img_.norm2, img, img_mod, split);
    img = add_gated(tape, img, feed_forward(tape, img_, img_modulated), img_mod, split);
    const Tensor txt_modulated = prepare(txt_.norm2, txt, txt_mod, 0);
    txt = add_gated(tape, txt, feed_forward(tape, txt_, txt_modulated), txt_mod, 0);
}

QwenTrunk::QwenTrunk(Registry& r, const QwenWidths& w, int layers, std::int64_t token,
                     std::int64_t text, std::int64_t kinds)
    : root(r.path("", "")),
      pe(r.path("pe_embedder", "")),
      time(r.path("time_text_embed", "")),
      time_proj(r.path("time_text_embed", "time_proj")),
      time_in(r, r.path("time_text_embed", "timestep_embedder.linear_1"), kTimestepWidth, w.hidden),
      time_act(r.path("time_text_embed", "timestep_embedder.act")),
      time_out(r, r.path("time_text_embed", "timestep_embedder.linear_2"), w.hidden, w.hidden),
      kind([&]() -> std::optional<Module> {
          if (kinds == 0) return std::nullopt;
          const Module path = r.path("time_text_embed", "addition_t_embedding");
          r.add(path, "Embedding", kinds * w.hidden);
          return path;
      }()),
      txt_norm(r, r.path("txt_norm", ""), text),
      img_in(r, r.path("img_in", ""), token, w.hidden),
      txt_in(r, r.path("txt_in", ""), text, w.hidden) {
    blocks.reserve(static_cast<std::size_t>(layers));
    for (int i = 0; i < layers; ++i)
        blocks.emplace_back(r, fmt::format("transformer_blocks.{}", i), w);
}

Tensor QwenTrunk::embed_text(Tape& tape, const Tensor& context) const {
    const Tensor normal = txt_norm.forward(tape, context);
    return txt_in.forward(tape, normal);
}

Tensor QwenTrunk::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor waves = scaled_timestep_embedding(tape, time_proj, timesteps, kTimestepWidth);
    const Tensor cast = ghost::to_type(tape, time, waves, type);
    const Tensor hidden = [&] {
        const Tensor first = time_in.forward(tape, cast);
        return ghost::unary(tape, "silu", time_act, first);
    }();
    Tensor embedded = time_out.forward(tape, hidden);
    if (kind) {
        const Tensor which =
            ghost::create(tape, "zeros", time, {timesteps.elements()}, ElementType::Int64);
        const Tensor added = ghost::produce(tape, OpClass::Copy, "embedding", *kind, which,
                                            embedded.shape(), embedded.type());
        ghost::binary_in_place(tape, "add_", time, embedded, added);
    }
    return embedded;
}

QwenHead::QwenHead(Registry& r, std::int64_t hidden, std::int64_t out)
    : final_(r.path("norm_out", "")),
      act_(r.path("norm_out", "silu")),
      modulation_(r, r.path("norm_out", "linear"), hidden, 2 * hidden),
      norm_(r, r.path("norm_out", "norm"), hidden, Affine::No),
      proj_out_(r, r.path("proj_out", ""), hidden, out) {}

Tensor QwenHead::forward(Tape& tape, Tensor img, const Tensor& time) const {
    const Tensor modulated = [&] {
        const Tensor modulation = [&] {
            const Tensor active = ghost::unary(tape, "silu", act_, time);
            return modulation_.forward(tape, active);
        }();
        const Tensor normal = norm_.forward(tape, img);
        const Tensor part = modulation.view({img.shape()[0], 1, img.shape().last()});
        return modulate(tape, final_, normal, part, part);
    }();
    img = {};
    return proj_out_.forward(tape, modulated);
}

QwenImageNetwork::QwenImageNetwork(const modelfile::QwenImageConfig& c)
    : config_(c),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim},
      trunk_(registry_, widths_, c.num_layers, c.in_channels, c.joint_attention_dim,
             c.use_additional_t_cond ? kLayeredKinds : 0),
      head_(registry_, widths_.hidden, std::int64_t{c.out_channels} * c.patch_size * c.patch_size) {
}

StepInputs QwenImageNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const auto latent = [&](std::int64_t batch, const LatentExtent& size) {
        return tape.input({batch, config_.out_channels, size.frames, size.height, size.width},
                          wish.type);
    };
    StepInputs in;
    in.x = latent(wish.batch, {call.latent_frames, call.latent_height, call.latent_width});
    in.reference_method = call.reference_method;
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.joint_attention_dim}, wish.type);
    for (const LatentExtent& reference : call.references)
        in.references.push_back(latent(wish.cond_batch, reference));
    return in;
}

std::vector<ModuleEntry> QwenImageNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

namespace {

// Positions of the tokens of an image around its middle, [N, tokens, 3], written axis by axis in
// fp32; an axis is counted in the latents' type.
Tensor image_ids(Tape& tape, Module module, const Tensor& like, std::int64_t rows,
                 std::int64_t columns) {
    const Shape plane{rows, columns};
    const Tensor ids =
        ghost::create(tape, "zeros", module, {rows, columns, 3}, ElementType::Float32);
    const Tensor axis = ids.view(plane);
    const auto write = [&](const Tensor& positions) {
        ghost::binary_in_place(tape, "copy_", module, axis, positions);
    };
    write(ghost::unary(tape, "add", module, axis));
    for (const std::int64_t length : {rows, columns}) {
        Tensor positions = [&] {
            const Tensor steps = ghost::create(tape, "linspace", module, {length}, like.type());
            return ghost::combine(tape, "add", module, {&axis, &steps}, plane, axis.type());
        }();
        positions = ghost::unary(tape, "sub", module, positions);
        write(positions);
    }
    return ids.view({like.shape()[0], rows * columns, 3});  // expanded over the batch, not copied
}

}  // namespace

QwenTrunk::Tokens QwenTrunk::tokens_of(Tape& tape, const Tensor& latent, std::int64_t patch) const {
    const Shape& s = latent.shape();
    Tensor padded = pad_to_patches(tape, root, latent.view({s[0], s[1] * s[2], s[3], s[4]}), patch);
    const std::int64_t rows = s[2] * padded.shape()[2] / patch;  // frame under frame
    const std::int64_t columns = padded.shape()[3] / patch;
    padded = padded.view({s[0], s[1], rows * patch, columns * patch});
    Tokens out;
    out.tokens = to_tokens(tape, root, padded, patch);
    padded = {};
    out.ids = image_ids(tape, root, latent, rows, columns);
    return out;
}

Tensor QwenTrunk::position_table(Tape& tape, const Tensor& context, const Tensor& image_ids,
                                 const std::vector<int>& axes, ElementType type) const {
    const std::int64_t batch = context.shape()[0];
    const Tensor text_ids = [&] {
        const Tensor steps =
            ghost::create(tape, "arange", root, {context.shape()[1]}, ElementType::Int64);
        return ghost::produce(tape, OpClass::Copy, "repeat", root, steps,
                              {batch, context.shape()[1], 3}, steps.type());
    }();
    const Shape shape = image_ids.shape().with(1, text_ids.shape()[1] + image_ids.shape()[1]);
    Tensor ids = tape.make(shape, ElementType::Float32, "cat", root);
    tape.charge(OpClass::Copy, "cat", root, 0, text_ids.bytes() + image_ids.bytes() + ids.bytes());
    const Tensor table = rope_table(tape, pe, ids, axes);
    return ghost::to_type(tape, root, table, type);
}

bool QwenImageNetwork::refers_at_time_zero(ReferenceMethod method) const {
    if (method == ReferenceMethod::Usual) return config_.default_ref_method == kTimestepZero;
    return method == ReferenceMethod::IndexTimestepZero;
}

Tensor QwenImageNetwork::forward(Tape& tape, const StepInputs& in) const {
    const bool newer = since_033(tape);
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t patch = config_.patch_size;
    QwenTrunk::Tokens image = trunk_.tokens_of(tape, in.x, patch);
    QwenCondition condition;
    condition.own = image.tokens.shape()[1];
    Tensor& img = image.tokens;
    QwenTrunk::Tokens last;  // the loop's variables outlive it
    for (const Tensor& reference : in.references) {
        last = trunk_.tokens_of(tape, reference, patch);
        img = ghost::cat(tape, trunk_.root, std::array<Tensor, 2>{img, last.tokens}, 1);
        image.ids = ghost::cat(tape, trunk_.root, std::array<Tensor, 2>{image.ids, last.ids}, 1);
    }
    Tensor timesteps = in.timesteps;
    condition.zero_time = !in.references.empty() && refers_at_time_zero(in.reference_method);
    if (condition.zero_time) {
        const Tensor zero = ghost::unary(tape, "mul", trunk_.root, timesteps);
        timesteps = ghost::cat(tape, trunk_.root, std::array<Tensor, 2>{timesteps, zero}, 0);
    }

    // The order changed with 0.33.0.
    const auto embed_positions = [&] {
        condition.table =
            trunk_.position_table(tape, in.context, image.ids, config_.axes_dims_rope, in.x.type());
        image.ids = {};
    };
    if (!newer) embed_positions();
    img = trunk_.img_in.forward(tape, img);
    Tensor txt = trunk_.embed_text(tape, in.context);
    if (newer) embed_positions();
    condition.timestep = trunk_.embed_time(tape, timesteps, in.x.type());

    const std::unique_ptr<PatchRun> added = begin_patch(tape, in);
    for (std::size_t i = 0; i < trunk_.blocks.size(); ++i) {
        trunk_.blocks[i].forward(tape, img, txt, condition);
        if (added) added->after_block({.index = i, .input = img, .tokens = img});
        add_control(tape, trunk_.root, in.control, i, trunk_.blocks.size(), img);
    }
    img = head_.forward(tape, std::move(img), condition.timestep.view({batch, widths_.hidden}));
    const std::int64_t rows = in.x.shape()[2] * ((in.x.shape()[3] + patch - 1) / patch);
    const std::int64_t columns = (in.x.shape()[4] + patch - 1) / patch;
    return from_tokens(tape, trunk_.root, img.view(with_tokens(img, condition.own)),
                       config_.out_channels, rows, columns, patch)
        .view(in.x.shape());
}

Result<std::shared_ptr<const Denoiser>> build_qwen_image(const modelfile::QwenImageConfig& c) {
    const bool sound =
        within(c.patch_size, 1, kPatchMax) && within(c.out_channels, 1, kWidthMax) &&
        c.in_channels == std::int64_t{c.out_channels} * c.patch_size * c.patch_size &&
        within(c.num_layers, 0, kDepthMax) && within(c.attention_head_dim, 1, kWidthMax) &&
        within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
        within(c.joint_attention_dim, 1, kWidthMax) && c.axes_dims_rope.size() == 3 &&
        rotated_channels(c.axes_dims_rope) == c.attention_head_dim;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Qwen-Image with {} blocks, {} heads of {}, tokens of {} and "
                                "patches of {} cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim,
                                c.in_channels, c.patch_size));
    return std::make_shared<const QwenImageNetwork>(c);
}

}  // namespace plimsoll::memory
