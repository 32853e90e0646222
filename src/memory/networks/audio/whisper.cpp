// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/whisper.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kSamples = 480'000;  // thirty seconds of 16 kHz
constexpr std::int64_t kWindow = 400;       // samples of a column of the spectrogram
constexpr std::int64_t kHop = 160;          // from one to the next
constexpr std::int64_t kFrequencies = kWindow / 2 + 1;

}  // namespace

WhisperNetwork::WhisperNetwork(const modelfile::WhisperConfig& c)
    : config_(c),
      spectrogram_([&] {
          const Module path = registry_.path("feature_extractor", "mel_spectrogram");
          registry_.add_buffer(path, "MelSpectrogram", kWindow + kFrequencies * c.mels,
                               ModuleStorage::Float32, Saved::No);
          return path;
      }()),
      conv1_(registry_, registry_.path("encoder", "conv1"), c.mels, c.hidden,
             {.kernel = 3, .padding = 1}),
      conv2_(registry_, registry_.path("encoder", "conv2"), c.hidden, c.hidden,
             {.kernel = 3, .stride = 2, .padding = 1}),
      positions_([&] {
          const Module path = registry_.path("encoder", "embed_positions");
          registry_.add(path, "Embedding", std::int64_t{c.positions} * c.hidden);
          return path;
      }()),
      layers_([&] {
          constexpr AudioLayerNames kNames{.attention = "self_attn",
                                           .norm1 = "self_attn_layer_norm",
                                           .fc1 = "fc1",
                                           .fc2 = "fc2",
                                           .norm2 = "final_layer_norm"};
          std::vector<AudioEncoderLayer> layers;
          for (int i = 0; i < c.layers; ++i)
              layers.emplace_back(registry_,
                                  *registry_.path("encoder", fmt::format("layers.{}", i)), kNames,
                                  AudioEncoderLayer::Widths{c.hidden, c.heads, c.feed_forward},
                                  AudioEncoderLayer::Traits{.key_bias = Bias::No});
          return layers;
      }()),
      norm_(registry_, registry_.path("encoder", "layer_norm"), c.hidden) {}

// In decibels, cut off 80 below the loudest.
Tensor WhisperNetwork::see_sound(Tape& tape) const {
    const std::int64_t columns = kSamples / kHop;
    const Tensor sound = tape.input({1, kSamples}, ElementType::Float32);
    Tensor seen = [&] {
        const Tensor power = [&] {
            const Tensor waves =
                ghost::produce(tape, OpClass::Elementwise, "stft", spectrogram_, sound,
                               {1, kFrequencies, columns + 1, 2}, ElementType::Float32);
            return ghost::produce(tape, OpClass::Elementwise, "pow", spectrogram_, waves,
                                  {1, kFrequencies, columns + 1}, ElementType::Float32);
        }();
        return ghost::produce(tape, OpClass::MatMul, "matmul", spectrogram_, power,
                              {1, config_.mels, columns}, ElementType::Float32);
    }();
    for (const std::string_view op : {"clamp", "log10", "maximum", "add", "div"})
        seen = ghost::unary(tape, op, spectrogram_, seen);
    return seen;
}

std::vector<Tensor> WhisperNetwork::hear(Tape& tape, const HearCall& /*call*/) const {
    Tensor x = see_sound(tape);
    x = [&] {
        const Tensor made = conv1_.forward(tape, x);
        return ghost::unary(tape, "gelu", positions_, made);
    }();
    x = [&] {
        const Tensor made = conv2_.forward(tape, x);
        return ghost::unary(tape, "gelu", positions_, made);
    }();
    const Shape moments{1, x.shape()[2], config_.hidden};
    x = [&] {
        const Tape::Cast places = tape.cast_weight(moments, positions_);
        return ghost::unary(tape, "add", positions_, x.view(moments));
    }();
    std::vector<Tensor> states;
    for (const AudioEncoderLayer& layer : layers_) {
        states.push_back(x);
        x = layer.forward(tape, x);
    }
    states.push_back(norm_.forward(tape, x));
    return states;
}

}  // namespace plimsoll::memory
