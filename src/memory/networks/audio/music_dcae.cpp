// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/music_dcae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kWindow = 2048;  // samples of one Fourier transform
constexpr std::int64_t kBins = kWindow / 2 + 1;
constexpr std::size_t kLevelsMax = 8;  // chosen

}  // namespace

MusicDcaeNetwork::MusicDcaeNetwork(const modelfile::MusicDcaeConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      encoder_(registry_, "dcae.encoder", c),
      decoder_(registry_, "dcae.decoder", c),
      vocoder_(registry_, "vocoder"),
      window_(registry_.path("vocoder.mel_transform", "spectrogram")),
      mel_scale_(registry_.path("vocoder.mel_transform", "mel_scale")) {
    registry_.add_buffer(window_, "LinearSpectrogram", kWindow, ModuleStorage::AsNetwork,
                         Saved::Yes);
    registry_.add_buffer(mel_scale_, "MelScale", kBins * kMusicMels, ModuleStorage::AsNetwork,
                         Saved::Yes);
}

std::int64_t MusicDcaeNetwork::factor() const {
    return std::int64_t{1} << (config_.block_out_channels.size() - 1);
}

std::optional<SoundGrid> MusicDcaeNetwork::sound() const {
    return SoundGrid{.samples_per_second = 44'100,
                     .samples_per_latent = static_cast<int>(kSamplesPerMelFrame * factor()),
                     .latent_channels = config_.latent_channels,
                     .latent_rows = static_cast<int>(kMusicMels / factor())};
}

Tensor MusicDcaeNetwork::decode(Tape& tape, const Tensor& callers) const {
    const Shape one = callers.shape().with(0, 1);
    Tensor latents = ghost::unary(tape, "div", root_, callers);
    latents = ghost::unary(tape, "add", root_, latents);
    std::vector<Tensor> sounds;
    Tensor mels;
    for (std::int64_t i = 0; i < callers.shape()[0]; ++i) {
        mels = decoder_.forward(tape, latents.view(one));
        for (const std::string_view op : {"mul", "add", "mul", "add"})
            mels = ghost::unary(tape, op, root_, mels);
        const Shape& s = mels.shape();
        sounds.push_back(vocoder_.forward(tape, mels.view({s[1], s[2], s[3]})));
    }
    return ghost::cat(tape, root_, sounds, 0);
}

// Of one sound: [channels, mels, frames].
Tensor MusicDcaeNetwork::spectrogram(Tape& tape, const Tensor& samples) const {
    const auto produce = [&](std::string_view op, const Tensor& x, const Shape& shape,
                             ElementType type) {
        return ghost::produce(tape, OpClass::Elementwise, op, window_, x, shape, type);
    };
    const std::int64_t channels = samples.shape()[0];
    const std::int64_t frames = samples.shape()[1] / kSamplesPerMelFrame;
    const Shape bins{channels, kBins, frames};
    const Tensor padded =
        produce("reflection_pad1d", samples,
                samples.shape().with_last(samples.shape()[1] + kWindow - kSamplesPerMelFrame),
                samples.type());
    Tensor spectrum = [&] {
        const Tensor wide = ghost::to_type(tape, window_, padded, ElementType::Float32);
        const Tensor windowed =
            produce("mul", wide, {channels, frames, kWindow}, ElementType::Float32);
        return produce("_fft_r2c", windowed, bins, ElementType::Complex64);
    }();
    spectrum = [&] {
        const Tensor squares =
            produce("pow", spectrum, {channels, kBins, frames, 2}, ElementType::Float32);
        return produce("sum", squares, bins, ElementType::Float32);
    }();
    for (const std::string_view op : {"add", "sqrt"})
        spectrum = ghost::unary(tape, op, window_, spectrum);
    spectrum = ghost::to_type(tape, window_, spectrum, samples.type());
    Tensor mel = tape.make({channels, kMusicMels, frames}, samples.type(), "bmm", mel_scale_);
    tape.charge(OpClass::MatMul, "bmm", mel_scale_,
                ghost::saturating_product({2, channels, frames, kBins, kMusicMels}),
                spectrum.bytes() + mel.bytes());
    mel = ghost::unary(tape, "clamp", window_, mel);
    return ghost::unary(tape, "log", window_, mel);
}

Tensor MusicDcaeNetwork::encode(Tape& tape, const Tensor& samples) const {
    const Shape& s = samples.shape();
    Tensor mels = [&] {
        std::vector<Tensor> each;
        for (std::int64_t i = 0; i < s[0]; ++i) {
            const Tensor mel = spectrogram(tape, samples.view({s[1], s[2]}));
            each.push_back(mel.view({1, mel.shape()[0], mel.shape()[1], mel.shape()[2]}));
        }
        return ghost::cat(tape, root_, each, 0);
    }();
    for (const std::string_view op : {"sub", "div", "sub", "div"})
        mels = ghost::unary(tape, op, root_, mels);
    std::vector<Tensor> latents;
    for (std::int64_t i = 0; i < s[0]; ++i)
        latents.push_back(encoder_.forward(tape, mels.view(mels.shape().with(0, 1))));
    Tensor all = ghost::cat(tape, root_, latents, 0);
    for (const std::string_view op : {"sub", "mul"}) all = ghost::unary(tape, op, root_, all);
    return all;
}

Walk MusicDcaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const Tensor latents =
        tape.input({call.batch, config_.latent_channels, kMusicMels / factor(), call.latents},
                   element_type(call.compute));
    const Tensor samples = decode(tape, latents);
    return finish_walk(tape, *this, call.compute, call.rules);
}

Walk MusicDcaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const Tensor samples =
        tape.input({call.batch, config_.in_channels, call.latents * kSamplesPerMelFrame * factor()},
                   element_type(call.compute));
    const Tensor latents = encode(tape, samples);
    return finish_walk(tape, *this, call.compute, call.rules);
}

Result<std::shared_ptr<const MusicDcaeNetwork>> build_music_dcae(
    const modelfile::MusicDcaeConfig& c) {
    const std::size_t depth = c.block_out_channels.size();
    bool sound = depth >= 2 && depth <= kLevelsMax && c.encoder_layers_per_block.size() == depth &&
                 c.decoder_layers_per_block.size() == depth && within(c.in_channels, 1, 64) &&
                 within(c.latent_channels, 1, kWidthMax) &&
                 within(c.attention_head_dim, 1, kWidthMax);
    if (sound) {
        const auto blocks = [](int n) { return within(n, 1, kDepthMax); };
        sound = std::ranges::all_of(c.encoder_layers_per_block, blocks) &&
                std::ranges::all_of(c.decoder_layers_per_block, blocks) &&
                std::ranges::all_of(c.block_out_channels,
                                    [](int n) { return within(n, 1, kWidthMax); }) &&
                c.block_out_channels.back() % c.attention_head_dim == 0 &&
                c.block_out_channels.back() % c.latent_channels == 0;
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a VAE of spectrograms with {} levels and {} latent channels "
                                "cannot be",
                                depth, c.latent_channels));
    return std::make_shared<const MusicDcaeNetwork>(c);
}

}  // namespace plimsoll::memory
