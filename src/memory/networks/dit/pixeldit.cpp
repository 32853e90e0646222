// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/pixeldit.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::PixelDitConfig;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's plain flow schedule
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kModulations = 6;       // shift, scale and gate around both parts
constexpr std::int64_t kPixelModulations = 3;  // of one part
constexpr std::int64_t kMlpChunks = 2;         // over the patches, of pixels' feed-forward

// x + x * scale + shift, in place.
void scale_and_shift(Tape& tape, Module module, const Tensor& x, const Tensor& part) {
    ghost::combine_in_place(tape, "addcmul_", module, x, {&x, &part});
    ghost::binary_in_place(tape, "add_", module, x, part);
}

// A table that was computed before, brought to the card: a 2 x 2 rotation for each pair of
// channels.
Tensor fetch_table(Tape& tape, Module module, std::int64_t tokens, std::int64_t head_dim,
                   ElementType type) {
    return ghost::create(tape, "_to_copy", module, {1, tokens, head_dim / 2, 2, 2}, type);
}

}  // namespace

PixelDitPatchBlock::Mlp PixelDitPatchBlock::make_mlp(Registry& r, std::string_view path,
                                                     std::int64_t width) {
    const std::int64_t hidden = 2 * (kMlpRatio * width) / 3;
    const Module own = r.path(path, "");
    Linear w1(r, r.path(path, "w1"), width, hidden, Bias::No);
    Linear w2(r, r.path(path, "w2"), hidden, width, Bias::No);
    Linear w3(r, r.path(path, "w3"), width, hidden, Bias::No);
    return {own, w1, w2, w3};
}

PixelDitPatchBlock::PixelDitPatchBlock(Registry& r, std::string_view path, const PixelDitConfig& c)
    : path_(r.path(path, "")),
      width_(c.hidden_size),
      heads_(c.num_groups),
      img_norm1_(r, r.path(path, "norm_x1"), width_),
      txt_norm1_(r, r.path(path, "norm_y1"), width_),
      attn_(r.path(path, "attn")),
      streams_([&] {
          const Linear qkv_x(r, r.path(path, "attn.qkv_x"), width_, 3 * width_, Bias::No);
          const Linear qkv_y(r, r.path(path, "attn.qkv_y"), width_, 3 * width_, Bias::No);
          const RmsNorm q_x(r, r.path(path, "attn.q_norm_x"), width_ / heads_);
          const RmsNorm k_x(r, r.path(path, "attn.k_norm_x"), width_ / heads_);
          const RmsNorm q_y(r, r.path(path, "attn.q_norm_y"), width_ / heads_);
          const RmsNorm k_y(r, r.path(path, "attn.k_norm_y"), width_ / heads_);
          const Linear proj_x(r, r.path(path, "attn.proj_x"), width_, width_);
          const Linear proj_y(r, r.path(path, "attn.proj_y"), width_, width_);
          return std::vector<Stream>{{qkv_x, q_x, k_x, proj_x}, {qkv_y, q_y, k_y, proj_y}};
      }()),
      img_norm2_(r, r.path(path, "norm_x2"), width_),
      txt_norm2_(r, r.path(path, "norm_y2"), width_),
      img_mlp_(make_mlp(r, *r.path(path, "mlp_x"), width_)),
      txt_mlp_(make_mlp(r, *r.path(path, "mlp_y"), width_)),
      img_modulation_(r, r.path(path, "adaLN_modulation_img.0"), width_, kModulations * width_),
      txt_modulation_(r, r.path(path, "adaLN_modulation_txt.0"), width_, kModulations * width_) {}

