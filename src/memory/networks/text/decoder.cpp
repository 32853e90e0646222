// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/decoder.h"

#include "memory/networks/limits.h"
#include "memory/networks/text/vision_tower.h"
#include "memory/networks/text/word_choice.h"

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

// ComfyUI's classes that only encode.
constexpr std::array<std::string_view, 4> kSilent = {"LLAMAModel", "Mistral3_24BModel",
                                                     "Qwen25_3BModel", "Ovis25_2BModel"};

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

Tensor DecoderAttention::expand_heads(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    return ghost::produce(tape, OpClass::Copy, "clone", path_, x,
                          {s[0], kv_heads_, heads_ / kv_heads_, s[2], head_dim_}, x.type());
}

Tensor DecoderAttention::forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 const DecoderRope& rope, const DecoderCache& cache) const {
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
        const Tensor rotated_q = rotate(tape, path_, q, rope);
        const Tensor rotated_k = rotate(tape, path_, k, rope);
        q = ghost::to_type(tape, path_, rotated_q, q.type());
        k = ghost::to_type(tape, path_, rotated_k, k.type());
    }
    std::int64_t keys = tokens;
    if (cache.keys.defined()) {
        for (const Tensor* fresh : {&k, &v})
            tape.charge(OpClass::Copy, "copy_", path_, 0, 2 * fresh->bytes());
        keys += cache.past;
        if (cache.window > 0 && tokens == 1) keys = std::min(keys, cache.window);
        k = cache.keys.view({batch, kv_heads_, keys, head_dim_});
        v = cache.values.view({batch, kv_heads_, keys, head_dim_});
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
                                 .keys = keys,
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
                             const std::vector<DecoderRope>& ropes, DecoderCache cache) const {
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
    cache.window = near_only_ ? kGemma3Window : 0;
    x = attention_.forward(tape, x, layer_mask, rope, cache);
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
      writes_(std::ranges::find(kSilent, class_name) == kSilent.end()),
      model_(registry_.path("transformer.model", "")) {
    if (c.scaled_fp8) registry_.scale_linears();
    embed_tokens_.emplace(registry_, registry_.path(*model_, "embed_tokens"), c.vocab_size,
                          c.hidden_size,
                          c.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork);
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *model_, i), c, i);
    registry_.pack_linears(0);
    if (c.writes_sound) sound_.emplace(registry_, *model_, c.hidden_size, c.linear_millibits);
    if (c.final_norm)
        norm_.emplace(registry_, registry_.path(*model_, "norm"), c.hidden_size, is_gemma(c));
    if (c.lm_head) {
        registry_.add(registry_.path(*model_, "lm_head"), "Linear",
                      std::int64_t{c.vocab_size} * c.hidden_size);
    }
    register_vision_tower(registry_, c.vision, c.hidden_size);
}

std::vector<DecoderRope> DecoderNetwork::make_ropes(Tape& tape, const Tensor& positions) const {
    const bool two = config_.transformer_type == "gemma3";
    const Stretched stretched = two ? Stretched::Yes : Stretched::No;
    std::vector<DecoderRope> ropes;
    for (int i = 0; i < (two ? 2 : 1); ++i)
        ropes.push_back(make_rope(tape, model_, positions, config_.head_dim, stretched));
    return ropes;
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
    const std::vector<DecoderRope> ropes = make_ropes(tape, positions);
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
        x = layer.forward(tape, x, mask, ropes, {});
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

void DecoderNetwork::write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const {
    const ElementType type = tape.compute();
    const std::int64_t width = config_.hidden_size;
    // What the node keeps while the text is written, and room for all of it.
    const Tensor prompt =
        tape.make({call.batch, call.prompt_tokens, width}, ElementType::Float32, "cat", root_);
    tape.charge(OpClass::Copy, "cat", root_, 0, 2 * prompt.bytes());
    const std::int64_t room = std::int64_t{call.prompt_tokens} + call.new_tokens;
    std::vector<DecoderCache> caches;
    caches.reserve(layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Shape shape{call.batch, config_.num_key_value_heads, room, config_.head_dim};
        caches.push_back({.keys = tape.make(shape, type, "empty", model_),
                          .values = tape.make(shape, type, "empty", model_),
                          .past = step.past});
    }
    Tensor x = tape.make({call.batch, step.tokens, width}, type, "embedding", model_);
    tape.charge(OpClass::Copy, "embedding", model_, 0, 2 * x.bytes());
    const Tensor positions =
        ghost::create(tape, "arange", model_, {step.tokens}, ElementType::Int64);
    const std::vector<DecoderRope> ropes = make_ropes(tape, positions);
    const std::int64_t keys = std::int64_t{step.past} + step.tokens;
    Tensor mask;
    if (call.masked) {
        const Tensor hidden =
            ghost::create(tape, "rsub", model_, {call.batch, 1, step.tokens, keys}, type);
        mask = ghost::unary(tape, "masked_fill", model_, hidden);
    }
    if (step.tokens > 1) {
        const Tensor causal = ghost::create(tape, "full", model_, {keys, keys}, type);
        ghost::unary_in_place(tape, "triu_", model_, causal);
        if (mask.defined())
            ghost::binary_in_place(tape, "add_", model_, mask, causal);
        else
            mask = causal;
    }
    for (std::size_t i = 0; i < layers_.size(); ++i)
        x = layers_[i].forward(tape, x, mask, ropes, caches[i]);
    if (norm_) x = norm_->forward(tape, x);
    if (sound_) {
        const Tensor next = sound_->write(tape, x);
        return;
    }
    // A table that is kept in 16 bit is taken as it is.
    const ElementType stored =
        stored_type(tape, config_.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork);
    const bool as_it_is = stored == ElementType::Float16 || stored == ElementType::BFloat16;
    choose_word(tape, model_, score_words(tape, model_, x, config_.vocab_size, as_it_is));
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
