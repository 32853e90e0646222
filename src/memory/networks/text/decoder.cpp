// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/decoder.h"

#include "memory/networks/limits.h"
#include "memory/networks/text/vision_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kGemma3Window = 1024;  // tokens that a near-only layer looks back
constexpr int kMillibitsMax = 32'000;         // of fp32
constexpr int kGemma3Period = 6;              // every sixth layer looks at all of them

bool is_gemma(const modelfile::DecoderConfig& c) {
    return c.transformer_type == "gemma2" || c.transformer_type == "gemma3";
}

Bias qkv_bias(const modelfile::DecoderConfig& c) {
    return c.qkv_bias ? Bias::Yes : Bias::No;
}

}  // namespace

DecoderNorm::DecoderNorm(Registry& registry, Module path, std::int64_t width, bool adds_one)
    : path_(path), width_(width), adds_one_(adds_one) {
    registry.add_plain(path, "RMSNorm", width);
}

Tensor DecoderNorm::forward(Tape& tape, const Tensor& x) const {
    const Tensor sum = [&] {
        if (!adds_one_) return Tensor{};
        Tensor weight_and_one = tape.make({width_}, tape.options().storage, "add", path_);
        tape.charge(OpClass::Elementwise, "add", path_, 0, 2 * weight_and_one.bytes());
        return weight_and_one;
    }();
    const Tape::Cast weight = tape.cast_weight({width_}, path_);
    return rms_norm(tape, path_, x, Affine::Yes);
}

DecoderAttention::DecoderAttention(Registry& r, std::string_view path,
                                   const modelfile::DecoderConfig& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      q_(r, r.path(path, "q_proj"), c.hidden_size, heads_ * head_dim_, qkv_bias(c)),
      k_(r, r.path(path, "k_proj"), c.hidden_size, kv_heads_ * head_dim_, qkv_bias(c)),
      v_(r, r.path(path, "v_proj"), c.hidden_size, kv_heads_ * head_dim_, qkv_bias(c)),
      out_(r, r.path(path, "o_proj"), heads_ * head_dim_, c.hidden_size, Bias::No) {
    if (!c.q_norm) return;
    q_norm_.emplace(r, r.path(path, "q_norm"), head_dim_, is_gemma(c));
    k_norm_.emplace(r, r.path(path, "k_norm"), head_dim_, is_gemma(c));
}

Tensor DecoderAttention::rotate(Tape& tape, const Tensor& x, const DecoderRope& rope) const {
    const Shape& s = x.shape();
    const auto times = [&](const Tensor& a, const Tensor& table) {
        return ghost::combine(tape, "mul", path_, {&a, &table}, s, x.type());
    };
    Tensor straight = times(x, rope.cos);
    const Shape half = s.with_last(head_dim_ / 2);
    if (since_033(tape)) {
        // Each half of the channels gets the other's product with the sine, in place.
        const Tensor part = x.view(half);
        for (int i = 0; i < 2; ++i) {
            tape.charge(OpClass::Elementwise, "addcmul_", path_, 0,
                        3 * part.bytes() + rope.negated_sin.bytes());
        }
        return straight;
    }
    const Tensor crossed = [&] {
        const Tensor turned = [&] {
            const Tensor part = x.view(half);
            const std::array<Tensor, 2> halves = {ghost::unary(tape, "neg", path_, part), part};
            return ghost::cat(tape, path_, halves, half.rank() - 1);
        }();
        return times(turned, rope.sin);
    }();
    return ghost::binary(tape, "add", path_, straight, crossed);
}

Tensor DecoderAttention::expand_heads(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    return ghost::produce(tape, OpClass::Copy, "clone", path_, x,
                          {s[0], kv_heads_, heads_ / kv_heads_, s[2], head_dim_}, x.type());
}

Tensor DecoderAttention::forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 const DecoderRope& rope) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const auto by_heads = [&](const Tensor& t, std::int64_t heads) {
        return t.view({batch, heads, tokens, head_dim_});
    };
    Tensor q = by_heads(q_.forward(tape, x), heads_);
    Tensor k = by_heads(k_.forward(tape, x), kv_heads_);
    Tensor v = by_heads(v_.forward(tape, x), kv_heads_);
    if (q_norm_) q = q_norm_->forward(tape, q);
    if (k_norm_) k = k_norm_->forward(tape, k);
    {
        Tensor rotated_q = rotate(tape, q, rope);
        Tensor rotated_k = rotate(tape, k, rope);
        q = std::move(rotated_q);
        k = std::move(rotated_k);
    }
    const Tensor out = [&] {
        // Since 0.33.0 the attention function repeats keys and values for itself.
        const bool newer = since_033(tape);
        Tensor wide_k = expand_heads(tape, k);
        if (!newer) k = wide_k;
        Tensor wide_v = expand_heads(tape, v);
        if (!newer) v = wide_v;
        return ghost::attention(tape, path_, q, wide_k, wide_v,
                                {.batch = batch,
                                 .heads = heads_,
                                 .queries = tokens,
                                 .keys = tokens,
                                 .head_dim = head_dim_},
                                mask);
    }();
    return out_.forward(tape, out.view({batch, tokens, heads_ * head_dim_}));
}

