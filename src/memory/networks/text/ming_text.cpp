// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/ming_text.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::MingTextConfig;

namespace {

constexpr int kMillibitsMax = 32'000;  // of fp32
// Published: states that the condition is made of beside the last one, learned tokens, and the
// smaller model.
constexpr std::array<std::size_t, 2> kCaptured = {5, 12};
constexpr std::int64_t kQueries = 256;
constexpr std::int64_t kConditionWidth = 2560;  // of what the learned tokens become
constexpr std::int64_t kDirectWidth = 3840;     // of the prompt's own states
constexpr int kConnectorLayers = 28;

modelfile::DecoderConfig feed_forward(const MingTextConfig& c, int inner) {
    modelfile::DecoderConfig config;
    config.hidden_size = c.hidden_size;
    config.intermediate_size = inner;
    return config;
}

modelfile::DecoderConfig connector() {
    modelfile::DecoderConfig config;
    config.hidden_size = 1536;
    config.intermediate_size = 8960;
    config.num_hidden_layers = kConnectorLayers;
    config.num_attention_heads = 12;
    config.num_key_value_heads = 2;
    config.qkv_bias = true;
    return config;
}

}  // namespace

MingAttention::MingAttention(Registry& r, std::string_view path, const MingTextConfig& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      qkv_(r, r.path(path, "query_key_value"), c.hidden_size, (heads_ + 2 * kv_heads_) * head_dim_,
           Bias::No),
      q_norm_(r, r.path(path, "q_norm"), head_dim_, false),
      k_norm_(r, r.path(path, "k_norm"), head_dim_, false),
      out_(r, r.path(path, "dense"), heads_ * head_dim_, c.hidden_size, Bias::No) {}

// Half of a head's channels are turned: copied for it, and joined with the others again.
Tensor MingAttention::forward(Tape& tape, const Tensor& x, const Tensor& mask) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Tensor qkv = qkv_.forward(tape, x);
    const auto part = [&](std::int64_t heads) {
        return qkv.view({batch, heads, tokens, head_dim_});
    };
    Tensor q = q_norm_.forward(tape, part(heads_));
    Tensor k = k_norm_.forward(tape, part(kv_heads_));
    const Tensor v = part(kv_heads_);
    const auto turned = [&](const Tensor& t) {
        const Shape half = t.shape().with_last(head_dim_ / 2);
        const Tensor copy = ghost::clone(tape, path_, t.view(half), half);
        const Tensor rotated = [&] {
            const Tensor straight = ghost::unary(tape, "mul", path_, copy);
            const Tensor crossed = ghost::unary(tape, "mul", path_, copy);
            return ghost::binary(tape, "add", path_, straight, crossed);
        }();
        return ghost::cat(tape, path_, std::array<Tensor, 2>{rotated, t.view(half)}, 3);
    };
    q = turned(q);
    k = turned(k);
    const Shape wide{batch, kv_heads_, heads_ / kv_heads_, tokens, head_dim_};
    const Tensor out = [&] {
        const Tensor wide_k = ghost::clone(tape, path_, k, wide);
        const Tensor wide_v = ghost::clone(tape, path_, v, wide);
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

MingExperts::MingExperts(Registry& r, std::string_view path, const MingTextConfig& c)
    : path_(r.path(path, "experts")),
      config_(c),
      gate_(r, r.path(path, "gate.proj"), c.hidden_size, c.num_experts, Bias::No),
      image_gate_(r, r.path(path, "image_gate.proj"), c.hidden_size, c.num_experts, Bias::No),
      gate_up_(r.path(*path_, "gate_up_proj")),
      down_(r.path(*path_, "down_proj")),
      shared_([&] {
          const std::int64_t one = std::int64_t{c.hidden_size} * c.moe_intermediate_size;
          for (const auto& [bank, elements] :
               {std::pair{gate_up_, 2 * one}, std::pair{down_, one}}) {
              r.add(bank, "MoEExperts", c.num_experts * elements);
              if (r.packs_linears()) r.pack_matrix(c.num_experts * elements);
          }
          return DecoderMlp(r, fmt::format("{}.shared_experts", path),
                            feed_forward(c, c.moe_intermediate_size));
      }()) {}

// Scores of all experts in fp32, of which the best groups' best are taken.
void MingExperts::choose(Tape& tape, const Linear& gate, const Tensor& flat) const {
    const Tensor scores = [&] {
        const Tensor raw = gate.forward(tape, flat);
        const Tensor wide = ghost::to_type(tape, path_, raw, ElementType::Float32);
        return ghost::unary(tape, "sigmoid", path_, wide);
    }();
    const Tensor routed = ghost::unary(tape, "add", path_, scores);
    const Tensor kept = ghost::unary(tape, "masked_fill", path_, routed);
    const Tensor best =
        ghost::produce(tape, OpClass::Elementwise, "topk", path_, kept,
                       kept.shape().with_last(config_.num_experts_per_tok), ElementType::Int64);
}

// The banks are brought to the type of the computation as wholes, and used expert by expert: that
// many rows together as if all tokens had chosen one.
Tensor MingExperts::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor flat = x.view({s[0] * s[1], s[2]});
    choose(tape, gate_, flat);
    choose(tape, image_gate_, flat);
    const std::int64_t inner = config_.moe_intermediate_size;
    const std::int64_t chosen = flat.shape()[0] * config_.num_experts_per_tok;
    Tensor out = ghost::create(tape, "zeros_like", path_, flat.shape(), x.type());
    {
        const Tape::Cast up_bank =
            tape.cast_weight({config_.num_experts, 2 * inner, s[2]}, gate_up_);
        const Tape::Cast down_bank = tape.cast_weight({config_.num_experts, s[2], inner}, down_);
        const Tensor rows =
            ghost::produce(tape, OpClass::Copy, "index", path_, flat, flat.shape(), flat.type());
        const auto multiply = [&](const Tensor& in, Module bank, std::int64_t width) {
            Tensor product = tape.make(in.shape().with_last(width), in.type(), "mm", bank);
            tape.charge(OpClass::MatMul, "mm", bank,
                        ghost::saturating_product({2, chosen, in.shape().last(), width}),
                        in.bytes() + product.bytes() +
                            config_.num_experts * in.shape().last() * width *
                                ghost::element_bytes(in.type()));
            return product;
        };
        const Tensor hidden = [&] {
            const Tensor both = multiply(rows, gate_up_, 2 * inner);
            const Tensor half = both.view(both.shape().with_last(inner));
            const Tensor active = ghost::unary(tape, "silu", path_, half);
            return ghost::binary(tape, "mul", path_, active, half);
        }();
        const Tensor made = multiply(hidden, down_, s[2]);
        const Tensor weighted = ghost::unary(tape, "mul", path_, made);
        ghost::binary_in_place(tape, "index_add_", path_, out, weighted);
    }
    const Tensor shared = shared_.forward(tape, x);
    return ghost::binary(tape, "add", path_, out.view(s), shared);
}

MingLayer::MingLayer(Registry& r, std::string_view path, const MingTextConfig& c, int index)
    : path_(r.path(path, "")),
      attention_(r, fmt::format("{}.attention", path), c),
      input_norm_(r, r.path(path, "input_layernorm"), c.hidden_size, false),
      post_norm_(r, r.path(path, "post_attention_layernorm"), c.hidden_size, false) {
    const std::string mlp = fmt::format("{}.mlp", path);
    if (index == 0)
        mlp_.emplace(r, mlp, feed_forward(c, c.intermediate_size));
    else
        experts_.emplace(r, mlp, c);
}

Tensor MingLayer::forward(Tape& tape, const Tensor& input, const Tensor& mask) const {
    const Tensor x = [&] {
        const Tensor update = [&] {
            const Tensor normal = input_norm_.forward(tape, input);
            return attention_.forward(tape, normal, mask);
        }();
        return ghost::binary(tape, "add", path_, input, update);
    }();
    const Tensor normal = post_norm_.forward(tape, x);
    const Tensor update = mlp_ ? mlp_->forward(tape, normal) : experts_->forward(tape, normal);
    return ghost::binary(tape, "add", path_, x, update);
}

// Qwen 2.5 VL's, with a wider feed-forward; it does not run on text.
void MingTextNetwork::register_eye() {
    constexpr std::int64_t kWidth = 1280;
    constexpr std::int64_t kInner = 3456;
    constexpr std::int64_t kMerged = 4 * kWidth;
    constexpr std::int64_t kOut = 8192;
    constexpr std::int64_t kPatch = std::int64_t{3} * 2 * 14 * 14;
    constexpr int kLayers = 32;
    const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        registry_.add(registry_.path("transformer", name), "Linear", in * out + out);
    };
    const auto norm = [&](const std::string& name, std::int64_t width) {
        registry_.add(registry_.path("transformer", name), "RMSNorm", width);
    };
    registry_.add(registry_.path("transformer", "vision.patch_embed.proj"), "Conv3d",
                  kPatch * kWidth);
    for (int i = 0; i < kLayers; ++i) {
        const std::string block = fmt::format("vision.blocks.{}.", i);
        norm(block + "norm1", kWidth);
        norm(block + "norm2", kWidth);
        linear(block + "attn.qkv", kWidth, 3 * kWidth);
        linear(block + "attn.proj", kWidth, kWidth);
        linear(block + "mlp.gate_proj", kWidth, kInner);
        linear(block + "mlp.up_proj", kWidth, kInner);
        linear(block + "mlp.down_proj", kInner, kWidth);
    }
    norm("vision.merger.ln_q", kWidth);
    linear("vision.merger.mlp.0", kMerged, kMerged);
    linear("vision.merger.mlp.2", kMerged, kOut);
    linear("linear_proj.0", kOut, config_.hidden_size);
    linear("linear_proj.2", config_.hidden_size, config_.hidden_size);
}

