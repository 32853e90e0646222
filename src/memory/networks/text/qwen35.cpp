// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/qwen35.h"

#include "memory/networks/limits.h"
#include "memory/networks/text/word_choice.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr int kMillibitsMax = 32'000;  // of fp32
constexpr int kPeriod = 4;             // every fourth layer attends
constexpr std::int64_t kChunk = 64;    // tokens, of the reference implementation
constexpr int kRotatedPart = 4;        // a quarter of a head's channels is rotated

bool attends(int index) {
    return (index + 1) % kPeriod == 0;
}

modelfile::DecoderConfig feed_forward(const modelfile::Qwen35Config& c) {
    modelfile::DecoderConfig config;
    config.hidden_size = c.hidden_size;
    config.intermediate_size = c.intermediate_size;
    return config;
}

Tensor multiply(Tape& tape, Module module, const Tensor& a, const Tensor& b, const Shape& out,
                std::int64_t inner) {
    Tensor product = tape.make(out, a.type(), "bmm", module);
    tape.charge(OpClass::MatMul, "bmm", module, 2 * product.elements() * inner,
                a.bytes() + b.bytes() + product.bytes());
    return product;
}

}  // namespace

Qwen35DeltaNet::Qwen35DeltaNet(Registry& r, std::string_view path, const modelfile::Qwen35Config& c)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "GatedDeltaNet", std::int64_t{2} * c.linear_num_value_heads,
                               ModuleStorage::AsNetwork);  // dt_bias, A_log
          return own;
      }()),
      key_heads_(c.linear_num_key_heads),
      value_heads_(c.linear_num_value_heads),
      key_dim_(c.linear_key_head_dim),
      value_dim_(c.linear_value_head_dim),
      kernel_(c.linear_conv_kernel_dim),
      in_qkv_(r, r.path(path, "in_proj_qkv"), c.hidden_size, conv_channels(), Bias::No),
      in_z_(r, r.path(path, "in_proj_z"), c.hidden_size, value_width(), Bias::No),
      in_b_(r, r.path(path, "in_proj_b"), c.hidden_size, value_heads_, Bias::No),
      in_a_(r, r.path(path, "in_proj_a"), c.hidden_size, value_heads_, Bias::No),
      out_(r, r.path(path, "out_proj"), value_width(), c.hidden_size, Bias::No),
      conv_([&] {
          const Module own = r.path(path, "conv1d");
          r.add(own, "Conv1d", conv_channels() * kernel_);
          return own;
      }()),
      norm_(r, r.path(path, "norm"), value_dim_, false) {}

// A convolution of each channel over the last few tokens, and silu. `x`: [N, channels, tokens],
// copied together first.
Tensor Qwen35DeltaNet::convolve(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor raw = [&] {
        const Tensor together = ghost::clone(tape, conv_, x, s);
        const Tape::Cast weight = tape.cast_weight({conv_channels(), 1, kernel_}, conv_);
        Tensor out = tape.make({s[0], s[1], s[2] + kernel_ - 1}, x.type(), "convolution", conv_);
        tape.charge(OpClass::Convolution, "convolution", conv_, 2 * out.elements() * kernel_,
                    together.bytes() + out.bytes());
        return out;
    }();
    return ghost::unary(tape, "silu", path_, raw.view(s));
}

