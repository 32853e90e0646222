// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/same_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::SameVaeConfig;

namespace {

constexpr std::int64_t kLatentChannels = 256;
constexpr std::int64_t kStride = 16;  // steps of a latent
constexpr std::int64_t kPatch = 256;  // samples of a step
constexpr std::int64_t kSoundChannels = 2;
constexpr std::int64_t kMult = 6;  // of its channels
constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kRotated = 32;     // channels of a head
constexpr std::int64_t kFeedForward = 3;  // times the width
constexpr std::int64_t kSets = 5;         // two queries, two keys, values

}  // namespace

DynamicTanh::DynamicTanh(Registry& r, Module path, std::int64_t width) : path_(path) {
    r.add_own_parameters(path, "DynamicTanh", 2 * width + 1, ModuleStorage::AsNetwork);
}

Tensor DynamicTanh::forward(Tape& tape, const Tensor& x) const {
    Tensor t = ghost::unary(tape, "mul", path_, x);
    t = ghost::unary(tape, "tanh", path_, t);
    t = ghost::unary(tape, "mul", path_, t);
    return ghost::unary(tape, "add", path_, t);
}

SameBlock::SameBlock(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      width_(width),
      pre_norm_(r, r.path(path, "pre_norm"), width),
      self_(r.path(path, "self_attn")),
      to_qkv_(r, r.path(path, "self_attn.to_qkv"), width, kSets * width, Bias::No),
      to_out_(r, r.path(path, "self_attn.to_out"), width, width, Bias::No),
      q_norm_(r, r.path(path, "self_attn.q_norm"), kHeadDim),
      k_norm_(r, r.path(path, "self_attn.k_norm"), kHeadDim),
      ff_norm_(r, r.path(path, "ff_norm"), width),
      glu_(r.path(path, "ff.ff.0")),
      ff_in_(r, r.path(path, "ff.ff.0.proj"), width, 2 * kFeedForward * width),
      ff_out_(r, r.path(path, "ff.ff.2"), kFeedForward * width, width) {
    r.add_buffer(r.path(path, "rope"), "RotaryEmbedding", kRotated / 2, ModuleStorage::AsNetwork,
                 Saved::Yes);
}

// In fp32: half of a head's channels turned, joined with the others.
Tensor SameBlock::rotate(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const Tensor wide = ghost::to_type(tape, self_, x, ElementType::Float32);
    const Tensor part = wide.view(wide.shape().with_last(kRotated));
    const Tensor turned = [&] {
        const auto wave = [&](std::string_view name, const Tensor& t) {
            const Tensor table = ghost::unary(tape, name, self_, angles);
            return ghost::binary(tape, "mul", self_, t, table);
        };
        const Tensor straight = wave("cos", part);
        const Tensor crossed = [&] {
            const Tensor half = part.view(part.shape().with_last(kRotated / 2));
            const Tensor negated = ghost::unary(tape, "neg", self_, half);
            const Tensor swapped = ghost::cat(tape, self_, std::array<Tensor, 2>{negated, half}, 3);
            return wave("sin", swapped);
        }();
        return ghost::binary(tape, "add", self_, straight, crossed);
    }();
    const Tensor joined = ghost::cat(tape, self_, std::array<Tensor, 2>{turned, part}, 3);
    return ghost::to_type(tape, self_, joined, x.type());
}

// Queries, keys and values are views of one tensor, which lives as long as the values are needed.
Tensor SameBlock::attend(Tape& tape, const Tensor& x, const Tensor& mask) const {
    const Shape& s = x.shape();
    const Shape by_heads{s[0], width_ / kHeadDim, s[1], kHeadDim};
    const Tensor angles = [&] {
        const Tensor half =
            ghost::create(tape, "mul", self_, {s[1], kRotated / 2}, ElementType::Float32);
        return ghost::cat(tape, self_, std::array<Tensor, 2>{half, half}, 1);
    }();
    const Tensor v = to_qkv_.forward(tape, x).view(by_heads);
    Tensor q = q_norm_.forward(tape, v);
    Tensor k = k_norm_.forward(tape, v);
    Tensor other_q = q_norm_.forward(tape, v);
    Tensor other_k = k_norm_.forward(tape, v);
    for (Tensor* t : {&q, &k, &other_q, &other_k}) *t = rotate(tape, *t, angles);
    const auto attended = [&](const Tensor& queries, const Tensor& keys) {
        return ghost::attention(tape, self_, queries, keys, v,
                                {.batch = s[0],
                                 .heads = width_ / kHeadDim,
                                 .queries = s[1],
                                 .keys = s[1],
                                 .head_dim = kHeadDim},
                                mask);
    };
    const Tensor out = [&] {
        const Tensor one = attended(q, k);
        const Tensor other = attended(other_q, other_k);
        return ghost::binary(tape, "sub", self_, one, other).view(s);
    }();
    q = k = other_q = other_k = {};
    return to_out_.forward(tape, out);
}

Tensor SameBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor both = ff_in_.forward(tape, x);
        const Tensor half = both.view(both.shape().with_last(kFeedForward * width_));
        const Tensor gate = ghost::unary(tape, "silu", glu_, half);
        return ghost::binary(tape, "mul", glu_, half, gate);
    }();
    return ff_out_.forward(tape, hidden);
}

