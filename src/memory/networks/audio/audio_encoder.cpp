// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/audio_encoder.h"

#include "memory/networks/audio/wav2vec2.h"
#include "memory/networks/audio/whisper.h"
#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <variant>

namespace plimsoll::memory {

namespace {

using Built = Result<std::shared_ptr<const AudioEncoder>>;

template <class Config>
bool is_transformer(const Config& c) {
    return within(c.hidden, 1, kWidthMax) && within(c.layers, 1, kDepthMax) &&
           within(c.heads, 1, c.hidden) && c.hidden % c.heads == 0 &&
           within(c.feed_forward, 1, kWidthMax);
}

Built build(const modelfile::Wav2Vec2Config& c) {
    constexpr int kGroups = 16;
    if (!is_transformer(c) || !within(c.conv_width, 1, kWidthMax) || c.hidden % kGroups != 0)
        return fail(
            Errc::InvalidInput,
            fmt::format("wav2vec 2.0 of width {} with {} layers cannot be", c.hidden, c.layers));
    return std::make_shared<const Wav2Vec2Network>(c);
}

Built build(const modelfile::WhisperConfig& c) {
    if (!is_transformer(c) || !within(c.mels, 1, kWidthMax) || !within(c.positions, 1, kWidthMax))
        return fail(Errc::InvalidInput, fmt::format("Whisper of width {} with {} layers cannot be",
                                                    c.hidden, c.layers));
    return std::make_shared<const WhisperNetwork>(c);
}

}  // namespace

Result<std::shared_ptr<const AudioEncoder>> build_audio_encoder(
    const modelfile::AudioEncoderConfig& config) {
    return std::visit([](const auto& c) { return build(c); }, config);
}

Walk simulate_hearing(const AudioEncoder& network, const HearCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::vector<Tensor> states = network.hear(tape, call);
    return finish_walk(tape, network, call.storage, call.rules);
}

}  // namespace plimsoll::memory
