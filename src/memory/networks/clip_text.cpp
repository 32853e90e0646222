// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/clip_text.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

ClipAttention::ClipAttention(Registry& r, std::string_view path, std::int64_t width,
                             std::int64_t heads)
    : path_(r.path(path, "")),
      heads_(heads),
      q_(r, r.path(path, "q_proj"), width, width),
      k_(r, r.path(path, "k_proj"), width, width),
      v_(r, r.path(path, "v_proj"), width, width),
      out_(r, r.path(path, "out_proj"), width, width) {}

Tensor ClipAttention::forward(Tape& tape, const Tensor& x, const Tensor& mask) const {
    const Tensor q = q_.forward(tape, x);
    const Tensor k = k_.forward(tape, x);
    const Tensor v = v_.forward(tape, x);
    const ghost::AttentionShape shape{.batch = x.shape()[0],
                                      .heads = heads_,
                                      .queries = x.shape()[1],
                                      .keys = x.shape()[1],
                                      .head_dim = x.shape()[2] / heads_};
    const Tensor out = ghost::attention(tape, path_, q, k, v, shape, mask).view(x.shape());
    return out_.forward(tape, out);
}

ClipMlp::ClipMlp(Registry& r, std::string_view path, const modelfile::ClipTextConfig& config)
    : path_(r.path(path, "")),
      activation_(config.activation),
      fc1_(r, r.path(path, "fc1"), config.hidden, config.intermediate),
      fc2_(r, r.path(path, "fc2"), config.intermediate, config.hidden) {}

Tensor ClipMlp::forward(Tape& tape, const Tensor& x) const {
    Tensor hidden = fc1_.forward(tape, x);
    if (activation_ == modelfile::ClipActivation::Gelu) {
        hidden = ghost::unary(tape, "gelu", path_, hidden);
    } else {  // x * sigmoid(1.702 x)
        const Tensor gate =
            ghost::unary(tape, "sigmoid", path_, ghost::unary(tape, "mul", path_, hidden));
        hidden = ghost::binary(tape, "mul", path_, hidden, gate);
    }
    return fc2_.forward(tape, hidden);
}

ClipLayer::ClipLayer(Registry& r, std::string_view path, const modelfile::ClipTextConfig& config)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "layer_norm1"), config.hidden),
      attention_(r, fmt::format("{}.self_attn", path), config.hidden, config.heads),
      norm2_(r, r.path(path, "layer_norm2"), config.hidden),
      mlp_(r, fmt::format("{}.mlp", path), config) {}

void ClipLayer::forward(Tape& tape, const Tensor& x, const Tensor& mask, TokenLayout layout) const {
    const auto normed = [&](const LayerNorm& norm) {
        return layout == TokenLayout::Strided ? norm.forward_strided(tape, x)
                                              : norm.forward(tape, x);
    };
    {
        const Tensor attended = attention_.forward(tape, normed(norm1_), mask);
        ghost::binary_in_place(tape, "add_", path_, x, attended);
    }
    const Tensor transformed = mlp_.forward(tape, normed(norm2_));
    ghost::binary_in_place(tape, "add_", path_, x, transformed);
}

ClipNetwork::ClipNetwork(const modelfile::ClipTextConfig& config)
    : config_(config),
      root_(registry_.path("", "")),
      text_model_(registry_.path("transformer.text_model", "")),
      encoder_(registry_.path("transformer.text_model.encoder", "")),
      token_embedding_(registry_.path("transformer.text_model.embeddings.token_embedding", "")),
      position_embedding_(
          registry_.path("transformer.text_model.embeddings.position_embedding", "")) {
    const std::string_view wrapper = config.name == "clip_g"   ? "SDXLClipG"
                                     : config.name == "clip_h" ? "SD2ClipHModel"
                                                               : "SDClipModel";
    registry_.add_own_parameters(root_, wrapper, 1, ModuleStorage::Float32);  // logit_scale
    const std::int64_t width = config.hidden;
    registry_.add(token_embedding_, "Embedding", config.vocabulary * width);
    registry_.add(position_embedding_, "Embedding", config.positions * width);
    for (int i = 0; i < config.layers; ++i) {
        layers_.emplace_back(registry_, fmt::format("transformer.text_model.encoder.layers.{}", i),
                             config);
    }
    final_norm_.emplace(registry_, registry_.path("transformer.text_model", "final_layer_norm"),
                        width);
    projection_.emplace(registry_, registry_.path("transformer.text_projection", ""), width,
                        config.projection, Bias::No);
}