// The delta rule over a prompt, in fp32: within chunks by matrices, from chunk to chunk by a state.
Tensor Qwen35DeltaNet::by_chunks(Tape& tape, const Tensor& mixed) const {
    const std::int64_t batch = mixed.shape()[0];
    const std::int64_t tokens = mixed.shape()[2];
    const std::int64_t chunks = (tokens + kChunk - 1) / kChunk;
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, path_, x);
    };
    const Shape by_head{batch, tokens, value_heads_, key_dim_};
    const Shape padded{batch, value_heads_, chunks * kChunk, key_dim_};
    const Shape square{batch, value_heads_, chunks, kChunk, kChunk};
    // Queries and keys for every head of values, of length 1.
    const auto for_each_head = [&] {
        const Tensor part = mixed.view(by_head);
        return value_heads_ == key_heads_ ? part : ghost::clone(tape, path_, part, by_head);
    };
    const Tensor query = for_each_head();
    const Tensor key = for_each_head();
    const auto widened = [&](const Tensor& x) {
        const Tensor normal = unary("div", x);
        const Tensor together = ghost::clone(tape, path_, normal, by_head);
        return ghost::to_type(tape, path_, together, ElementType::Float32);
    };
    Tensor q = widened(query);
    Tensor k = widened(key);
    Tensor v = [&] {
        const Tensor together = ghost::clone(
            tape, path_, mixed.view({batch, tokens, value_heads_, value_dim_}), by_head);
        return ghost::to_type(tape, path_, together, ElementType::Float32);
    }();
    for (Tensor* part : {&q, &k, &v})
        *part = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, *part, padded,
                               ElementType::Float32);
    q = unary("mul", q);
    const Tensor v_beta = unary("mul", v);
    const Tensor k_beta = unary("mul", k);
    const Tensor decay = [&] {
        const Tensor grown = [&] {
            const Tensor lower = [&] {
                const Tensor gaps = ghost::create(tape, "sub", path_, square, ElementType::Float32);
                return unary("tril", gaps);
            }();
            return unary("exp", lower);
        }();
        return unary("tril", grown);
    }();
    Tensor weights = [&] {
        const Tensor hidden = [&] {
            const Tensor damped = [&] {
                const Tensor product = multiply(tape, path_, k_beta, k, square, key_dim_);
                return ghost::binary(tape, "mul", path_, product, decay);
            }();
            return unary("masked_fill", damped);
        }();
        return unary("neg", hidden);
    }();
    // Row after row of each chunk's triangle takes in those above it.
    for (std::int64_t i = 1; i < kChunk; ++i) {
        const Shape above{batch, value_heads_, chunks, i, i};
        const Tensor sub = ghost::create(tape, "clone", path_, above, ElementType::Float32);
        const Tensor product = unary("mul", sub);
        tape.charge(OpClass::Elementwise, "sum", path_, 0, product.bytes(), 4);
    }
    weights = unary("add", weights);
    v = multiply(tape, path_, weights, v_beta, padded, kChunk);
    const Tensor k_decayed = [&] {
        const Tensor scaled = unary("mul", k_beta);
        return multiply(tape, path_, weights, scaled, padded, kChunk);
    }();
    const Tensor state = ghost::create(
        tape, "zeros", path_, {batch, value_heads_, key_dim_, value_dim_}, ElementType::Float32);
    const Tensor out = ghost::create_like(tape, "zeros_like", path_, v);
    for (std::int64_t i = 0; i < chunks; ++i) {
        constexpr int kKernels = 12;  // small ones, beside the products
        constexpr int kProducts = 5;  // of a chunk with the state or with itself
        const std::int64_t rows = batch * value_heads_ * kChunk;
        tape.charge(OpClass::MatMul, "bmm", path_, 2 * kProducts * rows * key_dim_ * value_dim_,
                    kProducts * (state.bytes() + rows * key_dim_ * 4), kProducts);
        tape.charge(OpClass::Elementwise, "mul", path_, 0, kKernels * rows * key_dim_ * 4,
                    kKernels);
    }
    const Tensor together =
        ghost::clone(tape, path_, out.view({batch, tokens, value_heads_, value_dim_}),
                     {batch, tokens, value_heads_, value_dim_});
    return ghost::to_type(tape, path_, together, mixed.type());
}

// The same for one token: its state is changed in place.
Tensor Qwen35DeltaNet::one_token(Tape& tape, const Tensor& mixed, const Tensor& state) const {
    const std::int64_t batch = mixed.shape()[0];
    const Shape heads{batch, value_heads_, key_dim_};
    const Tensor query = ghost::produce(tape, OpClass::Elementwise, "div", path_, mixed.view(heads),
                                        heads, ElementType::Float32);
    const Tensor key = ghost::create_like(tape, "div", path_, query);
    const Tensor value = ghost::create_like(tape, "to", path_, query);
    ghost::unary_in_place(tape, "mul_", path_, state);
    const std::int64_t flops = 2 * state.elements();
    const Tensor remembered = ghost::create_like(tape, "bmm", path_, value);
    tape.charge(OpClass::MatMul, "bmm", path_, flops, state.bytes());
    const Tensor delta = ghost::binary(tape, "sub", path_, value, remembered);
    {
        const Tensor outer = ghost::create_like(tape, "mul", path_, state);
        ghost::binary_in_place(tape, "add_", path_, state, outer);
    }
    const Tensor out = ghost::create_like(tape, "bmm", path_, value);
    tape.charge(OpClass::MatMul, "bmm", path_, flops, state.bytes());
    return ghost::to_type(tape, path_, out, mixed.type());
}

