// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_audio_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"
#include "memory/networks/ltx/ltx_layers.h"
#include "memory/networks/ltx/ltx_vae_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::LtxAudioCoderConfig;
using modelfile::LtxAudioVaeConfig;

namespace {

constexpr std::int64_t kBinsPerCell = 4;
constexpr std::int64_t kSamplesMax = 4096;  // of a frame; chosen, the published vocoder makes 240

}  // namespace

LtxAudioVaeNetwork::Level LtxAudioVaeNetwork::make_level(std::size_t index) {
    const LtxAudioCoderConfig& c = config_.coder;
    const std::string path = fmt::format("autoencoder.decoder.up.{}", index);
    Level level;
    level.upsample_path = registry_.path(path, "upsample");
    const std::int64_t out = ltx_audio_width(c, index);
    std::int64_t width = ltx_audio_width(c, std::min(index + 1, c.ch_mult.size() - 1));
    for (int j = 0; j <= c.num_res_blocks; ++j) {
        level.blocks.emplace_back(registry_, fmt::format("{}.block.{}", path, j), width, out);
        width = out;
    }
    if (index > 0) level.upsample.emplace(registry_, path + ".upsample.conv", out, out);
    return level;
}

LtxAudioVaeNetwork::LtxAudioVaeNetwork(const LtxAudioVaeConfig& config)
    : config_(config),
      root_(registry_.path("", "")),
      norm_out_(registry_.path("autoencoder.decoder", "norm_out")),
      act_(registry_.path("autoencoder.decoder", "non_linearity")) {
    const LtxAudioCoderConfig& c = config_.coder;
    encoder_.emplace(registry_, "autoencoder.encoder", c);
    const std::int64_t width = ltx_audio_width(c, c.ch_mult.size() - 1);
    conv_in_.emplace(registry_, "autoencoder.decoder.conv_in", c.z_channels, width);
    for (const std::string_view name : {"mid.block_1", "mid.block_2"})
        middle_.emplace_back(registry_, fmt::format("autoencoder.decoder.{}", name), width, width);
    levels_.reserve(c.ch_mult.size());
    for (std::size_t i = 0; i < c.ch_mult.size(); ++i) levels_.push_back(make_level(i));
    conv_out_.emplace(registry_, "autoencoder.decoder.conv_out", ltx_audio_width(c, 0), c.out_ch);
    registry_.add_buffer(registry_.path("autoencoder", "per_channel_statistics"), "processor",
                         2 * kLtxAudioStatistics, ModuleStorage::AsNetwork, Saved::Yes);
    vocoder_.emplace(registry_, config_.bandwidth ? "vocoder.vocoder" : "vocoder", config_.vocoder,
                     c.mel_bins);
    if (config_.bandwidth) bandwidth_.emplace(registry_, "vocoder", *config_.bandwidth);
}

Tensor LtxAudioVaeNetwork::denormalise(Tape& tape, const Tensor& z) const {
    const Tensor rows = ltx_audio_rows(tape, root_, z);
    const Tensor scaled = ltx_with_own(tape, "mul", root_, rows, kLtxAudioStatistics, rows.shape());
    return ltx_with_own(tape, "add", root_, scaled, kLtxAudioStatistics, rows.shape())
        .view(z.shape());
}

Tensor LtxAudioVaeNetwork::decode_mel(Tape& tape, const Tensor& z) const {
    Tensor x = conv_in_->forward(tape, z);
    for (const LtxAudioResidual& block : middle_) x = block.forward(tape, x);
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
        for (const LtxAudioResidual& block : level->blocks) x = block.forward(tape, x);
        if (!level->upsample) continue;
        x = [&] {
            const auto& s = x.shape();
            Tensor wide =
                ghost::produce(tape, OpClass::Copy, "upsample_nearest2d", level->upsample_path, x,
                               {s[0], s[1], 2 * s[2], 2 * s[3]}, x.type());
            wide = level->upsample->forward(tape, wide);
            return wide.view(wide.shape().with(2, wide.shape()[2] - 1));  // the first frame goes
        }();
    }
    x = ltx_pixel_norm(tape, norm_out_, x);
    x = ghost::unary(tape, "silu", act_, x);
    return conv_out_->forward(tape, x);
}

Tensor LtxAudioVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const Tensor latents = denormalise(tape, z);
    const Tensor mel = decode_mel(tape, latents);
    const Tensor samples = vocoder_->forward(tape, mel);
    return bandwidth_ ? bandwidth_->forward(tape, samples) : samples;
}