DecoderMlp::DecoderMlp(Registry& r, std::string_view path, const modelfile::DecoderConfig& c)
    : path_(r.path(path, "")),
      activation_(is_gemma(c) ? "gelu" : "silu"),
      gate_(r, r.path(path, "gate_proj"), c.hidden_size, c.intermediate_size, Bias::No),
      up_(r, r.path(path, "up_proj"), c.hidden_size, c.intermediate_size, Bias::No),
      down_(r, r.path(path, "down_proj"), c.intermediate_size, c.hidden_size, Bias::No) {}

Tensor DecoderMlp::forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor gate = [&] {
            const Tensor in = gate_.forward(tape, x);
            return ghost::unary(tape, activation_, path_, in);
        }();
        const Tensor up = up_.forward(tape, x);
        return ghost::binary(tape, "mul", path_, gate, up);
    }();
    return down_.forward(tape, hidden);
}

DecoderLayer::DecoderLayer(Registry& r, std::string_view path, const modelfile::DecoderConfig& c,
                           int index)
    : path_(r.path(path, "")),
      near_only_(c.transformer_type == "gemma3" && (index + 1) % kGemma3Period != 0),
      attention_(r, fmt::format("{}.self_attn", path), c),
      mlp_(r, fmt::format("{}.mlp", path), c),
      input_norm_(r, r.path(path, "input_layernorm"), c.hidden_size, is_gemma(c)),
      post_attention_norm_(r, r.path(path, "post_attention_layernorm"), c.hidden_size,
                           is_gemma(c)) {
    if (!is_gemma(c)) return;
    pre_feed_forward_norm_.emplace(r, r.path(path, "pre_feedforward_layernorm"), c.hidden_size,
                                   true);
    post_feed_forward_norm_.emplace(r, r.path(path, "post_feedforward_layernorm"), c.hidden_size,
                                    true);
}

Tensor DecoderLayer::forward(Tape& tape, const Tensor& input, const Tensor& mask,
                             const std::vector<DecoderRope>& ropes) const {
    Tensor x = input;
    Tensor residual = x;
    const std::int64_t tokens = x.shape()[1];
    Tensor far;
    Tensor layer_mask = mask;
    if (near_only_ && tokens > kGemma3Window) {
        far = ghost::create(tape, "full", path_, {tokens, tokens}, x.type());
        ghost::unary_in_place(tape, "tril_", path_, far);
        layer_mask = ghost::binary(tape, "add", path_, mask, far);
    }
    const DecoderRope& rope = near_only_ ? ropes.back() : ropes.front();
    x = input_norm_.forward(tape, x);
    x = attention_.forward(tape, x, layer_mask, rope);
    if (post_feed_forward_norm_) x = post_attention_norm_.forward(tape, x);
    x = ghost::binary(tape, "add", path_, residual, x);
    residual = x;
    x = pre_feed_forward_norm_ ? pre_feed_forward_norm_->forward(tape, x)
                               : post_attention_norm_.forward(tape, x);
    x = mlp_.forward(tape, x);
    if (post_feed_forward_norm_) x = post_feed_forward_norm_->forward(tape, x);
    if (!since_033(tape)) return ghost::binary(tape, "add", path_, residual, x);
    // Since 0.33.0 the layer's output is written over its input.
    tape.charge(OpClass::Elementwise, "add", path_, 0,
                residual.bytes() + x.bytes() + 2 * input.bytes());
    return input;
}