// Every variable of the Python function lives until it returns.
PixelDitPatchBlock::Attended PixelDitPatchBlock::attend(Tape& tape, const Tensor& img,
                                                        const Tensor& txt,
                                                        const Tables& tables) const {
    struct Heads {
        Tensor q;
        Tensor k;
        Tensor v;
    };
    const auto project = [&](const Stream& stream, const Tensor& x) {
        const Shape heads{x.shape()[0], heads_, x.shape()[1], width_ / heads_};
        Heads h;
        h.v = stream.qkv.forward(tape, x).view(heads);  // queries and keys are views of it too
        h.q = stream.q_norm.forward(tape, h.v);
        h.k = stream.k_norm.forward(tape, h.v);
        return h;
    };
    Heads i = project(streams_[0], img);
    Heads t = project(streams_[1], txt);
    const auto rotate = [&](Heads& h, const Tensor& table) {
        Rotated rotated = apply_rope(tape, attn_, h.q, h.k, table);
        h.q = std::move(rotated.q);
        h.k = std::move(rotated.k);
    };
    rotate(i, tables.img);
    if (tables.txt.defined()) rotate(t, tables.txt);
    const auto join = [&](const Tensor& text, const Tensor& image) {
        return ghost::cat(tape, attn_, std::array<Tensor, 2>{text, image}, 2);
    };
    const Tensor q = join(t.q, i.q);
    const Tensor k = join(t.k, i.k);
    const Tensor v = join(t.v, i.v);
    const Shape& s = q.shape();
    const Tensor out = ghost::attention(
        tape, attn_, q, k, v,
        {.batch = s[0], .heads = s[1], .queries = s[2], .keys = s[2], .head_dim = s[3]});
    Attended attended;
    attended.img = streams_[0].proj.forward_slice(tape, out.view(img.shape()));
    attended.txt = streams_[1].proj.forward_slice(tape, out.view(txt.shape()));
    return attended;
}

Tensor PixelDitPatchBlock::feed_forward(Tape& tape, const Mlp& mlp, const Tensor& x) {
    const Tensor gated = [&] {
        const Tensor active = [&] {
            const Tensor first = mlp.w1.forward(tape, x);
            return ghost::unary(tape, "silu", mlp.path, first);
        }();
        const Tensor third = mlp.w3.forward(tape, x);
        return ghost::binary(tape, "mul", mlp.path, active, third);
    }();
    return mlp.w2.forward(tape, gated);
}

void PixelDitPatchBlock::forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& condition,
                                 const Tables& tables) const {
    const Tensor callers_img = img;
    const Tensor callers_txt = txt;
    const Tensor img_mod = img_modulation_.forward(tape, condition);
    const Tensor txt_mod = txt_modulation_.forward(tape, condition);
    const auto prepare = [&](const RmsNorm& norm, const Tensor& x, const Tensor& mod) {
        Tensor normal = norm.forward(tape, x);
        scale_and_shift(tape, path_, normal, mod.view({x.shape()[0], 1, width_}));
        return normal;
    };
    const auto add_gated = [&](Tensor& x, const Tensor& update, const Tensor& mod) {
        const Tensor gate = mod.view({x.shape()[0], 1, width_});
        x = ghost::combine(tape, "addcmul", path_, {&x, &gate, &update}, x.shape(), x.type());
    };
    const Tensor img_in = prepare(img_norm1_, img, img_mod);
    const Tensor txt_in = prepare(txt_norm1_, txt, txt_mod);
    const Attended attended = attend(tape, img_in, txt_in, tables);
    add_gated(img, attended.img, img_mod);
    add_gated(txt, attended.txt, txt_mod);
    const auto feed = [&](Tensor& x, const RmsNorm& norm, const Mlp& mlp, const Tensor& mod) {
        const Tensor fed = [&] {
            const Tensor in = prepare(norm, x, mod);
            return feed_forward(tape, mlp, in);
        }();
        add_gated(x, fed, mod);
    };
    feed(img, img_norm2_, img_mlp_, img_mod);
    feed(txt, txt_norm2_, txt_mlp_, txt_mod);
}

