// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hidream_o1.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::DecoderConfig;
using modelfile::HiDreamO1Config;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's plain flow schedule
constexpr std::int64_t kPatch = 32;           // pixels along a side
constexpr std::int64_t kChannels = 3;
constexpr std::int64_t kAxes = 3;        // of positions
constexpr std::int64_t kBottleneck = 4;  // patches pass a quarter of the width

DecoderConfig decoder_config(const HiDreamO1Config& c) {
    return {.vocab_size = c.text.vocab_size,
            .hidden_size = c.text.hidden_size,
            .intermediate_size = c.text.intermediate_size,
            .num_hidden_layers = c.text.num_hidden_layers,
            .num_attention_heads = c.text.num_attention_heads,
            .num_key_value_heads = c.text.num_key_value_heads,
            .head_dim = c.text.head_dim,
            .qkv_bias = c.text.qkv_bias,
            .q_norm = true};
}

// The eye that reads reference images: Qwen3-VL's without its deep outputs. Loaded, but not run.
void register_vision(Registry& r, std::int64_t out) {
    constexpr std::int64_t kHidden = 1152;
    constexpr std::int64_t kMlp = 4304;
    constexpr int kDepth = 27;
    constexpr std::int64_t kSide = 16;
    constexpr std::int64_t kFrames = 2;
    constexpr std::int64_t kPositions = 2304;
    constexpr std::int64_t kMerged = 4 * kHidden;
    constexpr std::int64_t kRotated = 18;  // frequencies of a head of 72
    const auto linear = [&](std::string_view path, std::int64_t from, std::int64_t to) {
        r.add(r.path("visual", path), "Linear", from * to + to);
    };
    const auto norm = [&](std::string_view path) {
        r.add(r.path("visual", path), "LayerNorm", 2 * kHidden);
    };
    r.add(r.path("visual", "patch_embed.proj"), "Conv3d",
          kHidden * kChannels * kFrames * kSide * kSide + kHidden);
    r.add(r.path("visual", "pos_embed"), "Embedding", kPositions * kHidden);
    r.add_buffer(r.path("visual", "rotary_pos_emb"), "Qwen35VisionRotaryEmbedding", kRotated,
                 ModuleStorage::Float32, Saved::No);
    for (int i = 0; i < kDepth; ++i) {
        const auto at = [&](std::string_view name) { return fmt::format("blocks.{}.{}", i, name); };
        norm(at("norm1"));
        norm(at("norm2"));
        linear(at("attn.qkv"), kHidden, 3 * kHidden);
        linear(at("attn.proj"), kHidden, kHidden);
        linear(at("mlp.linear_fc1"), kHidden, kMlp);
        linear(at("mlp.linear_fc2"), kMlp, kHidden);
    }
    norm("merger.norm");
    linear("merger.linear_fc1", kMerged, kMerged);
    linear("merger.linear_fc2", kMerged, out);
}

}  // namespace