DecoderNetwork::DecoderNetwork(const modelfile::DecoderConfig& c, DecoderOutput output,
                               std::string_view class_name)
    : TextNetwork(class_name),
      config_(c),
      output_(std::move(output)),
      model_(registry_.path("transformer.model", "")) {
    if (c.scaled_fp8) registry_.scale_linears();
    embed_tokens_.emplace(registry_, registry_.path(*model_, "embed_tokens"), c.vocab_size,
                          c.hidden_size,
                          c.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork);
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *model_, i), c, i);
    registry_.pack_linears(0);
    if (c.final_norm)
        norm_.emplace(registry_, registry_.path(*model_, "norm"), c.hidden_size, is_gemma(c));
    if (c.lm_head) {
        registry_.add(registry_.path(*model_, "lm_head"), "Linear",
                      std::int64_t{c.vocab_size} * c.hidden_size);
    }
    register_vision_tower(registry_, c.vision, c.hidden_size);
}

// [1, tokens, head_dim] each: the same for the whole batch.
DecoderRope DecoderNetwork::make_rope(Tape& tape, const Tensor& positions) const {
    const std::int64_t half = config_.head_dim / 2;
    const std::int64_t tokens = positions.elements();
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, model_, x);
    };
    const Tensor numerator = [&] {
        const Tensor even = ghost::create(tape, "arange", model_, {half}, ElementType::Int64);
        return ghost::to_type(tape, model_, even, ElementType::Float32);
    }();
    const Tensor inverse = [&] {
        Tensor exponent = unary("div", numerator);
        const Tensor power = unary("pow", exponent);
        exponent = {};
        const Tensor reciprocal = unary("reciprocal", power);
        return unary("mul", reciprocal);
    }();
    if (config_.transformer_type == "gemma3") ghost::unary_in_place(tape, "div_", model_, inverse);
    const Tensor wide = ghost::to_type(tape, model_, positions, ElementType::Float32);
    const Tensor angles = tape.make({1, half, tokens}, ElementType::Float32, "bmm", model_);
    tape.charge(OpClass::MatMul, "bmm", model_, 2 * half * tokens,
                inverse.bytes() + wide.bytes() + angles.bytes());
    const std::array<Tensor, 2> twice = {angles, angles};
    const Tensor all = ghost::cat(tape, model_, twice, 1).view({1, tokens, 2 * half});
    DecoderRope rope;
    rope.cos = unary("cos", all);
    rope.sin = unary("sin", all);
    if (since_033(tape)) rope.negated_sin = unary("neg", rope.sin.view({1, tokens, half}));
    return rope;
}

// What lives in the frame of the stack's forward when it returns.
struct DecoderNetwork::Stack {
    Tensor x;
    Tensor intermediate;
};