PixelDitPixelBlock::PixelDitPixelBlock(Registry& r, std::string_view path, const PixelDitConfig& c)
    : path_(r.path(path, "")),
      width_(c.pixel_hidden_size),
      attention_width_(c.pixel_attn_hidden_size),
      heads_(c.pixel_num_groups),
      compress_(r, r.path(path, "compress_to_attn"),
                std::int64_t{c.patch_size} * c.patch_size * width_, attention_width_),
      expand_(r, r.path(path, "expand_from_attn"), attention_width_,
              std::int64_t{c.patch_size} * c.patch_size * width_),
      norm1_(r, r.path(path, "norm1"), width_),
      attn_(r.path(path, "attn")),
      qkv_(r, r.path(path, "attn.qkv"), attention_width_, 3 * attention_width_, Bias::No),
      q_norm_(r, r.path(path, "attn.q_norm"), attention_width_ / heads_),
      k_norm_(r, r.path(path, "attn.k_norm"), attention_width_ / heads_),
      proj_(r, r.path(path, "attn.proj"), attention_width_, attention_width_),
      norm2_(r, r.path(path, "norm2"), width_),
      fc1_(r, r.path(path, "mlp.fc1"), width_, kMlpRatio * width_),
      mlp_act_(r.path(path, "mlp.act")),
      fc2_(r, r.path(path, "mlp.fc2"), kMlpRatio * width_, width_),
      attention_modulation_(r, r.path(path, "adaLN_modulation_msa"), c.hidden_size,
                            kPixelModulations * width_ * c.patch_size * c.patch_size),
      mlp_modulation_(r, r.path(path, "adaLN_modulation_mlp"), c.hidden_size,
                      kPixelModulations * width_ * c.patch_size * c.patch_size) {}

Tensor PixelDitPixelBlock::attend(Tape& tape, const Tensor& x, const Tensor& table) const {
    const Shape heads{x.shape()[0], heads_, x.shape()[1], attention_width_ / heads_};
    const Tensor v = qkv_.forward(tape, x).view(heads);
    Tensor q = q_norm_.forward(tape, v);
    Tensor k = k_norm_.forward(tape, v);
    {
        Rotated rotated = apply_rope(tape, attn_, q, k, table);
        q = std::move(rotated.q);
        k = std::move(rotated.k);
    }
    const Tensor attended = ghost::attention(tape, attn_, q, k, v,
                                             {.batch = heads[0],
                                              .heads = heads_,
                                              .queries = heads[2],
                                              .keys = heads[2],
                                              .head_dim = heads[3]});
    return proj_.forward(tape, attended.view(x.shape()));
}

// Attention's input and output, small and large, are variables of the whole function.
Tensor PixelDitPixelBlock::forward(Tape& tape, const Tensor& x, const Tensor& condition,
                                   std::int64_t batch) const {
    const std::int64_t patches = x.shape()[0];
    Tensor modulation = attention_modulation_.forward(tape, condition);
    const auto part = [&] { return modulation.view(x.shape()); };
    const Tensor normal = norm1_.forward(tape, x);
    scale_and_shift(tape, path_, normal, part());
    const Tensor tokens = compress_.forward(tape, normal.view({patches, x.elements() / patches}))
                              .view({batch, patches / batch, attention_width_});
    const Tensor table =
        fetch_table(tape, path_, patches / batch, attention_width_ / heads_, x.type());
    const Tensor attended = attend(tape, tokens, table);
    const Tensor spread =
        expand_.forward(tape, attended.view({patches, attention_width_})).view(x.shape());
    Tensor out;
    {
        const Tensor gate = part();
        out = ghost::combine(tape, "addcmul", path_, {&x, &gate, &spread}, x.shape(), x.type());
    }
    modulation = {};

    modulation = mlp_modulation_.forward(tape, condition);
    const Tensor gate = [&] { return ghost::clone(tape, path_, part(), x.shape()); }();
    const Tensor in = norm2_.forward(tape, out);
    scale_and_shift(tape, path_, in, part());
    modulation = {};
    const std::int64_t length = (patches + kMlpChunks - 1) / kMlpChunks;
    for (std::int64_t at = 0; at < patches; at += length) {
        const Shape chunk = x.shape().with(0, std::min(length, patches - at));
        const Tensor fed = [&] {
            const Tensor hidden = [&] {
                const Tensor first = fc1_.forward(tape, in.view(chunk));
                return ghost::unary(tape, "gelu", mlp_act_, first);
            }();
            return fc2_.forward(tape, hidden);
        }();
        const Tensor own_gate = gate.view(chunk);
        ghost::combine_in_place(tape, "addcmul_", path_, out.view(chunk), {&own_gate, &fed});
    }
    return out;
}

