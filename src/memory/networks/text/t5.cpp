// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/t5.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

// What is no Linear layer of a scaled fp8 file is stored in fp16.
ModuleStorage unscaled_storage(const modelfile::T5Config& config) {
    return config.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork;
}

}  // namespace

T5Norm::T5Norm(Registry& registry, Module path, const modelfile::T5Config& config)
    : path_(path), width_(config.d_model), storage_(unscaled_storage(config)) {
    registry.add_plain(path, "T5LayerNorm", config.d_model, storage_);
}

Tensor T5Norm::forward(Tape& tape, const Tensor& x) const {
    const Tensor variance = [&] {
        const Tensor squares = ghost::unary(tape, "pow", path_, x);
        return ghost::produce(tape, OpClass::Normalization, "mean", path_, squares,
                              x.shape().with_last(1), x.type());
    }();
    const Tensor normal = [&] {
        const Tensor rsqrt = [&] {
            const Tensor sum = ghost::unary(tape, "add", path_, variance);
            return ghost::unary(tape, "rsqrt", path_, sum);
        }();
        return ghost::binary(tape, "mul", path_, x, rsqrt);
    }();
    const Tape::Cast weight = tape.cast_weight({width_}, path_, stored_type(tape, storage_));
    Tensor scaled = tape.make(x.shape(), x.type(), "mul", path_);
    tape.charge(OpClass::Elementwise, "mul", path_, 0,
                normal.bytes() + width_ * element_bytes(x.type()) + scaled.bytes());
    return scaled;
}

T5Attention::T5Attention(Registry& r, std::string_view path, const modelfile::T5Config& c,
                         bool has_bias)
    : path_(r.path(path, "")),
      heads_(c.num_heads),
      head_dim_(c.d_kv),
      q_(r, r.path(path, "q"), c.d_model, heads_ * head_dim_, Bias::No),
      k_(r, r.path(path, "k"), c.d_model, heads_ * head_dim_, Bias::No),
      v_(r, r.path(path, "v"), c.d_model, heads_ * head_dim_, Bias::No),
      out_(r, r.path(path, "o"), heads_ * head_dim_, c.d_model, Bias::No),
      relative_bias_(has_bias
                         ? std::optional<Embedding>(
                               std::in_place, r, r.path(path, "relative_attention_bias"),
                               c.relative_attention_num_buckets, c.num_heads, unscaled_storage(c))
                         : std::nullopt) {}

// Which bucket each distance falls into: near ones each into its own, far ones by their logarithm.
Tensor T5Attention::buckets_of(Tape& tape, const Tensor& distance) const {
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, path_, x);
    };
    const auto compare = [&](std::string_view op, const Tensor& x) {
        return ghost::produce(tape, OpClass::Elementwise, op, path_, x, x.shape(),
                              ElementType::Bool);
    };
    const auto to_type = [&](const Tensor& x, ElementType type) {
        return ghost::to_type(tape, path_, x, type);
    };
    Tensor buckets = compare("gt", distance);
    buckets = to_type(buckets, ElementType::Int64);
    buckets = unary("mul", buckets);
    buckets = unary("add", buckets);
    const Tensor magnitude = unary("abs", distance);
    const Tensor is_small = compare("lt", magnitude);
    Tensor large = to_type(magnitude, ElementType::Float32);
    for (const std::string_view op : {"div", "log", "div", "mul"}) large = unary(op, large);
    large = to_type(large, ElementType::Int64);
    large = unary("add", large);
    large = [&] {
        const Tensor last = ghost::create_like(tape, "full_like", path_, large);
        return ghost::binary(tape, "minimum", path_, large, last);
    }();
    const Tensor chosen = ghost::combine(tape, "where", path_, {&is_small, &magnitude, &large},
                                         large.shape(), large.type());
    ghost::binary_in_place(tape, "add_", path_, buckets, chosen);
    return buckets;
}

// [1, heads, tokens, tokens]
Tensor T5Attention::position_bias(Tape& tape, std::int64_t tokens) const {
    const auto positions = [&] {
        return ghost::create(tape, "arange", path_, {tokens}, ElementType::Int64);
    };
    const Tensor queries = positions();
    const Tensor keys = positions();
    const Tensor distance =
        ghost::combine(tape, "sub", path_, {&keys, &queries}, {tokens, tokens}, ElementType::Int64);
    const Tensor buckets = buckets_of(tape, distance);
    const Tensor values = relative_bias_->forward(tape, buckets);
    return ghost::clone(tape, path_, values, {1, heads_, tokens, tokens});
}

Tensor T5Attention::forward(Tape& tape, const Tensor& x, const Tensor& mask, Tensor& bias) const {
    const Tensor q = q_.forward(tape, x);
    Tensor k = k_.forward(tape, x);
    const Tensor v = v_.forward(tape, x);
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    if (relative_bias_) bias = position_bias(tape, tokens);
    Tensor scores = bias;
    if (mask.defined()) {
        scores = ghost::combine(tape, "add", path_, {&mask, &bias}, {batch, heads_, tokens, tokens},
                                bias.type());
    }
    const Tensor out = [&] {
        // PyTorch's attention divides by this; T5 was trained without it.
        const Tensor scaled = ghost::unary(tape, "mul", path_, k);
        return ghost::attention(tape, path_, q, scaled, v,
                                {.batch = batch,
                                 .heads = heads_,
                                 .queries = tokens,
                                 .keys = tokens,
                                 .head_dim = head_dim_},
                                scores);
    }();
    return out_.forward(tape, out.view({batch, tokens, heads_ * head_dim_}));
}

