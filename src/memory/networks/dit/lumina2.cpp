// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/lumina2.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Lumina2Config;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kTimeWidthMax = 1024;  // of the timestep's vector
constexpr std::int64_t kZImageTimeWidth = 256;
constexpr std::int64_t kSigmas = 1000;  // of ComfyUI's plain flow schedule
constexpr int kModulations = 4;         // scale and gate around attention and feed-forward
// Chosen: far above any published network.
constexpr std::int64_t kWidthMax = 1 << 16;
constexpr std::int64_t kDepthMax = 512;
constexpr std::int64_t kPatchMax = 64;
constexpr double kMlpRatioMax = 64;

std::int64_t time_hidden(const Lumina2Config& c) {
    return std::min<std::int64_t>(c.dim, kTimeWidthMax);
}

std::int64_t time_width(const Lumina2Config& c) {
    return c.z_image_modulation ? std::min<std::int64_t>(c.dim, kZImageTimeWidth) : time_hidden(c);
}

std::int64_t feed_forward_width(const Lumina2Config& c) {
    const auto width = static_cast<std::int64_t>(c.ffn_dim_multiplier * c.dim);
    return (width + c.multiple_of - 1) / c.multiple_of * c.multiple_of;
}

// What fp16 cannot hold is clipped, since 0.33.0.
Tensor without_infinities(Tape& tape, Module module, const Tensor& x) {
    const bool clipped = since_033(tape) && x.type() == ElementType::Float16;
    return clipped ? ghost::unary(tape, "nan_to_num", module, x) : x;
}

// x * (1 + scale).
Tensor scaled(Tape& tape, Module module, const Tensor& x, const Tensor& scale) {
    const Tensor factor = ghost::unary(tape, "add", module, scale);
    return ghost::binary(tape, "mul", module, x, factor);
}

}  // namespace

LuminaAttention::LuminaAttention(Registry& r, std::string_view path, const Lumina2Config& c)
    : path_(r.path(path, "")),
      heads_(c.n_heads),
      kv_heads_(c.n_kv_heads),
      head_dim_(c.dim / c.n_heads),
      qkv_(r, r.path(path, "qkv"), c.dim, (heads_ + 2 * kv_heads_) * head_dim_, Bias::No),
      out_(r, r.path(path, "out"), heads_ * head_dim_, c.dim, Bias::No) {
    if (c.qk_norm) {
        q_norm_.emplace(r, r.path(path, "q_norm"), head_dim_);
        k_norm_.emplace(r, r.path(path, "k_norm"), head_dim_);
    }
}

Tensor LuminaAttention::forward(Tape& tape, const Tensor& x, const Tensor& table,
                                const Tensor& mask) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Shape kv_shape{batch, tokens, kv_heads_, head_dim_};
    // All three are views of one tensor, which lives as long as one of them.
    Tensor v = qkv_.forward(tape, x).view(kv_shape);
    Tensor q = v.view({batch, tokens, heads_, head_dim_});
    Tensor k = v;
    if (q_norm_) {
        q = q_norm_->forward(tape, q);
        k = k_norm_->forward(tape, k);
    }
    if (since_033(tape)) {
        Tensor turned_q = apply_rope(tape, path_, q, table);
        k = apply_rope(tape, path_, k, table);
        q = std::move(turned_q);
    } else {
        q = apply_rope(tape, path_, q, table);
        k = apply_rope(tape, path_, k, table);
    }
    // Also where there are as many of them as queries.
    const auto repeated = [&](const Tensor& narrow) {
        return ghost::produce(tape, OpClass::Copy, "repeat", path_, narrow,
                              {batch, tokens, kv_heads_, heads_ / kv_heads_, head_dim_},
                              narrow.type());
    };
    k = repeated(k);
    v = repeated(v);
    const Tensor attended = ghost::attention(
        tape, path_, q, k, v,
        {.batch = batch, .heads = heads_, .queries = tokens, .keys = tokens, .head_dim = head_dim_},
        mask);
    return out_.forward(tape, attended.view({batch, tokens, heads_ * head_dim_}));
}