MingTextNetwork::MingTextNetwork(const MingTextConfig& c)
    : TextNetwork("MingImageClipModel"),
      config_(c),
      model_(registry_.path("transformer.thinker", "")) {
    embed_tokens_.emplace(registry_, registry_.path(*model_, "embed_tokens"), c.vocab_size,
                          c.hidden_size);
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *model_, i), c, i);
    registry_.pack_linears(0);
    norm_.emplace(registry_, registry_.path(*model_, "norm"), c.hidden_size, false);
    register_eye();
    const modelfile::DecoderConfig small = connector();
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < kConnectorLayers; ++i)
        connector_.emplace_back(registry_, fmt::format("transformer.connector.layers.{}", i), small,
                                i);
    registry_.pack_linears(0);
    connector_norm_.emplace(registry_, registry_.path("transformer", "connector.norm"),
                            small.hidden_size, false);
    registry_.add_own_parameters(registry_.path("transformer", ""), "MingImageEncoder",
                                 kQueries * c.hidden_size, ModuleStorage::AsNetwork);
    proj_in_.emplace(registry_, registry_.path("transformer", "proj_in"), c.hidden_size,
                     small.hidden_size);
    proj_out_.emplace(registry_, registry_.path("transformer", "proj_out"), small.hidden_size,
                      kConditionWidth);
    const std::int64_t states = std::int64_t{c.hidden_size} * (kCaptured.size() + 1);
    direct_norm_.emplace(registry_, registry_.path("transformer", "proj_directvlm.0"), states);
    direct_.emplace(registry_, registry_.path("transformer", "proj_directvlm.1"), states,
                    kDirectWidth);
}