HiDreamO1Layer::HiDreamO1Layer(Registry& r, std::string_view path, const DecoderConfig& c)
    : path_(r.path(path, "")),
      attention_(r.path(path, "self_attn")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      q_(r, r.path(path, "self_attn.q_proj"), c.hidden_size, heads_ * head_dim_,
         c.qkv_bias ? Bias::Yes : Bias::No),
      k_(r, r.path(path, "self_attn.k_proj"), c.hidden_size, kv_heads_ * head_dim_,
         c.qkv_bias ? Bias::Yes : Bias::No),
      v_(r, r.path(path, "self_attn.v_proj"), c.hidden_size, kv_heads_ * head_dim_,
         c.qkv_bias ? Bias::Yes : Bias::No),
      out_(r, r.path(path, "self_attn.o_proj"), heads_ * head_dim_, c.hidden_size, Bias::No),
      q_norm_(r, r.path(path, "self_attn.q_norm"), head_dim_, false),
      k_norm_(r, r.path(path, "self_attn.k_norm"), head_dim_, false),
      mlp_(r, *r.path(path, "mlp"), c),
      input_norm_(r, r.path(path, "input_layernorm"), c.hidden_size, false),
      post_attention_norm_(r, r.path(path, "post_attention_layernorm"), c.hidden_size, false) {}

// Each half of the channels gets the other's product with the sine, in place.
Tensor HiDreamO1Layer::rotate(Tape& tape, const Tensor& x, const DecoderRope& rope) const {
    Tensor straight = ghost::combine(tape, "mul", attention_, {&x, &rope.cos}, x.shape(), x.type());
    const Tensor part = x.view(x.shape().with_last(head_dim_ / 2));
    for (const Tensor* sine : {&rope.negated_sin, &rope.sin})
        ghost::combine_in_place(tape, "addcmul_", attention_, part, {&part, sine});
    return straight;
}

Tensor HiDreamO1Layer::attend(Tape& tape, const Tensor& x, const DecoderRope& rope,
                              std::int64_t causal, Present& present) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const auto by_heads = [&](const Tensor& t, std::int64_t heads) {
        return t.view({batch, heads, tokens, head_dim_});
    };
    Tensor q = by_heads(q_.forward(tape, x), heads_);
    Tensor k = by_heads(k_.forward(tape, x), kv_heads_);
    present.v = by_heads(v_.forward(tape, x), kv_heads_);
    q = q_norm_.forward(tape, q);
    k = k_norm_.forward(tape, k);
    {
        Tensor rotated_q = rotate(tape, q, rope);
        present.k = rotate(tape, k, rope);
        q = std::move(rotated_q);
        k = present.k;
    }
    const auto pass = [&](std::int64_t queries, std::int64_t keys) {
        return ghost::attention(tape, attention_, q.view({batch, heads_, queries, head_dim_}),
                                k.view({batch, kv_heads_, keys, head_dim_}),
                                present.v.view({batch, kv_heads_, keys, head_dim_}),
                                {.batch = batch,
                                 .heads = heads_,
                                 .queries = queries,
                                 .keys = keys,
                                 .head_dim = head_dim_});
    };
    const Tensor joined = [&] {
        const std::array<Tensor, 2> parts = {pass(causal, causal), pass(tokens - causal, tokens)};
        return ghost::cat(tape, attention_, parts, 2);
    }();
    const Tensor flat = ghost::clone(tape, attention_, joined, {batch, tokens, heads_ * head_dim_});
    return out_.forward(tape, flat);
}

HiDreamO1Layer::Present HiDreamO1Layer::forward(Tape& tape, const Tensor& input,
                                                const DecoderRope& rope,
                                                std::int64_t causal) const {
    Present present;
    Tensor x = input_norm_.forward(tape, input);
    x = attend(tape, x, rope, causal, present);
    x = ghost::binary(tape, "add", path_, input, x);
    const Tensor residual = x;
    x = post_attention_norm_.forward(tape, x);
    x = mlp_.forward(tape, x);
    tape.charge(OpClass::Elementwise, "add", path_, 0,
                residual.bytes() + x.bytes() + 2 * input.bytes());
    return present;
}

HiDreamO1Network::HiDreamO1Network(const HiDreamO1Config& c)
    : config_(c),
      decoder_(decoder_config(c)),
      root_(registry_.path("", "")),
      language_model_(registry_.path("language_model", "")),
      embed_tokens_([&] {
          register_vision(registry_, c.text.hidden_size);
          const Module path = registry_.path("language_model", "embed_tokens");
          registry_.add(path, "Embedding", std::int64_t{c.text.vocab_size} * c.text.hidden_size);
          return path;
      }()),
      layers_([&] {
          std::vector<HiDreamO1Layer> layers;
          layers.reserve(static_cast<std::size_t>(c.text.num_hidden_layers));
          for (int i = 0; i < c.text.num_hidden_layers; ++i)
              layers.emplace_back(registry_, fmt::format("language_model.layers.{}", i), decoder_);
          return layers;
      }()),
      norm_(registry_, registry_.path("language_model", "norm"), c.text.hidden_size, false),
      time_(registry_.path("t_embedder1", "")),
      time_in_(registry_, registry_.path("t_embedder1", "mlp.0"), kTimestepWidth,
               c.text.hidden_size),
      time_act_(registry_.path("t_embedder1", "mlp.1")),
      time_out_(registry_, registry_.path("t_embedder1", "mlp.2"), c.text.hidden_size,
                c.text.hidden_size),
      patch_in_(registry_, registry_.path("x_embedder", "proj1"), kPatch * kPatch * kChannels,
                c.text.hidden_size / kBottleneck, Bias::No),
      patch_proj_(registry_, registry_.path("x_embedder", "proj2"),
                  c.text.hidden_size / kBottleneck, c.text.hidden_size),
      final_linear_(registry_, registry_.path("final_layer2", "linear"), c.text.hidden_size,
                    kPatch * kPatch * kChannels) {}