LuminaBlock::LuminaBlock(Registry& r, std::string_view path, const Lumina2Config& c,
                         Modulated modulated)
    : path_(r.path(path, "")),
      dim_(c.dim),
      attention_(r, *r.path(path, "attention"), c),
      feed_forward_(r.path(path, "feed_forward")),
      w1_(r, r.path(path, "feed_forward.w1"), c.dim, feed_forward_width(c), Bias::No),
      w2_(r, r.path(path, "feed_forward.w2"), feed_forward_width(c), c.dim, Bias::No),
      w3_(r, r.path(path, "feed_forward.w3"), c.dim, feed_forward_width(c), Bias::No),
      attention_norm1_(r, r.path(path, "attention_norm1"), c.dim),
      ffn_norm1_(r, r.path(path, "ffn_norm1"), c.dim),
      attention_norm2_(r, r.path(path, "attention_norm2"), c.dim),
      ffn_norm2_(r, r.path(path, "ffn_norm2"), c.dim),
      modulation_act_(c.z_image_modulation ? nullptr : r.path(path, "adaLN_modulation.0")) {
    if (modulated == Modulated::Yes)
        modulation_.emplace(
            r, r.path(path, c.z_image_modulation ? "adaLN_modulation.0" : "adaLN_modulation.1"),
            time_width(c), std::int64_t{kModulations} * c.dim);
}

Tensor LuminaBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor gated = [&] {
        const Tensor first = w1_.forward(tape, x);
        const Tensor third = w3_.forward(tape, x);
        const Tensor product = [&] {
            const Tensor active = ghost::unary(tape, "silu", feed_forward_, first);
            return ghost::binary(tape, "mul", feed_forward_, active, third);
        }();
        return without_infinities(tape, feed_forward_, product);
    }();
    return w2_.forward(tape, gated);
}

Tensor LuminaBlock::forward(Tape& tape, const Tensor& x, const Tensor& table, const Tensor& mask,
                            const Tensor& time) const {
    if (modulation_) return forward_modulated(tape, x, table, mask, time);
    const auto add_normal = [&](const RmsNorm& norm, const Tensor& base, auto update) {
        const Tensor normal = [&] {
            const Tensor raw = update();
            return norm.forward(tape, raw);
        }();
        return ghost::binary(tape, "add", path_, base, normal);
    };
    const Tensor middle = add_normal(attention_norm2_, x, [&] {
        const Tensor normal = attention_norm1_.forward(tape, x);
        return without_infinities(tape, path_, attention_.forward(tape, normal, table, mask));
    });
    return add_normal(ffn_norm2_, middle, [&] {
        const Tensor normal = ffn_norm1_.forward(tape, middle);
        return feed_forward(tape, normal);
    });
}

Tensor LuminaBlock::forward_modulated(Tape& tape, const Tensor& x, const Tensor& table,
                                      const Tensor& mask, const Tensor& time) const {
    const Tensor modulation = [&] {
        if (modulation_act_ == nullptr) return modulation_->forward(tape, time);
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
        return modulation_->forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, dim_});
    const auto prepare = [&](const RmsNorm& norm, const Tensor& y) {
        const Tensor normal = norm.forward(tape, y);
        return scaled(tape, path_, normal, part);
    };
    const auto add_gated = [&](const RmsNorm& norm, const Tensor& base, auto update) {
        const Tensor gated = [&] {
            const Tensor gate = ghost::unary(tape, "tanh", path_, part);
            const Tensor normal = [&] {
                const Tensor clipped = without_infinities(tape, path_, update());
                return norm.forward(tape, clipped);
            }();
            return ghost::binary(tape, "mul", path_, normal, gate);
        }();
        return ghost::binary(tape, "add", path_, base, gated);
    };
    const Tensor middle = add_gated(attention_norm2_, x, [&] {
        const Tensor modulated = prepare(attention_norm1_, x);
        return attention_.forward(tape, modulated, table, mask);
    });
    return add_gated(ffn_norm2_, middle, [&] {
        const Tensor modulated = prepare(ffn_norm1_, middle);
        return feed_forward(tape, modulated);
    });
}