namespace {

bool sound_coder(const LtxAudioCoderConfig& c) {
    bool sound = within(c.ch, 1, kWidthMax) && c.in_channels == 2 && c.out_ch == 2 &&
                 within(c.num_res_blocks, 1, 64) && c.ch_mult.size() == 3 &&
                 within(c.mel_bins, kBinsPerCell, kWidthMax) && c.mel_bins % kBinsPerCell == 0 &&
                 within(c.z_channels, 1, kLtxAudioStatistics) &&
                 std::int64_t{c.z_channels} * (c.mel_bins / kBinsPerCell) == kLtxAudioStatistics;
    for (const int mult : c.ch_mult)
        sound = sound && within(mult, 1, 64) && within(std::int64_t{c.ch} * mult, 1, kWidthMax);
    return sound;
}

bool sound_vocoder(const modelfile::LtxVocoderConfig& c) {
    const std::size_t stages = c.upsample_rates.size();
    const std::size_t kernels = c.resblock_kernel_sizes.size();
    bool sound = within(static_cast<std::int64_t>(stages), 1, 8) &&
                 c.upsample_kernel_sizes.size() == stages &&
                 within(static_cast<std::int64_t>(kernels), 1, 8) &&
                 c.resblock_dilation_sizes.size() == kernels &&
                 within(c.upsample_initial_channel, 1 << stages, kWidthMax) && c.stereo &&
                 (c.resblock == "1" || (c.resblock == "AMP1" &&
                                        (c.activation == "snake" || c.activation == "snakebeta")));
    if (!sound) return false;
    std::int64_t samples = 1;  // of a frame
    for (std::size_t i = 0; sound && i < stages; ++i) {
        sound = within(c.upsample_rates[i], 1, 16) &&
                within(c.upsample_kernel_sizes[i], c.upsample_rates[i], 64);
        samples *= c.upsample_rates[i];
        sound = sound && samples <= kSamplesMax;
    }
    for (std::size_t j = 0; j < kernels; ++j)
        sound = sound && within(c.resblock_kernel_sizes[j], 1, 64) &&
                c.resblock_kernel_sizes[j] % 2 == 1 &&
                within(static_cast<std::int64_t>(c.resblock_dilation_sizes[j].size()), 3, 3);
    return sound;
}

// The first vocoder makes whole frames of the second's spectrogram.
bool sound_bandwidth(const LtxAudioVaeConfig& config) {
    if (!config.bandwidth) return true;
    const modelfile::LtxBandwidthConfig& c = *config.bandwidth;
    bool sound = sound_vocoder(c.generator) && within(c.n_fft, 2, kWidthMax) &&
                 within(c.hop_length, 1, c.n_fft) && within(c.num_mels, 1, kWidthMax) &&
                 within(c.input_sampling_rate, 1, 1 << 20) &&
                 within(c.output_sampling_rate, c.input_sampling_rate, 1 << 20) &&
                 c.output_sampling_rate % c.input_sampling_rate == 0;
    if (!sound) return false;
    std::int64_t samples = 1;
    for (const int rate : config.vocoder.upsample_rates) samples *= rate;
    std::int64_t written = 1;
    for (const int rate : c.generator.upsample_rates) written *= rate;
    return samples % c.hop_length == 0 &&
           written == std::int64_t{c.hop_length} * (c.output_sampling_rate / c.input_sampling_rate);
}

}  // namespace

Result<std::shared_ptr<const LtxAudioVaeNetwork>> build_ltx_audio_vae(
    const LtxAudioVaeConfig& config) {
    if (!sound_coder(config.coder) || !sound_vocoder(config.vocoder) || !sound_bandwidth(config))
        return fail(Errc::InvalidInput,
                    fmt::format("LTX-2's VAE for sound of width {} with {} bins and a vocoder of "
                                "width {} cannot be",
                                config.coder.ch, config.coder.mel_bins,
                                config.vocoder.upsample_initial_channel));
    return std::make_shared<const LtxAudioVaeNetwork>(config);
}

std::optional<SoundGrid> LtxAudioVaeNetwork::sound() const {
    constexpr int kRate = 16'000;
    constexpr int kGivenRate = 44'100;    // ComfyUI's usual, which the encoder takes down itself
    constexpr int kGivenMultiple = 4096;  // ComfyUI believes that to be a latent's
    constexpr int kSamplesPerLatent = 160 * 4;  // 160 to a frame of the spectrogram, 4 to a latent
    return SoundGrid{.samples_per_second = kRate,
                     .samples_per_latent = kSamplesPerLatent,
                     .latent_channels = config_.coder.z_channels,
                     .latent_rows = config_.coder.mel_bins / static_cast<int>(kBinsPerCell),
                     .rows_are_time = true,
                     .given_per_second = kGivenRate,
                     .given_multiple = kGivenMultiple,
                     .first_alone = true};
}

bool LtxAudioVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kSince = 33000;           // ComfyUI 0.33.0
    constexpr int kLatentsMax = 3600 * 25;  // chosen: an hour
    return call.rules.comfyui_minor_key >= kSince && call.latents <= kLatentsMax;
}

Walk LtxAudioVaeNetwork::simulate_decode(const VaeCall& call) const {
    return simulate_ltx_audio_vae_decode(*this, {.batch = call.batch,
                                                 .latents = call.latents,
                                                 .compute = call.compute,
                                                 .storage = call.storage,
                                                 .rules = call.rules});
}

// So many latents are 4 frames of the spectrogram each, of the first one alone or with others.
Walk LtxAudioVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const SoundGrid grid = *sound();
    const std::int64_t given = std::int64_t{call.latents} * grid.given_per_latent();
    const Tensor samples =
        tape.input({call.batch, config_.coder.in_channels, given}, element_type(call.compute));
    const Tensor latents = encode(tape, samples);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk simulate_ltx_audio_vae_decode(const LtxAudioVaeNetwork& vae, const LtxAudioVaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const LtxAudioCoderConfig& c = vae.config().coder;
    const Tensor z = tape.input({call.batch, c.z_channels, call.latents, c.mel_bins / kBinsPerCell},
                                element_type(call.compute));
    const Tensor samples = vae.decode(tape, z);
    return finish_walk(tape, vae, call.storage, call.rules);
}

}  // namespace plimsoll::memory