Tensor Qwen35DeltaNet::forward(Tape& tape, const Tensor& x, const Qwen35Cache& cache,
                               std::int64_t past) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    Tensor mixed = in_qkv_.forward(tape, x).view({batch, conv_channels(), tokens});
    const Tensor z = in_z_.forward(tape, x);
    const Tensor b = in_b_.forward(tape, x);
    const Tensor a = in_a_.forward(tape, x);
    const bool goes_on = cache.state.defined() && past > 0 && tokens == 1;
    if (goes_on) {
        const Tensor window =
            tape.make({batch, conv_channels(), kernel_}, mixed.type(), "cat", path_);
        tape.charge(OpClass::Copy, "cat", path_, 0, 2 * window.bytes());
        const Tensor product = ghost::unary(tape, "mul", path_, window);
        const Tensor sum = ghost::unary(tape, "sum", path_, mixed);
        mixed = ghost::unary(tape, "silu", path_, sum);
    } else {
        mixed = convolve(tape, mixed);
    }
    const Tensor beta = ghost::unary(tape, "sigmoid", path_, b);
    const Tensor decay = ghost::produce(tape, OpClass::Elementwise, "softplus", path_, a, a.shape(),
                                        ElementType::Float32);
    Tensor core = goes_on ? one_token(tape, mixed, cache.state) : by_chunks(tape, mixed);
    core = [&] {
        const Shape rows{batch * tokens * value_heads_, value_dim_};
        const Tensor normal = norm_.forward(tape, core.view(rows));
        const Tensor gate = ghost::unary(tape, "silu", path_, z.view(rows));
        return ghost::binary(tape, "mul", path_, normal, gate);
    }();
    return out_.forward(tape, core.view({batch, tokens, value_width()}));
}