namespace {

std::vector<LuminaBlock> make_blocks(Registry& r, std::string_view name, int count,
                                     const Lumina2Config& c, LuminaBlock::Modulated modulated) {
    std::vector<LuminaBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}", name, i), c, modulated);
    return blocks;
}

}  // namespace

Lumina2Network::Lumina2Network(const Lumina2Config& c)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          if (c.pad_tokens_multiple > 0)  // a token that pads images and one that pads text
              registry_.add_own_parameters(root, "NextDiT", 2 * std::int64_t{c.dim},
                                           ModuleStorage::AsNetwork);
          return root;
      }()),
      rope_(registry_.path("rope_embedder", "")),
      x_embedder_(registry_, registry_.path("x_embedder", ""),
                  std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.dim),
      noise_refiner_(make_blocks(registry_, "noise_refiner", c.n_refiner_layers, c,
                                 LuminaBlock::Modulated::Yes)),
      context_refiner_(make_blocks(registry_, "context_refiner", c.n_refiner_layers, c,
                                   LuminaBlock::Modulated::No)),
      time_(registry_.path("t_embedder", "")),
      time_in_(registry_, registry_.path("t_embedder", "mlp.0"), kTimestepWidth, time_hidden(c)),
      time_act_(registry_.path("t_embedder", "mlp.1")),
      time_out_(registry_, registry_.path("t_embedder", "mlp.2"), time_hidden(c), time_width(c)),
      text_norm_(registry_, registry_.path("cap_embedder", "0"), c.cap_feat_dim),
      text_in_(registry_, registry_.path("cap_embedder", "1"), c.cap_feat_dim, c.dim),
      layers_([&] {
          std::vector<LuminaBlock> blocks =
              make_blocks(registry_, "layers", c.n_layers, c, LuminaBlock::Modulated::Yes);
          if (c.unused_norm_final)
              registry_.add(registry_.path("norm_final", ""), "RMSNorm", c.dim);
          return blocks;
      }()),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), c.dim, Affine::No),
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.dim,
                    std::int64_t{c.in_channels} * c.patch_size * c.patch_size),
      final_act_(registry_.path("final_layer", "adaLN_modulation.0")),
      final_modulation_(registry_, registry_.path("final_layer", "adaLN_modulation.1"),
                        time_width(c), c.dim) {}

StepInputs Lumina2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.cap_feat_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> Lumina2Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor Lumina2Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor time = since_033(tape) ? ghost::unary(tape, "mul", root_, timesteps) : timesteps;
    const Tensor waves = [&] {
        const Tensor wide = timestep_embedding(tape, time_, time, kTimestepWidth);
        return ghost::to_type(tape, time_, wide, type);
    }();
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

Tensor Lumina2Network::embed_text(Tape& tape, const Tensor& context) const {
    const Tensor normal = text_norm_.forward(tape, context);
    return text_in_.forward(tape, normal);
}

namespace {

void write(Tape& tape, Module module, const Tensor& into, const Tensor& from) {
    tape.charge(OpClass::Copy, "copy_", module, 0, into.bytes() + from.bytes());
}

// One number written to every token.
void fill(Tape& tape, Module module, const Tensor& into) {
    const Tensor number = ghost::create(tape, "scalar_tensor", module, {1}, into.type());
    write(tape, module, into, number);
}

// [rows, patch, columns, patch, channels] of one or more images as tokens: one copy.
Tensor patchify(Tape& tape, Module module, const Tensor& x, std::int64_t patch) {
    const Shape& s = x.shape();
    const std::int64_t tokens = (s[2] / patch) * (s[3] / patch);
    return ghost::clone(tape, module, x, {s[0], s[2] / patch, s[3] / patch, patch, patch, s[1]})
        .view({s[0], tokens, patch * patch * s[1]});
}

}  // namespace

