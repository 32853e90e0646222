// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/joyimage.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::JoyImageConfig;

namespace {

constexpr std::int64_t kPatch = 2;
constexpr std::int64_t kTimestepWidth = 256;
constexpr std::int64_t kModulations = 6;  // shift, scale and gate around attention and feed-forward
constexpr std::int64_t kSigmas = 1000;    // of ComfyUI's flow schedule
constexpr MlpNames kDiffusersMlp{"linear_1", "act", "linear_2"};

std::int64_t patches(std::int64_t cells) {
    return (cells + kPatch - 1) / kPatch;
}

}  // namespace

JoyImageBlock::Stream JoyImageBlock::make_stream(Registry& r, std::string_view path,
                                                 std::string_view name, const JoyImageWidths& w) {
    const auto at = [&](std::string_view rest) {
        return r.path(path, fmt::format("{}_{}", name, rest));
    };
    const Module mod = at("mod");
    r.add_own_parameters(mod, "JoyImageModulate", kModulations * w.hidden,
                         ModuleStorage::AsNetwork);
    LayerNorm norm1(r, at("norm1"), w.hidden, Affine::No);
    LayerNorm norm2(r, at("norm2"), w.hidden, Affine::No);
    Linear mlp_in(r, at("mlp.net.0.proj"), w.hidden, w.mlp);
    Linear mlp_out(r, at("mlp.net.2"), w.mlp, w.hidden);
    return {mod, norm1, norm2, mlp_in, at("mlp.net.0"), mlp_out};
}

JoyImageBlock::Attended JoyImageBlock::make_attended(Registry& r, std::string_view path,
                                                     std::string_view name,
                                                     const JoyImageWidths& w) {
    const auto at = [&](std::string_view rest) {
        return r.path(path, fmt::format("{}_attn_{}", name, rest));
    };
    Linear qkv(r, at("qkv"), w.hidden, 3 * w.hidden);
    RmsNorm q_norm(r, at("q_norm"), w.head_dim());
    RmsNorm k_norm(r, at("k_norm"), w.head_dim());
    Linear proj(r, at("proj"), w.hidden, w.hidden);
    return {qkv, q_norm, k_norm, proj};
}

JoyImageBlock::JoyImageBlock(Registry& r, std::string_view path, const JoyImageWidths& w)
    : path_(r.path(path, "")),
      attn_(r.path(path, "attn")),
      widths_(w),
      img_(make_stream(r, path, "img", w)),
      txt_(make_stream(r, path, "txt", w)),
      img_attn_(make_attended(r, *attn_, "img", w)),
      txt_attn_(make_attended(r, *attn_, "txt", w)) {}

// Every variable of the Python function lives until it returns; queries, keys and values are views
// of one tensor for each stream. ComfyUI's kernel norms and rotates the image's in one go.
JoyImageBlock::Streams JoyImageBlock::attend(Tape& tape, const Tensor& img, const Tensor& txt,
                                             const Tensor& table) const {
    const std::int64_t batch = img.shape()[0];
    const auto heads = [&](const Tensor& x) {
        return Shape{batch, x.shape()[1], widths_.heads, widths_.head_dim()};
    };
    const Tensor img_v = img_attn_.qkv.forward(tape, img).view(heads(img));
    const Tensor txt_v = txt_attn_.qkv.forward(tape, txt).view(heads(txt));
    const Tensor txt_q = txt_attn_.q_norm.forward(tape, txt_v);
    const Tensor txt_k = txt_attn_.k_norm.forward(tape, txt_v);
    const auto turned = [&] {
        return ghost::combine(tape, "rms_rope", attn_, {&img_v, &table}, img_v.shape(),
                              img_v.type());
    };
    const Tensor img_q = turned();
    const Tensor img_k = turned();
    const auto joined = [&](const Tensor& image, const Tensor& text) {
        return ghost::cat(tape, attn_, std::array<Tensor, 2>{image, text}, 1);
    };
    const Tensor q = joined(img_q, txt_q);
    const Tensor k = joined(img_k, txt_k);
    const Tensor v = joined(img_v, txt_v);
    const std::int64_t tokens = q.shape()[1];
    const Tensor out = ghost::attention(tape, attn_, q, k, v,
                                        {.batch = batch,
                                         .heads = widths_.heads,
                                         .queries = tokens,
                                         .keys = tokens,
                                         .head_dim = widths_.head_dim()});
    Streams streams;
    streams.img = img_attn_.proj.forward_slice(tape, out.view(img.shape()));
    streams.txt = txt_attn_.proj.forward_slice(tape, out.view(txt.shape()));
    return streams;
}