Tensor SameBlock::forward(Tape& tape, const Tensor& callers_x, const Tensor& mask) const {
    Tensor x = callers_x;
    {
        const Tensor update = [&] {
            const Tensor normal = pre_norm_.forward(tape, x);
            return attend(tape, normal, mask);
        }();
        x = ghost::binary(tape, "add", path_, x, update);
    }
    const Tensor update = [&] {
        const Tensor normal = ff_norm_.forward(tape, x);
        return feed_forward(tape, normal);
    }();
    return ghost::binary(tape, "add", path_, x, update);
}

SameVaeNetwork::Coder SameVaeNetwork::make_coder(Half half) {
    const bool encodes = half == Half::Encoder;
    const std::string root = encodes ? "encoder" : "decoder";
    const std::string layer = fmt::format("{}.layers.{}", root, encodes ? 0 : 3);
    const Module path = registry_.path(layer, "");
    const Module linear_path = registry_.path(root, encodes ? "layers.2" : "layers.1");
    constexpr std::int64_t kSteps = kSoundChannels * kPatch;
    std::optional<Linear> linear;
    if (!encodes) linear.emplace(registry_, linear_path, kLatentChannels, width_);
    Conv1d mapping(registry_, registry_.path(layer, "mapping"), encodes ? kSteps : width_,
                   encodes ? width_ : kSteps, {}, {.weight_norm = WeightNorm::Yes});
    registry_.add_own_parameters(path, "TransformerResamplingBlock", width_,
                                 ModuleStorage::AsNetwork);
    std::vector<SameBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(config_.transformer_depths));
    for (int i = 0; i < config_.transformer_depths; ++i)
        blocks.emplace_back(registry_, fmt::format("{}.transformers.{}", layer, i), width_);
    if (encodes) linear.emplace(registry_, linear_path, width_, kLatentChannels);
    return {path, mapping, std::move(blocks), *linear};
}

SameVaeNetwork::SameVaeNetwork(const SameVaeConfig& c)
    : config_(c),
      width_(kMult * c.channels),
      root_(registry_.path("", "")),
      encoder_(make_coder(Half::Encoder)),
      decoder_(make_coder(Half::Decoder)),
      bottleneck_(registry_.path("bottleneck", "")) {
    registry_.add_own_parameters(bottleneck_, "SoftNormBottleneck", 2 * kLatentChannels + 1,
                                 ModuleStorage::AsNetwork);
}

Tensor SameVaeNetwork::window_mask(Tape& tape, std::int64_t tokens) const {
    const Shape square{tokens, tokens};
    const Module path = decoder_.path;
    const Tensor outside = [&] {
        const Tensor apart = [&] {
            const Tensor difference = ghost::create(tape, "sub", path, square, ElementType::Int64);
            return ghost::unary(tape, "abs", path, difference);
        }();
        return ghost::produce(tape, OpClass::Elementwise, "gt", path, apart, square,
                              ElementType::Bool);
    }();
    return ghost::produce(tape, OpClass::Elementwise, "where", path, outside, square,
                          tape.compute());
}

Walk SameVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z =
        tape.input({call.batch, kLatentChannels, call.latents}, element_type(call.compute));
    const Tensor noisy = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", bottleneck_, z);
        Tensor noise = ghost::create_like(tape, "randn_like", bottleneck_, scaled);
        noise = ghost::unary(tape, "mul", bottleneck_, noise);
        return ghost::binary(tape, "add", bottleneck_, scaled, noise);
    }();
    const Tensor rows = noisy.view({call.batch, call.latents, kLatentChannels});
    Tensor x = decoder_.linear.forward_batched(tape, rows);
    const std::int64_t tokens = call.latents * (kStride + 1);
    x = ghost::produce(tape, OpClass::Copy, "cat", decoder_.path, x, {call.batch, tokens, width_},
                       x.type());
    {
        const Tensor mask = window_mask(tape, tokens);
        for (const SameBlock& block : decoder_.blocks) x = block.forward(tape, x, mask);
    }
    // Without the latents' own tokens, channels first again: the kernel copies it.
    const std::int64_t steps = call.latents * kStride;
    const Tensor kept = ghost::clone(tape, decoder_.path, x, {call.batch, width_, steps});
    x = {};
    const Tensor mapped = decoder_.mapping.forward_strided(tape, kept);
    const Tensor samples =
        ghost::clone(tape, root_, mapped, {call.batch, kSoundChannels, steps * kPatch});
    return finish_walk(tape, *this, call.storage, call.rules);
}

std::optional<SoundGrid> SameVaeNetwork::sound() const {
    return SoundGrid{.samples_per_second = 44'100,
                     .samples_per_latent = static_cast<int>(kStride * kPatch),
                     .latent_channels = static_cast<int>(kLatentChannels)};
}

bool SameVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kSince = 33000;         // ComfyUI 0.33.0, which was read
    constexpr int kLatentsMax = 1 << 16;  // chosen: more than an hour
    return call.rules.comfyui_minor_key >= kSince && call.latents <= kLatentsMax;
}

Result<std::shared_ptr<const SameVaeNetwork>> build_same_vae(const SameVaeConfig& c) {
    // Of others the coders look over chunks, which no walk was written for.
    const bool sound = within(c.channels, 1, kWidthMax / kMult) &&
                       kMult * c.channels % kHeadDim == 0 &&
                       within(c.transformer_depths, 1, kDepthMax) && c.sliding_window == 1;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a VAE of Stable Audio 3 with {} channels, {} blocks and a window "
                                "of {} is not known",
                                c.channels, c.transformer_depths, c.sliding_window));
    return std::make_shared<const SameVaeNetwork>(c);
}

}  // namespace plimsoll::memory