PixelDitNetwork::PixelDitNetwork(const PixelDitConfig& c)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          registry_.add_own_parameters(root, "PixDiT_T2I",
                                       std::int64_t{c.txt_max_length} * c.hidden_size,
                                       ModuleStorage::AsNetwork);
          return root;
      }()),
      pixels_(registry_.path("pixel_embedder", "")),
      pixel_in_(registry_, registry_.path("pixel_embedder", "proj"), c.in_channels,
                c.pixel_hidden_size),
      patch_in_(registry_, registry_.path("s_embedder", "proj"),
                std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.hidden_size),
      time_(registry_.path("t_embedder", "")),
      time_in_(registry_, registry_.path("t_embedder", "mlp.0"), kTimestepWidth, c.hidden_size),
      time_act_(registry_.path("t_embedder", "mlp.1")),
      time_out_(registry_, registry_.path("t_embedder", "mlp.2"), c.hidden_size, c.hidden_size),
      text_in_(registry_, registry_.path("y_embedder", "proj"), c.txt_embed_dim, c.hidden_size),
      text_norm_(registry_, registry_.path("y_embedder", "norm"), c.hidden_size),
      patch_blocks_([&] {
          std::vector<PixelDitPatchBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.patch_depth));
          for (int i = 0; i < c.patch_depth; ++i)
              blocks.emplace_back(registry_, fmt::format("patch_blocks.{}", i), c);
          return blocks;
      }()),
      pixel_blocks_([&] {
          std::vector<PixelDitPixelBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.pixel_depth));
          for (int i = 0; i < c.pixel_depth; ++i)
              blocks.emplace_back(registry_, fmt::format("pixel_blocks.{}", i), c);
          return blocks;
      }()),
      final_norm_(registry_, registry_.path("final_layer", "norm"), c.pixel_hidden_size),
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.pixel_hidden_size,
                    c.in_channels) {}

StepInputs PixelDitNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.txt_embed_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> PixelDitNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor PixelDitNetwork::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor waves = [&] {
        const Tensor wide = timestep_embedding(tape, time_, timesteps, kTimestepWidth);
        return ghost::to_type(tape, time_, wide, type);
    }();
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

Tensor PixelDitNetwork::embed_text(Tape& tape, const Tensor& context, std::int64_t tokens) const {
    const Tensor own = context.view(context.shape().with(1, tokens));
    const Tensor normal = [&] {
        const Tensor projected = tokens == context.shape()[1] ? text_in_.forward(tape, own)
                                                              : text_in_.forward_slice(tape, own);
        return text_norm_.forward(tape, projected);
    }();
    const Tape::Cast positions =
        tape.cast_weight({config_.txt_max_length, config_.hidden_size}, root_);
    return ghost::unary(tape, "add", root_, normal);
}