T5FeedForward::T5FeedForward(Registry& r, std::string_view path, const modelfile::T5Config& c)
    : path_(r.path(path, "")),
      wi_(r, r.path(path, c.gated ? "wi_0" : "wi"), c.d_model, c.d_ff, Bias::No),
      linear_(c.gated ? std::optional<Linear>(std::in_place, r, r.path(path, "wi_1"), c.d_model,
                                              c.d_ff, Bias::No)
                      : std::nullopt),
      wo_(r, r.path(path, "wo"), c.d_ff, c.d_model, Bias::No) {}

Tensor T5FeedForward::forward(Tape& tape, const Tensor& x) const {
    Tensor hidden = [&] {
        const Tensor in = wi_.forward(tape, x);
        return ghost::unary(tape, linear_ ? "gelu" : "relu", path_, in);
    }();
    if (!linear_) return wo_.forward(tape, hidden);
    const Tensor gate = std::exchange(hidden, {});
    const Tensor linear = linear_->forward(tape, x);
    hidden = ghost::binary(tape, "mul", path_, gate, linear);
    return wo_.forward(tape, hidden);
}

T5Block::T5Block(Registry& r, std::string_view path, const modelfile::T5Config& c, bool has_bias)
    : attention_layer_(r.path(path, "layer.0")),
      feed_forward_layer_(r.path(path, "layer.1")),
      attention_(r, fmt::format("{}.SelfAttention", *attention_layer_), c, has_bias),
      norm1_(r, r.path(*attention_layer_, "layer_norm"), c),
      feed_forward_(r, fmt::format("{}.DenseReluDense", *feed_forward_layer_), c),
      norm2_(r, r.path(*feed_forward_layer_, "layer_norm"), c) {}

Tensor T5Block::forward(Tape& tape, const Tensor& x, const Tensor& mask, const Tensor& bias) const {
    Tensor next_bias = bias;
    {
        const Tensor attended = [&] {
            const Tensor normal = norm1_.forward(tape, x);
            return attention_.forward(tape, normal, mask, next_bias);
        }();
        ghost::binary_in_place(tape, "add_", attention_layer_, x, attended);
    }
    Tensor update = norm2_.forward(tape, x);
    update = feed_forward_.forward(tape, update);
    ghost::binary_in_place(tape, "add_", feed_forward_layer_, x, update);
    return next_bias;
}

T5Network::T5Network(const modelfile::T5Config& config, std::string_view class_name)
    : TextNetwork(class_name),
      config_(config),
      transformer_(registry_.path("transformer", "")),
      encoder_(registry_.path("transformer.encoder", "")) {
    if (config.scaled_fp8) registry_.scale_linears();
    registry_.pack_linears(config.linear_millibits);
    for (int i = 0; i < config.num_layers; ++i) {
        blocks_.emplace_back(registry_, fmt::format("transformer.encoder.block.{}", i), config,
                             i == 0 || config.bias_in_every_layer);
    }
    registry_.pack_linears(0);
    final_norm_.emplace(registry_, registry_.path("transformer.encoder", "final_layer_norm"),
                        config);
    shared_.emplace(registry_, registry_.path("transformer", "shared"), config.vocab_size,
                    config.d_model, unscaled_storage(config));
}

Tensor T5Network::run_blocks(Tape& tape, const EmbeddedPrompts& prompts) const {
    Tensor x = prompts.embeds;
    // Embeddings out of a table in fp8 may hold what is no number.
    const ElementType stored = tape.options().storage;
    if (!config_.scaled_fp8 && element_bytes(stored) == 1)
        x = ghost::unary(tape, "nan_to_num", transformer_, x);
    const Tensor mask =
        config_.masked ? padding_mask(tape, encoder_, prompts.attention_mask, x.type()) : Tensor{};
    Tensor bias;
    for (const T5Block& block : blocks_) bias = block.forward(tape, x, mask, bias);
    return final_norm_->forward(tape, x);
}

std::vector<Tensor> T5Network::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *shared_, call);
    const Tensor encoded = run_blocks(tape, prompts);
    if (config_.zero_out_masked) {
        const Tensor kept = ghost::to_type(tape, root_, prompts.attention_mask, encoded.type());
        ghost::binary_in_place(tape, "mul_", root_, encoded, kept);
    }
    return {prompts.embeds, prompts.attention_mask, encoded};
}

Result<std::shared_ptr<const T5Network>> build_t5(const modelfile::T5Config& c,
                                                  std::string_view class_name) {
    const bool sound = within(c.vocab_size, 1, kVocabularyMax) && within(c.d_model, 1, kWidthMax) &&
                       within(c.d_kv, 1, kWidthMax) && within(c.d_ff, 1, kWidthMax) &&
                       within(c.num_layers, 1, kDepthMax) && within(c.num_heads, 1, kWidthMax) &&
                       within(c.relative_attention_num_buckets, 1, kWidthMax);
    if (!sound) {
        return fail(Errc::InvalidInput,
                    fmt::format("T5 with {} layers of width {} and {} heads of {} cannot be",
                                c.num_layers, c.d_model, c.num_heads, c.d_kv));
    }
    return std::make_shared<const T5Network>(c, class_name);
}

}  // namespace plimsoll::memory