Qwen35Attention::Qwen35Attention(Registry& r, std::string_view path,
                                 const modelfile::Qwen35Config& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      q_(r, r.path(path, "q_proj"), c.hidden_size, 2 * heads_ * head_dim_, Bias::No),
      k_(r, r.path(path, "k_proj"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      v_(r, r.path(path, "v_proj"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      out_(r, r.path(path, "o_proj"), heads_ * head_dim_, c.hidden_size, Bias::No),
      q_norm_(r, r.path(path, "q_norm"), head_dim_, true),
      k_norm_(r, r.path(path, "k_norm"), head_dim_, true) {}

// A part of each head's channels, joined with the others again.
Tensor Qwen35Attention::rotate_part(Tape& tape, const Tensor& x, const DecoderRope& rope) const {
    const Shape& s = x.shape();
    const Tensor part = x.view(s.with_last(head_dim_ / kRotatedPart));
    const Tensor rotated = ghost::to_type(tape, path_, rotate(tape, path_, part, rope), x.type());
    Tensor whole = tape.make(s, x.type(), "cat", path_);
    tape.charge(OpClass::Copy, "cat", path_, 0, 2 * whole.bytes());
    return whole;
}

Tensor Qwen35Attention::forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                const DecoderRope& rope, const DecoderCache& cache) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Tensor both = q_.forward(tape, x);
    const Tensor gate = ghost::clone(tape, path_, both.view({batch, tokens, heads_ * head_dim_}),
                                     {batch, tokens, heads_ * head_dim_});
    Tensor k = k_.forward(tape, x).view({batch, kv_heads_, tokens, head_dim_});
    Tensor v = v_.forward(tape, x).view({batch, kv_heads_, tokens, head_dim_});
    Tensor q = q_norm_.forward(tape, both.view({batch, heads_, tokens, head_dim_}));
    k = k_norm_.forward(tape, k);
    q = rotate_part(tape, q, rope);
    k = rotate_part(tape, k, rope);
    std::int64_t keys = tokens;
    if (cache.keys.defined()) {
        for (const Tensor* fresh : {&k, &v})
            tape.charge(OpClass::Copy, "copy_", path_, 0, 2 * fresh->bytes());
        keys += cache.past;
        k = cache.keys.view({batch, kv_heads_, keys, head_dim_});
        v = cache.values.view({batch, kv_heads_, keys, head_dim_});
    }
    const Tensor seen = [&] {
        const Shape wide{batch, kv_heads_, heads_ / kv_heads_, keys, head_dim_};
        const Tensor wide_k = ghost::clone(tape, path_, k, wide);
        const Tensor wide_v = ghost::clone(tape, path_, v, wide);
        return ghost::attention(tape, path_, q, wide_k, wide_v,
                                {.batch = batch,
                                 .heads = heads_,
                                 .queries = tokens,
                                 .keys = keys,
                                 .head_dim = head_dim_},
                                mask);
    }();
    const Tensor open = ghost::unary(tape, "sigmoid", path_, gate);
    const Tensor out = ghost::binary(tape, "mul", path_, seen, open);
    return out_.forward(tape, out.view({batch, tokens, heads_ * head_dim_}));
}

Qwen35Layer::Qwen35Layer(Registry& r, std::string_view path, const modelfile::Qwen35Config& c,
                         int index)
    : path_(r.path(path, "")),
      delta_(memory::attends(index)
                 ? std::nullopt
                 : std::optional<Qwen35DeltaNet>(std::in_place, r,
                                                 fmt::format("{}.linear_attn", path), c)),
      attention_(memory::attends(index)
                     ? std::optional<Qwen35Attention>(std::in_place, r,
                                                      fmt::format("{}.self_attn", path), c)
                     : std::nullopt),
      mlp_(r, fmt::format("{}.mlp", path), feed_forward(c)),
      input_norm_(r, r.path(path, "input_layernorm"), c.hidden_size, true),
      post_attention_norm_(r, r.path(path, "post_attention_layernorm"), c.hidden_size, true) {}

Tensor Qwen35Layer::forward(Tape& tape, const Tensor& input, const Tensor& mask,
                            const DecoderRope& rope, const Qwen35Cache& cache,
                            std::int64_t past) const {
    const Tensor mixed = [&] {
        const Tensor normal = input_norm_.forward(tape, input);
        return delta_ ? delta_->forward(tape, normal, cache, past)
                      : attention_->forward(tape, normal, mask, rope, cache.keys);
    }();
    const Tensor x = ghost::binary(tape, "add", path_, input, mixed);
    const Tensor fed = [&] {
        const Tensor normal = post_attention_norm_.forward(tape, x);
        return mlp_.forward(tape, normal);
    }();
    return ghost::binary(tape, "add", path_, x, fed);
}

Qwen35Network::Qwen35Network(const modelfile::Qwen35Config& c)
    : TextNetwork("Qwen35ClipModel"), config_(c), model_(registry_.path("transformer.model", "")) {
    const ModuleStorage table = c.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork;
    if (c.scaled_fp8) registry_.scale_linears();
    embed_tokens_.emplace(registry_, registry_.path(*model_, "embed_tokens"), c.vocab_size,
                          c.hidden_size, table);
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *model_, i), c, i);
    registry_.pack_linears(0);
    norm_.emplace(registry_, registry_.path(*model_, "norm"), c.hidden_size, true);
    if (c.lm_head)
        registry_.add(registry_.path(*model_, "lm_head"), "Linear",
                      std::int64_t{c.vocab_size} * c.hidden_size, table);
    if (c.vision_depth > 0) register_eye();
}

// 16 x 16 x 2 patches, 48 x 48 positions, four patches to a token.
void Qwen35Network::register_eye() {
    const std::int64_t width = config_.vision_hidden_size;
    const std::int64_t inner = config_.vision_intermediate_size;
    constexpr std::int64_t kPositions = 2304;
    const auto add = [&](std::string_view name, std::string_view class_name, std::int64_t count) {
        registry_.add(registry_.path("transformer.visual", name), class_name, count);
    };
    const auto linear = [&](std::string_view name, std::int64_t in, std::int64_t out) {
        add(name, "Linear", in * out + out);
    };
    linear("patch_embed.proj", std::int64_t{3 * 2 * 16 * 16}, width);
    add("pos_embed", "Embedding", kPositions * width);
    for (int i = 0; i < config_.vision_depth; ++i) {
        const std::string block = fmt::format("blocks.{}.", i);
        add(block + "norm1", "LayerNorm", 2 * width);
        add(block + "norm2", "LayerNorm", 2 * width);
        linear(block + "attn.qkv", width, 3 * width);
        linear(block + "attn.proj", width, width);
        linear(block + "mlp.linear_fc1", width, inner);
        linear(block + "mlp.linear_fc2", inner, width);
    }
    add("merger.norm", "LayerNorm", 2 * width);
    linear("merger.linear_fc1", 4 * width, 4 * width);
    linear("merger.linear_fc2", 4 * width, config_.hidden_size);
}

DecoderRope Qwen35Network::rope(Tape& tape, std::int64_t tokens) const {
    const Tensor positions = ghost::create(tape, "arange", model_, {tokens}, ElementType::Int64);
    return make_rope(tape, model_, positions, config_.head_dim / kRotatedPart, Stretched::No);
}

std::vector<Tensor> Qwen35Network::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *embed_tokens_, call);
    const DecoderRope positions = rope(tape, call.tokens);
    const Tensor mask = padding_mask(tape, model_, prompts.attention_mask, prompts.embeds.type());
    {
        const Tensor causal =
            ghost::create(tape, "full", model_, {call.tokens, call.tokens}, prompts.embeds.type());
        ghost::binary_in_place(tape, "add_", model_, mask, causal);
    }
    Tensor x = prompts.embeds;
    Tensor last_but_one;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        x = layers_[i].forward(tape, x, mask, positions, {}, 0);
        if (i + 2 == layers_.size()) last_but_one = ghost::clone(tape, model_, x, x.shape());
    }
    x = norm_->forward(tape, x);
    return {prompts.embeds, prompts.attention_mask, x, last_but_one};
}