// Up to 0.3.64 tensors for the longest of the batch are filled image by image.
LuminaTokens Lumina2Network::refine_3064(Tape& tape, const Tensor& x, const Tensor& text,
                                         const Tensor& time) const {
    const ElementType type = x.type();
    const std::int64_t patch = config_.patch_size;
    const std::int64_t batch = x.shape()[0];
    const std::int64_t rows = x.shape()[2] / patch;
    const std::int64_t columns = x.shape()[3] / patch;
    const std::int64_t image_tokens = rows * columns;
    const std::int64_t text_tokens = text.shape()[1];
    const std::int64_t all_tokens = text_tokens + image_tokens;

    const Tensor ids =
        ghost::create(tape, "zeros", root_, {batch, all_tokens, 3}, ElementType::Int32);
    Tensor row_ids;
    Tensor column_ids;
    const auto count = [&](std::int64_t length) {
        return ghost::create(tape, "arange", root_, {length}, ids.type());
    };
    const auto grid_ids = [&](std::int64_t length) {
        const Tensor steps = count(length);
        return ghost::produce(tape, OpClass::Copy, "repeat", root_, steps, {rows, columns},
                              ids.type());
    };
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, ids.view({text_tokens}), count(text_tokens));
        fill(tape, root_, ids.view({image_tokens}));
        row_ids = grid_ids(rows);
        column_ids = grid_ids(columns);
        write(tape, root_, row_ids, row_ids);
        write(tape, root_, column_ids, column_ids);
    }
    LuminaTokens joined;
    {
        const Tensor wide = rope_table(tape, rope_, ids, config_.axes_dims);
        joined.table = ghost::to_type(tape, root_, wide, type);
    }
    const auto table_for = [&](std::int64_t tokens) {
        return ghost::create(tape, "zeros", root_, joined.table.shape().with(1, tokens), type);
    };
    const Tensor text_table = table_for(text_tokens);
    const Tensor image_table = table_for(image_tokens);
    const auto one = [](const Tensor& t) { return t.view(t.shape().with(0, 1)); };
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(text_table), one(text_table));
        write(tape, root_, one(image_table), one(image_table));
    }

    Tensor refined_text = text;
    for (const LuminaBlock& block : context_refiner_)
        refined_text = block.forward(tape, refined_text, text_table, {}, {});

    std::vector<Tensor> patches;
    patches.reserve(static_cast<std::size_t>(batch));
    for (std::int64_t i = 0; i < batch; ++i)
        patches.push_back(patchify(tape, root_, one(x), patch));
    Tensor image = ghost::create(tape, "zeros", root_,
                                 {batch, image_tokens, patches.front().shape().last()}, type);
    const Tensor mask = ghost::create(tape, "zeros", root_, {batch, image_tokens}, type);
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(image), one(image));
        fill(tape, root_, mask.view({0}));  // the tokens beyond an image's own: none here
    }
    image = x_embedder_.forward(tape, image);
    for (const LuminaBlock& block : noise_refiner_)
        image = block.forward(tape, image, image_table, mask, time);

    joined.tokens = ghost::create(tape, "zeros", root_, {batch, all_tokens, config_.dim}, type);
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(refined_text), one(refined_text));
        write(tape, root_, one(image), one(image));
    }
    return joined;
}

Lumina2Network::Padded Lumina2Network::pad_tokens(Tape& tape, const Tensor& tokens) const {
    const std::int64_t multiple = config_.pad_tokens_multiple;
    if (multiple == 0) return {tokens, 0};
    const Shape& s = tokens.shape();
    const std::int64_t added = (multiple - s[1] % multiple) % multiple;
    const Tensor padding = [&] {
        const Tensor token =
            ghost::create(tape, "_to_copy", root_, {1, config_.dim}, tokens.type());
        return ghost::produce(tape, OpClass::Copy, "repeat", root_, token, s.with(1, added),
                              tokens.type());
    }();
    return {ghost::cat(tape, root_, std::array<Tensor, 2>{tokens, padding}, 1), added};
}