// The learned tokens are among `tokens`, at their end.
std::vector<Tensor> MingTextNetwork::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *embed_tokens_, call);
    Tensor x = prompts.embeds;
    const std::int64_t tokens = x.shape()[1];
    const Tensor causal = ghost::create(tape, "full", model_, {tokens, tokens}, x.type());
    const Tensor mask = ghost::produce(tape, OpClass::Elementwise, "add", model_, causal,
                                       {x.shape()[0], 1, tokens, tokens}, x.type());
    std::vector<Tensor> states;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        if (std::ranges::find(kCaptured, i) != kCaptured.end()) states.push_back(x);
        x = layers_[i].forward(tape, x, mask);
    }
    x = norm_->forward(tape, x);
    states.push_back(x);

    const std::int64_t queries = std::min(kQueries, tokens);
    Tensor thought = proj_in_->forward_slice(tape, x.view(x.shape().with(1, queries)));
    const Tensor positions = ghost::create(tape, "arange", model_, {queries}, ElementType::Int64);
    const std::vector<DecoderRope> ropes{
        make_rope(tape, model_, positions, connector().head_dim, Stretched::No)};
    for (const DecoderLayer& layer : connector_)
        thought = layer.forward(tape, thought, {}, ropes, {});
    thought = connector_norm_->forward(tape, thought);
    const Tensor condition = proj_out_->forward(tape, thought);
    const Tensor direct = [&] {
        const Tensor joined = ghost::cat(tape, model_, states, 2);
        const Tensor normal = direct_norm_->forward(tape, joined);
        return direct_->forward(tape, normal);
    }();
    return {prompts.embeds, prompts.attention_mask, x, condition, direct};
}

Result<std::shared_ptr<const MingTextNetwork>> build_ming_text(const MingTextConfig& c) {
    constexpr int kExpertsMax = 4096;  // chosen: more than any published network has
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.intermediate_size, 1, kWidthMax) &&
        within(c.moe_intermediate_size, 1, kWidthMax) &&
        within(c.num_hidden_layers, 1, kDepthMax) && within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 2, kWidthMax) &&
        c.head_dim % 2 == 0 && within(c.num_experts, 1, kExpertsMax) &&
        within(c.num_experts_per_tok, 1, c.num_experts) &&
        within(c.linear_millibits, 0, kMillibitsMax);
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("Ming-Image's text encoder of {} layers of width {} with {} experts "
                        "cannot be",
                        c.num_hidden_layers, c.hidden_size, c.num_experts));
    return std::make_shared<const MingTextNetwork>(c);
}

}  // namespace plimsoll::memory
