// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_text.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::string_view kPath = "text_embedding_projection";

LtxConnectorShape shape_of(const modelfile::LtxTextConnectorConfig& c) {
    return {.heads = c.num_attention_heads,
            .head_dim = c.attention_head_dim,
            .layers = c.num_layers,
            .gated = false,
            .split_rope = true};
}

}  // namespace

LtxTextProjection::LtxTextProjection(const modelfile::LtxTextProjectionConfig& c) : config_(c) {
    const std::int64_t in = std::int64_t{c.hidden_size} * c.states;
    const Bias bias = c.bias ? Bias::Yes : Bias::No;
    if (c.audio_features == 0) {
        video_.emplace(registry_, registry_.path(kPath, ""), in, c.video_features, bias);
        return;
    }
    audio_.emplace(registry_, registry_.path(kPath, "audio_aggregate_embed"), in, c.audio_features,
                   bias);
    video_.emplace(registry_, registry_.path(kPath, "video_aggregate_embed"), in, c.video_features,
                   bias);
}

// 8 x (x - mean) / (highest - lowest), for each state.
Tensor LtxTextProjection::stretch(Tape& tape, const Tensor& states) const {
    const Shape& s = states.shape();
    const Shape one{s[0], 1, 1, s[1]};
    const auto reduce = [&](std::string_view op) {
        return ghost::produce(tape, OpClass::Elementwise, op, root_, states, one, states.type());
    };
    Tensor scaled = [&] {
        const Tensor centred = [&] {
            const Tensor mean = reduce("mean");
            return ghost::binary(tape, "sub", root_, states, mean);
        }();
        return ghost::unary(tape, "mul", root_, centred);
    }();
    const Tensor range = [&] {
        const Tensor span = [&] {
            const Tensor highest = reduce("amax");
            const Tensor lowest = reduce("amin");
            return ghost::binary(tape, "sub", root_, highest, lowest);
        }();
        return ghost::unary(tape, "add", root_, span);
    }();
    return ghost::binary(tape, "div", root_, scaled, range);
}

// Each state of each token over its root mean square.
Tensor LtxTextProjection::normalise(Tape& tape, const Tensor& states) const {
    const Shape& s = states.shape();
    const Tensor root = [&] {
        const Tensor mean = [&] {
            const Tensor squares = ghost::unary(tape, "pow", root_, states);
            return ghost::produce(tape, OpClass::Elementwise, "mean", root_, squares,
                                  {s[0], s[2], 1, s[1]}, states.type());
        }();
        const Tensor above = ghost::unary(tape, "add", root_, mean);
        return ghost::unary(tape, "rsqrt", root_, above);
    }();
    return ghost::binary(tape, "mul", root_, states, root);
}

Tensor LtxTextProjection::project_scaled(Tape& tape, const Linear& layer,
                                         const Tensor& rows) const {
    const Tensor scaled = ghost::unary(tape, "mul", root_, rows);
    return layer.forward(tape, scaled);
}

std::vector<Tensor> LtxTextProjection::encode(Tape& tape, const TextCall& call) const {
    const Shape rows{call.batch, call.tokens, std::int64_t{config_.hidden_size} * config_.states};
    // From the system's memory, where Gemma's output went; its state's axis becomes the last.
    Tensor states = tape.make({call.batch, config_.states, call.tokens, config_.hidden_size},
                              tape.compute(), "_to_copy", root_);
    tape.charge(OpClass::Copy, "_to_copy", root_, 0, states.bytes());
    if (!audio_) {
        states = stretch(tape, states);
        states = ghost::clone(tape, root_, states, rows);
        Tensor out = video_->forward(tape, states);
        states = {};
        return {ghost::to_type(tape, root_, out, ghost::ElementType::Float32)};
    }
    const Tensor flat = [&] {
        const Tensor normal = normalise(tape, states);
        return ghost::clone(tape, root_, normal, rows);
    }();
    const Tensor video = project_scaled(tape, *video_, flat);
    const Tensor audio = project_scaled(tape, *audio_, flat);
    const Tensor both = ghost::cat(tape, root_, std::array<Tensor, 2>{video, audio}, 2);
    return {ghost::to_type(tape, root_, both, ghost::ElementType::Float32)};
}

LtxTextConnector::LtxTextConnector(const modelfile::LtxTextConnectorConfig& c)
    : audio_(registry_, "audio_embeddings_connector", shape_of(c)),
      video_(registry_, "video_embeddings_connector", shape_of(c)) {}

std::vector<Tensor> LtxTextConnector::encode(Tape& tape, const TextCall& call) const {
    const Tensor text = tape.input({call.batch, call.tokens, video_.width()}, tape.compute());
    const Tensor video = video_.forward(tape, text);
    const Tensor audio = audio_.forward(tape, text);
    return {ghost::cat(tape, root_, std::array<Tensor, 2>{video, audio}, 2)};
}

Result<std::shared_ptr<const TextNetwork>> build_ltx_text_projection(
    const modelfile::LtxTextProjectionConfig& c) {
    if (!within(c.hidden_size, 1, kWidthMax) || !within(c.states, 1, kDepthMax) ||
        !within(c.video_features, 1, kWidthMax) || !within(c.audio_features, 0, kWidthMax))
        return fail(Errc::InvalidInput,
                    fmt::format("a projection of {} states of width {} to {} and {} cannot be",
                                c.states, c.hidden_size, c.video_features, c.audio_features));
    return std::make_shared<const LtxTextProjection>(c);
}

Result<std::shared_ptr<const TextNetwork>> build_ltx_text_connector(
    const modelfile::LtxTextConnectorConfig& c) {
    if (!within(c.num_layers, 1, kDepthMax) || !within(c.num_attention_heads, 1, kWidthMax) ||
        !within(c.attention_head_dim, 2, kWidthMax / c.num_attention_heads) ||
        c.attention_head_dim % 2 != 0)
        return fail(Errc::InvalidInput,
                    fmt::format("a connector of {} blocks with {} heads of {} cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim));
    return std::make_shared<const LtxTextConnector>(c);
}

}  // namespace plimsoll::memory