LuminaTokens Lumina2Network::embed_caption(Tape& tape, const Tensor& context) const {
    LuminaTokens caption;
    caption.tokens = embed_text(tape, context);
    caption.tokens = pad_tokens(tape, caption.tokens).tokens;
    const std::int64_t tokens = caption.tokens.shape()[1];
    const Tensor ids = ghost::create(tape, "zeros", root_, {1, tokens, 3}, ElementType::Float32);
    {
        Tensor steps = ghost::create(tape, "arange", root_, {tokens}, ids.type());
        for (int i = 0; i < 2; ++i) steps = ghost::unary(tape, "add", root_, steps);
        write(tape, root_, steps, steps);
    }
    caption.table = rope_table(tape, rope_, ids, config_.axes_dims);
    return caption;
}

LuminaTokens Lumina2Network::embed_image(Tape& tape, const Tensor& x) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t rows = x.shape()[2] / patch;
    const std::int64_t columns = x.shape()[3] / patch;
    LuminaTokens image;
    image.tokens = [&] {
        const Tensor patches = patchify(tape, root_, x, patch);
        return x_embedder_.forward(tape, patches);
    }();
    Tensor ids = [&] {
        Tensor zeros =
            ghost::create(tape, "zeros", root_, {1, rows * columns, 3}, ElementType::Float32);
        fill(tape, root_, zeros.view({rows * columns}));
        for (const std::int64_t length : {rows, columns}) {
            const Tensor plane = [&] {
                Tensor steps = ghost::create(tape, "arange", root_, {length}, zeros.type());
                steps = ghost::unary(tape, "mul", root_, steps);
                steps = ghost::unary(tape, "add", root_, steps);
                return ghost::produce(tape, OpClass::Copy, "repeat", root_, steps, {rows, columns},
                                      steps.type());
            }();
            write(tape, root_, plane, plane);
        }
        return zeros;
    }();
    if (config_.pad_tokens_multiple > 0) {
        Padded padded = pad_tokens(tape, image.tokens);
        image.tokens = std::move(padded.tokens);
        ids = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", root_, ids,
                             ids.shape().with(1, ids.shape()[1] + padded.added), ids.type());
    }
    image.table = rope_table(tape, rope_, ids, config_.axes_dims);
    return image;
}

// Since 0.33.0 lists of embeddings are joined, one of each here; what they list lives until all is
// refined, and so does the image as it came to the refiner.
LuminaTokens Lumina2Network::refine_33000(Tape& tape, const Tensor& x, const Tensor& context,
                                          const Tensor& time) const {
    const LuminaTokens embedded_text = embed_caption(tape, context);
    const LuminaTokens embedded_image = embed_image(tape, x);
    const auto joined_list = [&](const Tensor& only) {
        return ghost::cat(tape, root_, std::array<Tensor, 1>{only}, 1);
    };
    LuminaTokens text;
    text.tokens = joined_list(embedded_text.tokens);
    text.table = joined_list(embedded_text.table);
    for (const LuminaBlock& block : context_refiner_)
        text.tokens = block.forward(tape, text.tokens, text.table, {}, {});
    LuminaTokens image;
    image.tokens = joined_list(embedded_image.tokens);
    image.table = joined_list(embedded_image.table);
    const Tensor refiner_input = image.tokens;
    for (const LuminaBlock& block : noise_refiner_)
        image.tokens = block.forward(tape, image.tokens, image.table, {}, time);
    LuminaTokens joined;
    joined.tokens = ghost::cat(tape, root_, std::array<Tensor, 2>{text.tokens, image.tokens}, 1);
    joined.table = ghost::cat(tape, root_, std::array<Tensor, 2>{text.table, image.table}, 1);
    return joined;
}