// norm * (1 + scale) + shift, in this order.
Tensor JoyImageBlock::modulated(Tape& tape, const Tensor& normal, const Tensor& part) const {
    const Tensor product = [&] {
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        return ghost::binary(tape, "mul", path_, normal, factor);
    }();
    return ghost::binary(tape, "add", path_, product, part);
}

void JoyImageBlock::add_gated(Tape& tape, Tensor& x, const Tensor& update,
                              const Tensor& part) const {
    const Tensor gated = ghost::binary(tape, "mul", path_, update, part);
    x = ghost::binary(tape, "add", path_, x, gated);
}

Tensor JoyImageBlock::feed_forward(Tape& tape, const Stream& stream, const Tensor& x) {
    const Tensor hidden = [&] {
        const Tensor in = stream.mlp_in.forward(tape, x);
        return ghost::unary(tape, "gelu", stream.mlp_act, in);
    }();
    return stream.mlp_out.forward(tape, hidden);
}

void JoyImageBlock::forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& modulation,
                            const Tensor& table) const {
    const Tensor callers_img = img;
    const Tensor callers_txt = txt;
    const auto values = [&](const Stream& stream) {
        return ghost::unary(tape, "add", stream.mod, modulation);
    };
    const Tensor img_mod = values(img_);
    const Tensor txt_mod = values(txt_);
    const Tensor part = img_mod.view({img.shape()[0], 1, widths_.hidden});
    const Tensor img_normal = img_.norm1.forward(tape, img);
    const Tensor txt_normal = txt_.norm1.forward(tape, txt);
    const Tensor img_in = modulated(tape, img_normal, part);
    const Tensor txt_in = modulated(tape, txt_normal, part);
    const Streams attention = attend(tape, img_in, txt_in, table);
    add_gated(tape, img, attention.img, part);
    add_gated(tape, txt, attention.txt, part);
    const Tensor img_normal2 = img_.norm2.forward(tape, img);
    const Tensor txt_normal2 = txt_.norm2.forward(tape, txt);
    const Tensor img_in2 = modulated(tape, img_normal2, part);
    const Tensor txt_in2 = modulated(tape, txt_normal2, part);
    add_gated(tape, img, feed_forward(tape, img_, img_in2), part);
    add_gated(tape, txt, feed_forward(tape, txt_, txt_in2), part);
}

JoyImageNetwork::JoyImageNetwork(const JoyImageConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_attention_heads,
              .mlp = std::int64_t{c.hidden_size} * c.mlp_width_ratio},
      root_(registry_.path("", "")),
      img_in_(registry_, registry_.path("img_in", ""), c.in_channels, c.hidden_size,
              {.kernel = {1, kPatch, kPatch}, .stride = {1, kPatch, kPatch}}),
      embedder_(registry_.path("condition_embedder", "")),
      time_embedder_(registry_, "condition_embedder.time_embedder", kTimestepWidth, c.hidden_size,
                     Bias::Yes, kDiffusersMlp),
      time_proj_(registry_, registry_.path("condition_embedder", "time_proj"), c.hidden_size,
                 kModulations * c.hidden_size),
      text_embedder_(registry_, "condition_embedder.text_embedder", c.text_dim, c.hidden_size,
                     Bias::Yes, kDiffusersMlp),
      blocks_([&] {
          std::vector<JoyImageBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("double_blocks.{}", i), widths_);
          return blocks;
      }()),
      norm_out_(registry_, registry_.path("norm_out", ""), c.hidden_size, Affine::No),
      proj_out_(registry_, registry_.path("proj_out", ""), c.hidden_size,
                c.in_channels * kPatch * kPatch) {}

