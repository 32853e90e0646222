// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/t5gemma.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

// Its feed-forward is Gemma 2's.
modelfile::DecoderConfig feed_forward(const modelfile::T5GemmaConfig& c) {
    modelfile::DecoderConfig config;
    config.hidden_size = c.hidden_size;
    config.intermediate_size = c.intermediate_size;
    config.transformer_type = "gemma2";
    return config;
}

}  // namespace

T5GemmaLayer::T5GemmaLayer(Registry& r, std::string_view path, const modelfile::T5GemmaConfig& c)
    : path_(r.path(path, "self_attn")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      q_(r, r.path(*path_, "q_proj"), c.hidden_size, heads_ * head_dim_, Bias::No),
      k_(r, r.path(*path_, "k_proj"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      v_(r, r.path(*path_, "v_proj"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      out_(r, r.path(*path_, "o_proj"), heads_ * head_dim_, c.hidden_size, Bias::No),
      mlp_(r, fmt::format("{}.mlp", path), feed_forward(c)) {
    for (const std::string_view name : {"pre_self_attn_layernorm", "post_self_attn_layernorm",
                                        "pre_feedforward_layernorm", "post_feedforward_layernorm"})
        norms_.emplace_back(r, r.path(path, name), c.hidden_size, true);
}

// Weights of the tokens for each other: cap x tanh(scores / cap), the mask, softmax in fp32.
Tensor T5GemmaLayer::scores(Tape& tape, const Tensor& q, const Tensor& k,
                            const Tensor& mask) const {
    const Shape& s = q.shape();
    const Shape square{s[0], heads_, s[2], s[2]};
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, path_, x);
    };
    Tensor x = [&] {
        Tensor scaled = unary("mul", q);
        // Heads of one text are rows that lie apart evenly; of several they are copied together.
        if (s[0] > 1) scaled = ghost::clone(tape, path_, scaled, s);
        Tensor product = tape.make(square, q.type(), "bmm", path_);
        tape.charge(OpClass::MatMul, "bmm", path_, 2 * product.elements() * head_dim_,
                    scaled.bytes() + k.bytes() + product.bytes());
        return product;
    }();
    x = [&] {
        const Tensor bent = [&] {
            const Tensor small = unary("div", x);
            return unary("tanh", small);
        }();
        return unary("mul", bent);
    }();
    if (mask.defined()) x = ghost::combine(tape, "add", path_, {&x, &mask}, square, x.type());
    const Tensor wide = ghost::to_type(tape, path_, x, ElementType::Float32);
    const Tensor weights = unary("softmax", wide);
    return ghost::to_type(tape, path_, weights, q.type());
}

Tensor T5GemmaLayer::attend(Tape& tape, const Tensor& x, const Tensor& mask,
                            const DecoderRope& rope) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const auto by_heads = [&](const Tensor& t, std::int64_t heads) {
        return t.view({batch, heads, tokens, head_dim_});
    };
    Tensor q = by_heads(q_.forward(tape, x), heads_);
    Tensor k = by_heads(k_.forward(tape, x), kv_heads_);
    Tensor v = by_heads(v_.forward(tape, x), kv_heads_);
    {
        const Tensor rotated_q = rotate(tape, path_, q, rope);
        const Tensor rotated_k = rotate(tape, path_, k, rope);
        q = ghost::to_type(tape, path_, rotated_q, q.type());
        k = ghost::to_type(tape, path_, rotated_k, k.type());
    }
    // Repeated for every query head: a copy even where there is one for each.
    const Shape all{batch, heads_, tokens, head_dim_};
    k = ghost::clone(tape, path_, k, all);
    v = ghost::clone(tape, path_, v, all);
    const Tensor weights = scores(tape, q, k, mask);
    const Tensor rows = [&] {
        const Tensor out = tape.make(all, q.type(), "bmm", path_);
        tape.charge(OpClass::MatMul, "bmm", path_, 2 * weights.elements() * head_dim_,
                    weights.bytes() + v.bytes() + out.bytes());
        return ghost::clone(tape, path_, out, {batch, tokens, heads_ * head_dim_});
    }();
    return out_.forward(tape, rows);
}

Tensor T5GemmaLayer::forward(Tape& tape, const Tensor& input, const Tensor& mask,
                             const DecoderRope& rope) const {
    Tensor residual = input;
    Tensor x = norms_[0].forward(tape, input);
    x = attend(tape, x, mask, rope);
    x = norms_[1].forward(tape, x);
    x = ghost::binary(tape, "add", path_, residual, x);
    residual = x;
    x = norms_[2].forward(tape, x);
    x = mlp_.forward(tape, x);
    x = norms_[3].forward(tape, x);
    return ghost::binary(tape, "add", path_, residual, x);
}

T5GemmaNetwork::T5GemmaNetwork(const modelfile::T5GemmaConfig& c)
    : TextNetwork("T5GemmaSDClipModel"),
      config_(c),
      encoder_(registry_.path("transformer.model.encoder", "")) {
    embed_tokens_.emplace(registry_, registry_.path(*encoder_, "embed_tokens"), c.vocab_size,
                          c.hidden_size);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *encoder_, i), c);
    norm_.emplace(registry_, registry_.path(*encoder_, "norm"), c.hidden_size, true);
}

std::vector<Tensor> T5GemmaNetwork::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *embed_tokens_, call);
    Tensor x = prompts.embeds;
    const Tensor positions =
        ghost::create(tape, "arange", encoder_, {call.tokens}, ElementType::Int64);
    const DecoderRope rope = make_rope(tape, encoder_, positions, config_.head_dim, Stretched::No);
    const Tensor mask = padding_mask(tape, encoder_, prompts.attention_mask, x.type());
    for (const T5GemmaLayer& layer : layers_) x = layer.forward(tape, x, mask, rope);
    x = norm_->forward(tape, x);
    const Tensor kept = ghost::to_type(tape, root_, prompts.attention_mask, x.type());
    ghost::binary_in_place(tape, "mul_", root_, x, kept);
    return {prompts.embeds, prompts.attention_mask, x};
}

Result<std::shared_ptr<const T5GemmaNetwork>> build_t5gemma(const modelfile::T5GemmaConfig& c) {
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.intermediate_size, 1, 2 * kWidthMax) &&
        within(c.num_hidden_layers, 1, kDepthMax) && within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 2, kWidthMax) &&
        c.head_dim % 2 == 0;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a T5Gemma of {} layers of width {} with {} heads for {} keys "
                                "cannot be",
                                c.num_hidden_layers, c.hidden_size, c.num_attention_heads,
                                c.num_key_value_heads));
    return std::make_shared<const T5GemmaNetwork>(c);
}

}  // namespace plimsoll::memory