namespace {
// torch.tensor(list, device=...): whole numbers, copied to the card.
Tensor token_tensor(Tape& tape, Module module, const Shape& shape) {
    Tensor ids = tape.make(shape, ElementType::Int64, "detach_", module);
    tape.charge(OpClass::Copy, "detach_", module, 0, 2 * ids.bytes());
    return ids;
}
}  // namespace

Tensor ClipNetwork::embed_tokens(Tape& tape, std::int64_t tokens) const {
    const Tensor ids = token_tensor(tape, root_, {1, tokens});
    const Shape shape{1, tokens, config_.hidden};
    Tensor embedded = tape.make(shape, tape.options().storage, "embedding", token_embedding_);
    tape.charge(OpClass::Copy, "embedding", token_embedding_, 0,
                ids.bytes() + config_.vocabulary * config_.hidden * element_bytes(embedded.type()) +
                    embedded.bytes());
    return ghost::to_type(tape, token_embedding_, embedded, ElementType::Float32);
}

std::vector<Tensor> ClipNetwork::encode(Tape& tape, const ClipCall& call) const {
    const std::int64_t batch = call.batch;
    const std::int64_t tokens = call.tokens;
    Tensor embeds;
    Tensor attention_mask;
    {
        std::vector<Tensor> prompts;
        prompts.reserve(static_cast<std::size_t>(batch));
        for (std::int64_t i = 0; i < batch; ++i) prompts.push_back(embed_tokens(tape, tokens));
        embeds = ghost::cat(tape, root_, prompts, 0);
        attention_mask = token_tensor(tape, root_, {batch, tokens});
    }

    Tensor x;
    {
        const Tape::Cast positions = tape.cast_weight({tokens, config_.hidden}, text_model_);
        x = tape.make(embeds.shape(), embeds.type(), "add", text_model_);
        tape.charge(OpClass::Elementwise, "add", text_model_, 0,
                    embeds.bytes() + tokens * config_.hidden * element_bytes(x.type()) + x.bytes());
    }
    Tensor mask = ghost::create(tape, "full", text_model_, {tokens, tokens}, x.type());
    ghost::unary_in_place(tape, "triu_", text_model_, mask);
    Tensor intermediate;
    const std::size_t hidden_layer = layers_.size() >= 2 ? layers_.size() - 2 : 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        layers_[i].forward(tape, x, mask);
        if (call.stop_at_hidden_minus_two && i == hidden_layer) {
            intermediate = ghost::clone(tape, encoder_, x, x.shape());
        }
    }
    x = final_norm_->forward(tape, x);
    // SD 2.x normalises the hidden state that it uses; SDXL uses it as it is.
    if (intermediate.defined() && config_.name == "clip_h")
        intermediate = final_norm_->forward(tape, intermediate);
    Tensor pooled = tape.make({batch, config_.hidden}, x.type(), "index", text_model_);
    const std::int64_t indices =
        2 * batch * element_bytes(ElementType::Int64);  // prompt, last token
    tape.charge(OpClass::Copy, "index", text_model_, 0, x.bytes() + indices + pooled.bytes());
    mask = {};
    Tensor projected = projection_->forward(tape, pooled);
    return {embeds, attention_mask, x, intermediate, pooled, projected};
}

}  // namespace plimsoll::memory