Tensor Lumina2Network::forward(Tape& tape, const StepInputs& in) const {
    const bool newer = since_033(tape);
    Tensor time = ghost::unary(tape, "rsub", root_, in.timesteps);
    Tensor padded = pad_to_patches(tape, root_, in.x, config_.patch_size);
    time = embed_time(tape, time, in.x.type());
    Tensor text;
    LuminaTokens tokens;
    if (newer) {
        tokens = refine_33000(tape, padded, in.context, time);
    } else {
        text = embed_text(tape, in.context);
        tokens = refine_3064(tape, padded, text, time);
        padded = {};
    }
    const Tensor layers_input = newer ? tokens.tokens : Tensor();
    for (const LuminaBlock& block : layers_)
        tokens.tokens = block.forward(tape, tokens.tokens, tokens.table, {}, time);
    tokens.tokens = forward_final(tape, tokens.tokens, time);
    const Tensor image = unpatchify(tape, tokens.tokens, in.x);
    tokens.tokens = {};
    return ghost::unary(tape, "neg", root_, image.view(in.x.shape()));
}

Tensor Lumina2Network::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_act_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor modulated = [&] {
        const Tensor normal = final_norm_.forward(tape, x);
        return scaled(tape, final_, normal, modulation.view({x.shape()[0], 1, config_.dim}));
    }();
    return final_linear_.forward(tape, modulated);
}

// Image by image, then stacked.
Tensor Lumina2Network::unpatchify(Tape& tape, const Tensor& tokens, const Tensor& like) const {
    const std::int64_t patch = config_.patch_size;
    const Shape& s = like.shape();
    const std::int64_t rows = (s[2] + patch - 1) / patch;
    const std::int64_t columns = (s[3] + patch - 1) / patch;
    const Tensor own = tokens.view({1, rows * columns, tokens.shape().last()});
    std::vector<Tensor> images;
    images.reserve(static_cast<std::size_t>(s[0]));
    for (std::int64_t i = 0; i < s[0]; ++i)
        images.push_back(from_tokens(tape, root_, own, config_.in_channels, rows, columns, patch));
    const Shape stacked{s[0], config_.in_channels, rows * patch, columns * patch};
    Tensor out = tape.make(stacked, tokens.type(), "stack", root_);
    tape.charge(OpClass::Copy, "stack", root_, 0, 2 * out.bytes());
    return out;
}

Result<std::shared_ptr<const Denoiser>> build_lumina2(const Lumina2Config& c) {
    const auto within = [](std::int64_t value, std::int64_t low, std::int64_t high) {
        return value >= low && value <= high;
    };
    std::int64_t rotated = 0;
    for (const int dim : c.axes_dims) rotated += dim > 0 && dim % 2 == 0 ? dim : -kWidthMax;
    const bool sound = within(c.patch_size, 1, kPatchMax) && within(c.in_channels, 1, kWidthMax) &&
                       within(c.dim, 1, kWidthMax) && within(c.n_layers, 0, kDepthMax) &&
                       within(c.n_refiner_layers, 0, kDepthMax) && within(c.n_heads, 1, c.dim) &&
                       c.dim % c.n_heads == 0 && within(c.n_kv_heads, 1, c.n_heads) &&
                       c.n_heads % c.n_kv_heads == 0 && within(c.multiple_of, 1, kWidthMax) &&
                       c.ffn_dim_multiplier > 0 && c.ffn_dim_multiplier <= kMlpRatioMax &&
                       within(c.cap_feat_dim, 1, kWidthMax) && c.axes_dims.size() == 3 &&
                       rotated == c.dim / c.n_heads &&
                       within(c.pad_tokens_multiple, 0, kWidthMax) && c.clip_text_dim == 0 &&
                       c.siglip_feat_dim == 0;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Lumina 2 of width {} with {} heads over {}, {} layers and patches "
                                "of {} cannot be",
                                c.dim, c.n_heads, c.n_kv_heads, c.n_layers, c.patch_size));
    return std::make_shared<const Lumina2Network>(c);
}

}  // namespace plimsoll::memory