namespace {

// Of a reference image: patches that stand beside the image's, and tokens in the prompt that the
// eye makes of it.
struct Reference {
    std::int64_t patches = 0;
    std::int64_t seen = 0;
};

// Scaled to an area, in whole patches (HiDream-O1-Image's published pipeline).
std::int64_t patches_within(const LatentExtent& image, double side) {
    if (image.height < 1 || image.width < 1) return 1;
    const double scale = side / std::sqrt(double{1} * image.height * image.width);
    const auto whole = [&](int length) {
        return std::max(std::int64_t{1}, static_cast<std::int64_t>(length * scale) / kPatch);
    };
    return whole(image.height) * whole(image.width);
}

// The more references there are, the smaller is each.
Reference reference_of(const LatentExtent& image, std::int64_t longest, std::size_t references) {
    constexpr double kSeen = 384;
    const bool few = references <= 4;
    double share = 1;
    if (references == 2) share = 48.0 / 64;
    if (references > 2) share = few ? 0.5 : 24.0 / 64;
    if (references > 8) share = 0.25;
    double seen = kSeen;
    if (!few) seen *= references <= 8 ? 48.0 / 64 : 0.5;
    return {.patches = patches_within(image, std::floor(static_cast<double>(longest) * share)),
            .seen = patches_within(image, seen)};
}

}  // namespace

StepInputs HiDreamO1Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    std::int64_t prompt = call.tokens;
    std::int64_t beside = 0;
    for (const LatentExtent& image : call.references) {
        constexpr std::int64_t kMarks = 2;  // before and after what is seen
        const Reference reference = reference_of(
            image, std::max(call.latent_height, call.latent_width), call.references.size());
        prompt += reference.seen + kMarks;
        beside += reference.patches;
    }
    const std::int64_t tokens =
        prompt + (call.latent_height / kPatch) * (call.latent_width / kPatch) + beside;
    StepInputs in;
    in.x = tape.input({wish.batch, kChannels, call.latent_height, call.latent_width}, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.more.push_back(tape.input({wish.cond_batch, prompt}, ElementType::Int64));
    in.more.push_back(tape.input({wish.cond_batch, kAxes, tokens}, ElementType::Int64));
    in.more.push_back(tape.input({wish.cond_batch, tokens}, ElementType::Bool));
    if (beside > 0)
        in.references.push_back(
            tape.input({wish.cond_batch, beside, kPatch * kPatch * kChannels}, wish.type));
    return in;
}

std::vector<ModuleEntry> HiDreamO1Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor HiDreamO1Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor waves = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", root_, timesteps);
        const Tensor wide = timestep_embedding(tape, time_, scaled, kTimestepWidth);
        return ghost::to_type(tape, time_, wide, type);
    }();
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

// Axes of the positions take turns along the head. Kept in the network's type.
DecoderRope HiDreamO1Network::make_rope(Tape& tape, std::int64_t tokens, ElementType type) const {
    const std::int64_t half = decoder_.head_dim / 2;
    const ElementType f32 = ElementType::Float32;
    const Module m = language_model_;
    Tensor inverse = ghost::create(tape, "arange", m, {half}, f32);
    for (const std::string_view op : {"_to_copy", "div", "pow", "reciprocal", "mul"})
        inverse = ghost::unary(tape, op, m, inverse);
    const Tensor angles = [&] {
        const Tensor wide = ghost::create(tape, "_to_copy", m, {kAxes, tokens}, f32);
        Tensor product = tape.make({kAxes, tokens, half}, f32, "bmm", m);
        tape.charge(OpClass::MatMul, "bmm", m, ghost::saturating_product({2, kAxes, half, tokens}),
                    inverse.bytes() + wide.bytes() + product.bytes());
        return product;
    }();
    const Tensor own = angles.view({tokens, half});
    for (std::int64_t axis = 1; axis < kAxes; ++axis) {
        const Tensor part = own.view({tokens, half / kAxes});
        ghost::binary_in_place(tape, "copy_", m, part, part);
    }
    const Tensor all = ghost::cat(tape, m, std::array<Tensor, 2>{own, own}, 1);
    DecoderRope wide;
    wide.cos = ghost::unary(tape, "cos", m, all);
    wide.sin = ghost::unary(tape, "sin", m, all).view({tokens, half});
    wide.negated_sin = ghost::unary(tape, "neg", m, wide.sin);
    return {ghost::to_type(tape, root_, wide.cos, type),
            ghost::to_type(tape, root_, wide.sin, type),
            ghost::to_type(tape, root_, wide.negated_sin, type)};
}

