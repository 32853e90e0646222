// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/wav2vec2.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr double kSamplesPerSecond = 16000;
struct Step {
    std::int64_t kernel;
    std::int64_t stride;
};
constexpr std::array<Step, 7> kSteps = {{{10, 5}, {3, 2}, {3, 2}, {3, 2}, {3, 2}, {2, 2}, {2, 2}}};
constexpr std::int64_t kPlaceKernel = 128;  // moments that a position is made of
constexpr std::int64_t kPlaceGroups = 16;

}  // namespace

Wav2Vec2Network::Shortener Wav2Vec2Network::make_shortener(std::size_t number) {
    Registry& r = registry_;
    const std::string path = fmt::format("feature_extractor.conv_layers.{}", number);
    const std::int64_t width = config_.conv_width;
    const bool each = config_.norm_each;
    Conv1d conv(r, r.path(path, "conv"), number == 0 ? 1 : width, width,
                {.kernel = kSteps[number].kernel, .stride = kSteps[number].stride},
                {.bias = each ? Bias::Yes : Bias::No});
    std::optional<LayerNorm> norm;
    std::optional<GroupNorm> over_time;
    if (each) norm.emplace(r, r.path(path, "layer_norm"), width);
    if (!each && number == 0) over_time.emplace(r, r.path(path, "layer_norm"), width, width);
    return {std::move(conv), std::move(norm), std::move(over_time)};
}

Wav2Vec2Network::Wav2Vec2Network(const modelfile::Wav2Vec2Config& c)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          // For moments that are hidden in training.
          registry_.add_own_parameters(root, "Wav2Vec2Model", c.hidden, ModuleStorage::AsNetwork);
          return root;
      }()),
      shorteners_([&] {
          std::vector<Shortener> shorteners;
          for (std::size_t i = 0; i < kSteps.size(); ++i) shorteners.push_back(make_shortener(i));
          return shorteners;
      }()),
      projection_norm_(registry_, registry_.path("feature_projection", "layer_norm"), c.conv_width),
      projection_(registry_, registry_.path("feature_projection", "projection"), c.conv_width,
                  c.hidden),
      positions_([&] {
          const Module path = registry_.path("encoder.pos_conv_embed", "conv");
          const std::int64_t hidden = c.hidden;
          // Plain PyTorch in fp32, kept as direction and length, a length for each of the kernel.
          registry_.add_plain(path, "Conv1d",
                              hidden * hidden / kPlaceGroups * kPlaceKernel + kPlaceKernel + hidden,
                              ModuleStorage::Float32);
          return path;
      }()),
      layers_([&] {
          constexpr AudioLayerNames kNames{.attention = "attention",
                                           .norm1 = "layer_norm",
                                           .fc1 = "feed_forward.intermediate_dense",
                                           .fc2 = "feed_forward.output_dense",
                                           .norm2 = "final_layer_norm"};
          std::vector<AudioEncoderLayer> layers;
          for (int i = 0; i < c.layers; ++i)
              layers.emplace_back(registry_,
                                  *registry_.path("encoder", fmt::format("layers.{}", i)), kNames,
                                  AudioEncoderLayer::Widths{c.hidden, c.heads, c.feed_forward},
                                  AudioEncoderLayer::Traits{.norm_first = c.norm_first});
          return layers;
      }()),
      norm_(registry_, registry_.path("encoder", "layer_norm"), c.hidden) {}

// [N, channels, T] in, the same shorter.
Tensor Wav2Vec2Network::shorten(Tape& tape, std::size_t number, const Tensor& x) const {
    const Shortener& s = shorteners_[number];
    // Behind a norm over channels, these lie together.
    const bool strided = config_.norm_each && number > 0;
    const Tensor made = strided ? s.conv.forward_strided(tape, x) : s.conv.forward(tape, x);
    if (s.norm) {
        const Shape& shape = made.shape();
        const Tensor normed =
            s.norm->forward_strided(tape, made.view({shape[0], shape[2], shape[1]}));
        return ghost::unary(tape, "gelu", root_, normed.view(shape));
    }
    if (s.norm_over_time) {
        const Tensor normed = s.norm_over_time->forward(tape, made);
        return ghost::unary(tape, "gelu", root_, normed);
    }
    return ghost::unary(tape, "gelu", root_, made);
}

Tensor Wav2Vec2Network::place(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t hidden = config_.hidden;
    const Tensor weight =
        ghost::create(tape, "_weight_norm_interface", positions_,
                      {hidden, hidden / kPlaceGroups, kPlaceKernel}, ElementType::Float32);
    Tensor made = tape.make({s[0], hidden, s[1] + 1}, x.type(), "convolution", positions_);
    tape.charge(OpClass::Convolution, "convolution", positions_,
                ghost::saturating_product({2, s[0], s[1], weight.elements()}),
                x.bytes() + weight.bytes() + made.bytes());
    // One too many, which is left aside.
    return ghost::unary(tape, "gelu", positions_, made).view(s);
}

std::vector<Tensor> Wav2Vec2Network::hear(Tape& tape, const HearCall& call) const {
    // Shorter sounds than the convolutions reach are none.
    constexpr std::int64_t kSamplesMin = 400;
    const auto samples = std::max(
        kSamplesMin, static_cast<std::int64_t>(std::min(call.seconds, 1e6) * kSamplesPerSecond));
    const Tensor sound = tape.input({1, 1, samples}, ElementType::Float32);
    Tensor x = ghost::produce(tape, OpClass::Elementwise, "mean", root_, sound, {1, 1, samples},
                              ElementType::Float32);
    if (config_.norm_each) {  // those are given sounds of mean 0 and variance 1
        const Tensor centred = ghost::unary(tape, "sub", root_, x);
        x = ghost::unary(tape, "div", root_, centred);
    }
    for (std::size_t i = 0; i < shorteners_.size(); ++i) x = shorten(tape, i, x);
    const Shape& s = x.shape();
    x = projection_norm_.forward_strided(tape, x.view({s[0], s[2], s[1]}));
    x = projection_.forward(tape, x);
    x = [&] {
        const Tensor placed = place(tape, x);
        return ghost::binary(tape, "add", root_, x, placed);
    }();
    if (!config_.norm_first) x = norm_.forward(tape, x);
    std::vector<Tensor> states;
    for (const AudioEncoderLayer& layer : layers_) {
        states.push_back(x);
        x = layer.forward(tape, x);
    }
    states.push_back(config_.norm_first ? norm_.forward(tape, x) : x);
    return states;
}

}  // namespace plimsoll::memory
