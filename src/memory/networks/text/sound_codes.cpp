// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/sound_codes.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory {

namespace {

// Published: of the pruned file, which leaves the words out that no sound is written in.
constexpr std::int64_t kFirstCodes = 16384;  // and one that ends the sound
constexpr std::int64_t kCodes = 1024;
constexpr std::int64_t kCodebooks = 8;
constexpr std::int64_t kPositions = 16;
constexpr std::int64_t kHeads = 16;
constexpr std::int64_t kInner = 6144;
constexpr int kLayers = 4;

Module add_norm(Registry& r, Module path, std::int64_t width) {
    r.add_plain(path, "RVQRMSNorm", width);
    return path;
}

}  // namespace

SoundCodes::Layer SoundCodes::make_layer(Registry& r, std::string_view path) const {
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    const Module norm1 = add_norm(r, at("input_layernorm"), width_);
    Linear q(r, at("self_attn.q_proj"), width_, width_, Bias::No);
    Linear k(r, at("self_attn.k_proj"), width_, width_, Bias::No);
    Linear v(r, at("self_attn.v_proj"), width_, width_, Bias::No);
    Linear out(r, at("self_attn.o_proj"), width_, width_, Bias::No);
    const Module norm2 = add_norm(r, at("post_attention_layernorm"), width_);
    Linear gate(r, at("mlp.gate_proj"), width_, kInner, Bias::No);
    Linear up(r, at("mlp.up_proj"), width_, kInner, Bias::No);
    Linear down(r, at("mlp.down_proj"), kInner, width_, Bias::No);
    return {at(""), norm1, q, k, v, out, norm2, gate, up, down};
}

SoundCodes::SoundCodes(Registry& r, std::string_view path, std::int64_t width, int millibits)
    : width_(width), root_(r.path(path, "audio_decoder")), norm_(r.path(*root_, "norm")) {
    r.add(r.path(path, "embed_tokens_audio"), "Embedding", kFirstCodes * width);
    r.add(r.path(path, "audio_extra_embedding"), "Embedding", kCodes * (kCodebooks - 1) * width);
    first_head_.emplace(r, r.path(path, "lm_head_pruned"), width, kFirstCodes + 1, Bias::No);
    projection_.emplace(r, r.path(*root_, "projection"), width, width, Bias::No);
    r.add(r.path(*root_, "pos_embedding"), "Embedding", kPositions * width);
    for (std::int64_t i = 0; i + 1 < kCodebooks; ++i)
        heads_.emplace_back(r, r.path(*root_, fmt::format("audio_heads.{}", i)), width, kCodes,
                            Bias::No);
    r.pack_linears(millibits);
    for (int i = 0; i < kLayers; ++i)
        layers_.push_back(make_layer(r, fmt::format("{}.layers.{}", *root_, i)));
    r.pack_linears(0);
    add_norm(r, norm_, width);
}

Tensor SoundCodes::run_layer(Tape& tape, const Layer& layer, const Tensor& input) const {
    const Shape& s = input.shape();
    const Shape by_heads{s[0], kHeads, s[1], width_ / kHeads};
    Tensor x = input;
    {
        const Tensor normal = rms_norm(tape, layer.norm1, x, Affine::Yes);
        const Tensor q = layer.q.forward(tape, normal).view(by_heads);
        const Tensor k = layer.k.forward(tape, normal).view(by_heads);
        const Tensor v = layer.v.forward(tape, normal).view(by_heads);
        const Tensor mask = ghost::create(tape, "full", layer.path, {s[1], s[1]}, x.type());
        const Tensor attended = ghost::attention(tape, layer.path, q, k, v,
                                                 {.batch = s[0],
                                                  .heads = kHeads,
                                                  .queries = s[1],
                                                  .keys = s[1],
                                                  .head_dim = width_ / kHeads},
                                                 mask);
        const Tensor update = layer.out.forward(tape, attended.view(s));
        x = ghost::binary(tape, "add", layer.path, x, update);
    }
    const Tensor normal = rms_norm(tape, layer.norm2, x, Affine::Yes);
    const Tensor hidden = [&] {
        const Tensor gate = [&] {
            const Tensor raw = layer.gate.forward(tape, normal);
            return ghost::unary(tape, "silu", layer.path, raw);
        }();
        const Tensor up = layer.up.forward(tape, normal);
        return ghost::binary(tape, "mul", layer.path, gate, up);
    }();
    const Tensor update = layer.down.forward(tape, hidden);
    return ghost::binary(tape, "add", layer.path, x, update);
}

Tensor SoundCodes::write(Tape& tape, const Tensor& hidden) const {
    const std::int64_t batch = hidden.shape()[0];
    const Tensor last = hidden.view({batch, 1, width_});
    const auto choose = [&](const Linear& head, const Tensor& from) {
        const Tensor scores = head.forward(tape, from);
        const Tensor wide = ghost::to_type(tape, root_, scores, ghost::ElementType::Float32);
        const Tensor chances = ghost::unary(tape, "softmax", root_, wide);
        return ghost::produce(tape, OpClass::Copy, "multinomial", root_, chances, {batch, 1},
                              ghost::ElementType::Int64);
    };
    Tensor code = choose(*first_head_, last);
    Tensor sequence = projection_->forward(tape, last);
    for (const Linear& head : heads_) {
        // One more token: the code before, embedded and projected.
        const Tensor embedded = ghost::produce(tape, OpClass::Copy, "embedding", root_, code,
                                               last.shape(), last.type());
        const Tensor projected = projection_->forward(tape, embedded);
        const Shape& s = sequence.shape();
        sequence = ghost::produce(tape, OpClass::Copy, "cat", root_, sequence,
                                  {batch, s[1] + 1, width_}, last.type());
        Tensor x = ghost::unary(tape, "add", root_, sequence);
        for (const Layer& layer : layers_) x = run_layer(tape, layer, x);
        x = rms_norm(tape, norm_, x, Affine::Yes);
        code = choose(head, x.view({batch, 1, width_}));
    }
    return ghost::unary(tape, "mul", root_, last);  // the moment's codes, embedded and added
}

}  // namespace plimsoll::memory