DecoderNetwork::Stack DecoderNetwork::run_layers(Tape& tape, const EmbeddedPrompts& prompts,
                                                 const DecoderOutput& output) const {
    using Kind = DecoderOutput::Kind;
    Stack stack;
    Tensor& x = stack.x;
    x = prompts.embeds;
    const std::int64_t tokens = x.shape()[1];
    if (is_gemma(config_)) ghost::unary_in_place(tape, "mul_", model_, x);
    const Tensor positions = ghost::create(tape, "arange", model_, {tokens}, ElementType::Int64);
    std::vector<DecoderRope> ropes;
    ropes.push_back(make_rope(tape, positions));
    if (config_.transformer_type == "gemma3") ropes.push_back(make_rope(tape, positions));
    Tensor mask =
        output.masked ? padding_mask(tape, model_, prompts.attention_mask, x.type()) : Tensor{};
    const Tensor causal = tape.make({tokens, tokens}, x.type(), "empty", model_);
    tape.charge(OpClass::Copy, "empty", model_, 0, 0, 0);
    ghost::unary_in_place(tape, "fill_", model_, causal);
    ghost::unary_in_place(tape, "triu_", model_, causal);
    if (mask.defined())
        ghost::binary_in_place(tape, "add_", model_, mask, causal);
    else
        mask = causal;

    const int depth = config_.num_hidden_layers;
    const auto is_kept = [&](int index) {
        return output.kind == Kind::All ||
               (output.kind == Kind::Layers && std::find(output.layers.begin(), output.layers.end(),
                                                         index) != output.layers.end());
    };
    const int hidden = output.hidden_layer < 0 ? depth + output.hidden_layer : output.hidden_layer;
    std::vector<Tensor> kept;
    const auto keep = [&] {
        const Shape& s = x.shape();
        kept.push_back(ghost::clone(tape, model_, x, {s[0], 1, s[1], s[2]}));
    };
    for (int i = 0; i < depth; ++i) {
        if (is_kept(i)) keep();
        const DecoderLayer& layer = layers_[static_cast<std::size_t>(i)];
        x = layer.forward(tape, x, mask, ropes);
        if (output.kind == Kind::Hidden && i == hidden)
            stack.intermediate = ghost::clone(tape, model_, x, x.shape());
    }
    if (norm_) x = norm_->forward(tape, x);
    if (is_kept(depth)) keep();
    if (!kept.empty()) stack.intermediate = ghost::cat(tape, model_, kept, 1);
    if (output.kind == Kind::Hidden && output.normalize_hidden && norm_)
        stack.intermediate = norm_->forward(tape, stack.intermediate);
    return stack;
}

std::vector<Tensor> DecoderNetwork::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *embed_tokens_, call);
    const DecoderOutput& output = call.output != nullptr ? *call.output : output_;
    const Stack stack = run_layers(tape, prompts, output);
    if (output.zero_out_masked) {
        const Tensor kept = ghost::to_type(tape, root_, prompts.attention_mask, stack.x.type());
        ghost::binary_in_place(tape, "mul_", root_, stack.x, kept);
    }
    return {prompts.embeds, prompts.attention_mask, stack.x, stack.intermediate};
}

Result<std::shared_ptr<const DecoderNetwork>> build_decoder(const modelfile::DecoderConfig& c,
                                                            const DecoderOutput& output,
                                                            std::string_view class_name) {
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.intermediate_size, 1, 2 * kWidthMax) &&
        within(c.num_hidden_layers, 1, kDepthMax) && within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.linear_millibits, 0, kMillibitsMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 1, kWidthMax) &&
        c.head_dim % 2 == 0 && (c.transformer_type == "llama" || is_gemma(c)) &&
        is_vision_tower(c.vision);
    if (!sound) {
        return fail(Errc::InvalidInput,
                    fmt::format("a {} of {} layers of width {} with {} heads for {} keys cannot be",
                                c.transformer_type, c.num_hidden_layers, c.hidden_size,
                                c.num_attention_heads, c.num_key_value_heads));
    }
    const auto exists = [&](int layer) { return layer >= 0 && layer <= c.num_hidden_layers; };
    const bool has_layers = (output.kind != DecoderOutput::Kind::Hidden ||
                             (output.hidden_layer < c.num_hidden_layers &&
                              output.hidden_layer >= -c.num_hidden_layers)) &&
                            std::all_of(output.layers.begin(), output.layers.end(), exists);
    if (!has_layers) {
        return fail(Errc::InvalidInput, fmt::format("hidden states of a layer that is none of {}",
                                                    c.num_hidden_layers));
    }
    return std::make_shared<const DecoderNetwork>(c, output, class_name);
}

}  // namespace plimsoll::memory