// Pixels of each patch next to each other, [N x patches, pixels, width].
Tensor PixelDitNetwork::embed_pixels(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t side = config_.patch_size;
    Tensor pixels = ghost::clone(tape, pixels_, x, {s[0], s[2], s[3], s[1]});
    pixels = pixel_in_.forward(tape, pixels);
    Tensor positions;
    if (config_.use_pixel_abs_pos) {
        positions = ghost::create(tape, "_to_copy", pixels_,
                                  {s[2], s[3], config_.pixel_hidden_size}, x.type());
        pixels = ghost::binary(tape, "add", pixels_, pixels, positions);
    }
    pixels = ghost::clone(tape, pixels_, pixels,
                          {s[0], s[2] / side, s[3] / side, side, side, config_.pixel_hidden_size});
    return pixels.view({s[0] * (s[2] / side) * (s[3] / side), side * side,
                        std::int64_t{config_.pixel_hidden_size}});
}

Tensor PixelDitNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t side = config_.patch_size;
    const std::int64_t width = config_.hidden_size;
    const ElementType type = in.x.type();
    const Tensor x = pad_to_patches(tape, root_, in.x, side);
    const Shape& s = x.shape();
    const std::int64_t patches = s[2] / side * (s[3] / side);
    const std::int64_t patch_channels = s[1] * side * side;
    PixelDitPatchBlock::Tables tables;
    tables.img = fetch_table(tape, root_, patches, width / config_.num_groups, type);
    const Tensor columns = ghost::produce(tape, OpClass::Copy, "im2col", root_, x,
                                          {batch, patch_channels, patches}, type);
    const Tensor time = embed_time(tape, in.timesteps, type).view({batch, 1, width});
    const std::int64_t tokens =
        std::min<std::int64_t>(in.context.shape()[1], config_.txt_max_length);
    Tensor txt = embed_text(tape, in.context, tokens);
    const Tensor condition = ghost::unary(tape, "silu", root_, time);
    if (config_.use_text_rope)
        tables.txt = fetch_table(tape, root_, tokens, width / config_.num_groups, type);
    // The patches' channels lie far apart.
    Tensor img = patch_in_.forward_batched(tape, columns.view({batch, patches, patch_channels}));
    for (const PixelDitPatchBlock& block : patch_blocks_)
        block.forward(tape, img, txt, condition, tables);
    img = [&] {
        const Tensor sum = ghost::binary(tape, "add", root_, time, img);
        return ghost::unary(tape, "silu", root_, sum);
    }();
    Tensor pixels = embed_pixels(tape, x);
    for (const PixelDitPixelBlock& block : pixel_blocks_)
        pixels = block.forward(tape, pixels, img.view({batch * patches, width}), batch);
    pixels = [&] {
        const Tensor normal = final_norm_.forward(tape, pixels);
        return final_linear_.forward(tape, normal);
    }();
    pixels = ghost::clone(tape, root_, pixels, {batch, patch_channels, patches});
    return ghost::produce(tape, OpClass::Copy, "col2im", root_, pixels, s, type);
}

Result<std::shared_ptr<const Denoiser>> build_pixeldit(const PixelDitConfig& c) {
    const auto sound_heads = [](int width, int heads) {
        return within(width, 2, kWidthMax) && within(heads, 1, width) && width % heads == 0 &&
               width / heads % 2 == 0;
    };
    const bool sound =
        sound_heads(c.hidden_size, c.num_groups) &&
        sound_heads(c.pixel_attn_hidden_size, c.pixel_num_groups) &&
        within(c.in_channels, 1, kWidthMax) && within(c.pixel_hidden_size, 1, kWidthMax) &&
        within(c.patch_depth, 0, kDepthMax) && within(c.pixel_depth, 0, kDepthMax) &&
        within(c.patch_size, 1, kPatchMax) && within(c.txt_embed_dim, 1, kWidthMax) &&
        within(c.txt_max_length, 1, kWidthMax);
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("PixelDiT of width {} with {} heads, {} + {} blocks and patches of "
                        "{} cannot be",
                        c.hidden_size, c.num_groups, c.patch_depth, c.pixel_depth, c.patch_size));
    return std::make_shared<const PixelDitNetwork>(c);
}

}  // namespace plimsoll::memory