Qwen35Cache Qwen35Network::make_cache(Tape& tape, const Qwen35Layer& layer, std::int64_t batch,
                                      std::int64_t room, std::int64_t past) const {
    Qwen35Cache cache;
    if (layer.attends()) {
        const Shape shape{batch, config_.num_key_value_heads, room, config_.head_dim};
        cache.keys = {.keys = tape.make(shape, tape.compute(), "empty", model_),
                      .values = tape.make(shape, tape.compute(), "empty", model_),
                      .past = past};
        return cache;
    }
    cache.state = tape.make({batch, config_.linear_num_value_heads, config_.linear_key_head_dim,
                             config_.linear_value_head_dim},
                            ElementType::Float32, "zeros", model_);
    const std::int64_t channels =
        std::int64_t{2} * config_.linear_num_key_heads * config_.linear_key_head_dim +
        std::int64_t{config_.linear_num_value_heads} * config_.linear_value_head_dim;
    cache.convolved = tape.make({batch, channels, config_.linear_conv_kernel_dim - 1},
                                tape.compute(), "zeros", model_);
    return cache;
}

void Qwen35Network::write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const {
    const ElementType type = tape.compute();
    const Tensor prompt = tape.make({call.batch, call.prompt_tokens, config_.hidden_size},
                                    ElementType::Float32, "cat", root_);
    tape.charge(OpClass::Copy, "cat", root_, 0, 2 * prompt.bytes());
    const std::int64_t room = std::int64_t{call.prompt_tokens} + call.new_tokens;
    std::vector<Qwen35Cache> caches;
    caches.reserve(layers_.size());
    for (const Qwen35Layer& layer : layers_)
        caches.push_back(make_cache(tape, layer, call.batch, room, step.past));
    Tensor x = tape.make({call.batch, step.tokens, config_.hidden_size}, type, "embedding", model_);
    tape.charge(OpClass::Copy, "embedding", model_, 0, 2 * x.bytes());
    const DecoderRope positions = rope(tape, step.tokens);
    Tensor mask;
    if (step.tokens > 1) {
        const std::int64_t keys = std::int64_t{step.past} + step.tokens;
        mask = ghost::create(tape, "full", model_, {keys, keys}, type);
        ghost::unary_in_place(tape, "triu_", model_, mask);
    }
    for (std::size_t i = 0; i < layers_.size(); ++i)
        x = layers_[i].forward(tape, x, mask, positions, caches[i], step.past);
    x = norm_->forward(tape, x);
    const ElementType stored =
        stored_type(tape, config_.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork);
    const bool as_it_is = stored == ElementType::Float16 || stored == ElementType::BFloat16;
    choose_word(tape, model_, score_words(tape, model_, x, config_.vocab_size, as_it_is));
}

Result<std::shared_ptr<const Qwen35Network>> build_qwen35(const modelfile::Qwen35Config& c) {
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.intermediate_size, 1, 2 * kWidthMax) &&
        within(c.num_hidden_layers, 1, kDepthMax) && within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 8, kWidthMax) &&
        c.head_dim % (2 * kRotatedPart) == 0 && within(c.linear_num_key_heads, 1, kWidthMax) &&
        within(c.linear_num_value_heads, c.linear_num_key_heads, kWidthMax) &&
        c.linear_num_value_heads % c.linear_num_key_heads == 0 &&
        within(c.linear_key_head_dim, 1, kWidthMax) &&
        // The walk takes heads of keys and of values as one size, as in all that were published.
        c.linear_value_head_dim == c.linear_key_head_dim &&
        within(c.linear_conv_kernel_dim, 2, kWidthMax) && within(c.vision_depth, 0, kDepthMax) &&
        within(c.vision_hidden_size, 0, kWidthMax) &&
        within(c.vision_intermediate_size, 0, kWidthMax) &&
        within(c.linear_millibits, 0, kMillibitsMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a Qwen 3.5 of {} layers of width {} with {} heads for {} keys "
                                "cannot be",
                                c.num_hidden_layers, c.hidden_size, c.num_attention_heads,
                                c.num_key_value_heads));
    return std::make_shared<const Qwen35Network>(c);
}

}  // namespace plimsoll::memory