// The velocity, in fp32: what is left of x over sigma.
Tensor HiDreamO1Network::denoised_from(Tape& tape, const Tensor& x, const Tensor& image,
                                       const Tensor& sigma) const {
    const Tensor difference = [&] {
        const Tensor wide_x = ghost::to_type(tape, root_, x, ElementType::Float32);
        const Tensor wide_image = ghost::to_type(tape, root_, image, ElementType::Float32);
        return ghost::binary(tape, "sub", root_, wide_x, wide_image);
    }();
    const Tensor bounded = ghost::unary(tape, "clamp_min", root_, sigma);
    return ghost::binary(tape, "div", root_, difference, bounded);
}

Tensor HiDreamO1Network::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t width = decoder_.hidden_size;
    const ElementType type = in.x.type();
    const Tensor& ids = in.more[0];
    const std::int64_t prompt = ids.shape()[1];
    const std::int64_t rows = s[2] / kPatch;
    const std::int64_t columns = s[3] / kPatch;
    const std::int64_t own = rows * columns;
    const Tensor image_patches =
        ghost::clone(tape, root_, in.x, {s[0], rows, columns, kChannels, kPatch, kPatch})
            .view({s[0], own, kPatch * kPatch * kChannels});
    Tensor patches = image_patches;
    if (!in.references.empty())
        patches =
            ghost::cat(tape, root_, std::array<Tensor, 2>{image_patches, in.references.front()}, 1);
    const std::int64_t all = patches.shape()[1];
    Tensor x = ghost::produce(tape, OpClass::Copy, "embedding", embed_tokens_, ids,
                              {s[0], prompt, width}, type);
    tape.charge(OpClass::Copy, "embedding", embed_tokens_, 0,
                decoder_.vocab_size * width * ghost::element_bytes(type), 0);  // the whole table
    const Tensor sigma = ghost::unary(tape, "div", root_, in.timesteps);
    const Tensor rest = ghost::unary(tape, "rsub", root_, sigma);
    const Tensor time = embed_time(tape, rest, type);
    const Tensor is_time = ghost::produce(tape, OpClass::Elementwise, "eq", root_, ids,
                                          {s[0], prompt}, ElementType::Bool);
    x = ghost::combine(tape, "where", root_, {&is_time, &time, &x}, x.shape(), type);
    const Tensor embedded = [&] {
        const Tensor narrow = patch_in_.forward(tape, patches);
        return patch_proj_.forward(tape, narrow);
    }();
    x = ghost::cat(tape, root_, std::array<Tensor, 2>{x, embedded}, 1);
    const DecoderRope rope = make_rope(tape, x.shape()[1], type);

    HiDreamO1Layer::Present present;
    for (const HiDreamO1Layer& layer : layers_) {
        present = layer.forward(tape, x, rope, prompt);
        const Shape kept{s[0], decoder_.num_key_value_heads, prompt, decoder_.head_dim};
        for (const Tensor* t : {&present.k, &present.v})
            tape.keep(ghost::clone(tape, root_, t->view(kept), kept));
    }
    const Tensor normal = norm_.forward(tape, x);
    const Tensor visible =
        ghost::produce(tape, OpClass::Copy, "index", root_, normal.view({s[0], all, width}),
                       {s[0], all, width}, type);
    const Tensor out = all == own
                           ? final_linear_.forward(tape, visible)
                           : final_linear_.forward_slice(tape, visible.view({s[0], own, width}));
    const Tensor image =
        ghost::clone(tape, root_, out, {s[0], kChannels, rows, kPatch, columns, kPatch});
    return denoised_from(tape, in.x, image.view(s), sigma);
}

Result<std::shared_ptr<const Denoiser>> build_hidream_o1(const HiDreamO1Config& config) {
    const modelfile::HiDreamO1TextConfig& c = config.text;
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, kBottleneck, kWidthMax) &&
        c.hidden_size % kBottleneck == 0 && within(c.intermediate_size, 1, 2 * kWidthMax) &&
        within(c.num_hidden_layers, 1, kDepthMax) && within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 2, kWidthMax) &&
        c.head_dim % 2 == 0 && c.num_attention_heads <= kWidthMax / c.head_dim;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("HiDream-O1 of {} layers of width {} with {} heads for {} keys "
                                "cannot be",
                                c.num_hidden_layers, c.hidden_size, c.num_attention_heads,
                                c.num_key_value_heads));
    return std::make_shared<const HiDreamO1Network>(config);
}

}  // namespace plimsoll::memory