StepInputs JoyImageNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const auto latent = [&](std::int64_t batch, const LatentExtent& size) {
        return tape.input({batch, config_.in_channels, size.frames, size.height, size.width},
                          wish.type);
    };
    StepInputs in;
    in.x = latent(wish.batch, {call.latent_frames, call.latent_height, call.latent_width});
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_dim}, wish.type);
    for (const LatentExtent& reference : call.references)
        in.references.push_back(latent(wish.cond_batch, reference));
    return in;
}

std::vector<ModuleEntry> JoyImageNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// A 2 x 2 rotation for every pair of a head's channels and every token, in fp32.
Tensor JoyImageNetwork::rotations(Tape& tape, std::int64_t tokens) const {
    const std::int64_t pairs = widths_.head_dim() / 2;
    const Tensor table = [&] {
        const Tensor angles =
            ghost::create(tape, "cat", root_, {tokens, pairs}, ElementType::Float32);
        const Tensor cosines = ghost::unary(tape, "cos", root_, angles);
        const Tensor sines = ghost::unary(tape, "sin", root_, angles);
        const Tensor negated = ghost::unary(tape, "neg", root_, sines);
        return ghost::combine(tape, "stack", root_, {&cosines, &negated, &sines, &cosines},
                              {tokens, pairs, 4}, ElementType::Float32);
    }();
    return ghost::clone(tape, root_, table, {1, tokens, 1, pairs, 4});  // joined with the others
}

Tensor JoyImageNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    // What each image became lives until the end.
    std::vector<Tensor> components;
    const auto read = [&](const Tensor& latent) {
        const Shape& size = latent.shape();
        const Tensor padded = ghost::produce(
            tape, OpClass::Copy, "pad", root_, latent,
            {size[0], size[1], size[2], patches(size[3]) * kPatch, patches(size[4]) * kPatch},
            latent.type());
        const Tensor cells = img_in_.forward(tape, padded);
        const std::int64_t tokens = cells.elements() / size[0] / widths_.hidden;
        components.push_back(cells.view({size[0], tokens, widths_.hidden}));
    };
    read(in.x);
    for (const Tensor& reference : in.references) read(reference);
    const std::int64_t own = components.front().shape()[1];
    Tensor img = ghost::cat(tape, root_, components, 1);

    const Tensor waves = timestep_embedding(tape, embedder_, in.timesteps, kTimestepWidth);
    const Tensor time =
        time_embedder_.forward(tape, ghost::to_type(tape, embedder_, waves, in.x.type()));
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", embedder_, time);
        return time_proj_.forward(tape, active).view({s[0], kModulations, widths_.hidden});
    }();
    Tensor txt = text_embedder_.forward(tape, in.context);
    const Tensor table = rotations(tape, img.shape()[1]);
    for (const JoyImageBlock& block : blocks_) block.forward(tape, img, txt, modulation, table);

    img = img.view(img.shape().with(1, own));
    const Tensor normal = norm_out_.forward(tape, img);
    img = proj_out_.forward(tape, normal);
    return ghost::clone(tape, root_, img,
                        {s[0], s[1], s[2], patches(s[3]) * kPatch, patches(s[4]) * kPatch})
        .view(s);
}

Result<std::shared_ptr<const Denoiser>> build_joyimage(const JoyImageConfig& c) {
    const bool sound = within(c.in_channels, 1, kWidthMax) && within(c.hidden_size, 2, kWidthMax) &&
                       within(c.text_dim, 1, kWidthMax) &&
                       within(c.num_attention_heads, 1, c.hidden_size) &&
                       c.hidden_size % (2 * c.num_attention_heads) == 0 &&
                       within(c.mlp_width_ratio, 1, 64) && within(c.num_layers, 1, kDepthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("JoyAI-Image with {} blocks of width {} and {} heads cannot be",
                                c.num_layers, c.hidden_size, c.num_attention_heads));
    return std::make_shared<const JoyImageNetwork>(c);
}

}  // namespace plimsoll::memory
