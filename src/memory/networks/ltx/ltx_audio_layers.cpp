// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_audio_layers.h"

#include "memory/networks/ltx/ltx_layers.h"
#include "memory/networks/ltx/ltx_vae_layers.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::LtxAudioCoderConfig;

namespace {

// ComfyUI hands every VAE of sound samples at its own usual rate; this one takes them down by a
// windowed sinc (torchaudio's resample: 6 zero crossings, rolled off at 0.99) from 441 to 160.
constexpr std::int64_t kFrom = 441;
constexpr std::int64_t kTo = 160;
constexpr std::int64_t kSincWidth = 17;  // 6 x 441 / (160 x 0.99), rounded up
constexpr std::int64_t kHop = 160;       // samples of a frame of the spectrogram
constexpr std::int64_t kTransform = 1024;
constexpr std::int64_t kFrequencies = kTransform / 2 + 1;
constexpr std::int64_t kComplex = 2;  // floats of a number

}  // namespace

std::int64_t ltx_audio_width(const LtxAudioCoderConfig& c, std::size_t level) {
    return std::int64_t{c.ch} * c.ch_mult[level];
}

LtxAudioConv::LtxAudioConv(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                           std::int64_t kernel)
    : path_(r.path(path, "")),
      kernel_(kernel),
      conv_(r, r.path(path, "conv"), in, out, {.kernel = kernel, .stride = 1, .padding = 0}) {}

Tensor LtxAudioConv::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor padded =
        ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, x,
                       {s[0], s[1], s[2] + kernel_ - 1, s[3] + kernel_ - 1}, x.type());
    return conv_.forward(tape, padded);
}

LtxAudioResidual::LtxAudioResidual(Registry& r, std::string_view path, std::int64_t in,
                                   std::int64_t out)
    : path_(r.path(path, "")),
      norm1_(r.path(path, "norm1")),
      act_(r.path(path, "non_linearity")),
      conv1_(r, *r.path(path, "conv1"), in, out),
      norm2_(r.path(path, "norm2")),
      conv2_(r, *r.path(path, "conv2"), out, out),
      shortcut_(in != out ? std::optional<LtxAudioConv>(std::in_place, r,
                                                        *r.path(path, "nin_shortcut"), in, out, 1)
                          : std::nullopt) {}

Tensor LtxAudioResidual::forward(Tape& tape, const Tensor& x) const {
    Tensor h = ltx_pixel_norm(tape, norm1_, x);
    h = ghost::unary(tape, "silu", act_, h);
    h = conv1_.forward(tape, h);
    h = ltx_pixel_norm(tape, norm2_, h);
    h = ghost::unary(tape, "silu", act_, h);
    h = conv2_.forward(tape, h);
    const Tensor direct = shortcut_ ? shortcut_->forward(tape, x) : x;
    return ghost::binary(tape, "add", path_, direct, h);
}

LtxAudioEncoder::LtxAudioEncoder(Registry& r, std::string_view path, const LtxAudioCoderConfig& c)
    : config_(c),
      root_(r.path(path, "")),
      norm_out_(r.path(path, "norm_out")),
      act_(r.path(path, "non_linearity")) {
    const auto at = [&](std::string_view name) { return fmt::format("{}.{}", path, name); };
    conv_in_.emplace(r, at("conv_in"), c.in_channels, c.ch);
    std::int64_t width = c.ch;
    for (std::size_t i = 0; i < c.ch_mult.size(); ++i) {
        Level level;
        for (int j = 0; j < c.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, at(fmt::format("down.{}.block.{}", i, j)), width,
                                      ltx_audio_width(c, i));
            width = ltx_audio_width(c, i);
        }
        if (i + 1 < c.ch_mult.size()) {
            level.downsample_path = r.path(path, fmt::format("down.{}.downsample", i));
            level.downsample.emplace(r, r.path(*level.downsample_path, "conv"), width, width,
                                     ConvShape{.kernel = 3, .stride = 2, .padding = 0});
        }
        levels_.push_back(std::move(level));
    }
    for (const std::string_view name : {"mid.block_1", "mid.block_2"})
        middle_.emplace_back(r, at(name), width, width);
    conv_out_.emplace(r, at("conv_out"), width, std::int64_t{c.z_channels} * (c.double_z ? 2 : 1));
}

Tensor LtxAudioEncoder::resample(Tape& tape, const Tensor& samples) const {
    const Shape& s = samples.shape();
    const std::int64_t rows = s[0] * s[1];
    const Tensor kernel =
        ghost::create(tape, "sinc", root_, {kTo, 1, 2 * kSincWidth + kFrom}, ElementType::Float32);
    const Tensor padded = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", root_, samples,
                                         {rows, s[2] + 2 * kSincWidth + kFrom}, samples.type());
    const std::int64_t steps = s[2] / kFrom + 1;
    const Tensor phases = tape.make({rows, kTo, steps}, samples.type(), "convolution", root_);
    tape.charge(OpClass::Convolution, "convolution", root_,
                ghost::saturating_product({2, rows, kTo, steps, 2 * kSincWidth + kFrom}),
                padded.bytes() + kernel.bytes() + phases.bytes());
    const Tensor in_order = ghost::clone(tape, root_, phases, {rows, steps * kTo});
    return in_order.view({rows, (s[2] * kTo + kFrom - 1) / kFrom});
}

Tensor LtxAudioEncoder::make_spectrogram(Tape& tape, const Tensor& samples) const {
    const Tensor waveform = resample(tape, samples);
    const std::int64_t rows = waveform.shape()[0];
    const std::int64_t frames = waveform.shape()[1] / kHop + 1;
    const Tensor magnitudes = [&] {
        const Tensor spectrum = [&] {
            const Tensor padded =
                ghost::produce(tape, OpClass::Copy, "reflection_pad1d", root_, waveform,
                               {rows, waveform.shape()[1] + kTransform}, waveform.type());
            const Tensor windows = ghost::produce(tape, OpClass::Elementwise, "mul", root_, padded,
                                                  {rows, frames, kTransform}, padded.type());
            return ghost::produce(tape, OpClass::Elementwise, "_fft_r2c", root_, windows,
                                  {rows, frames, kFrequencies * kComplex}, windows.type());
        }();
        return ghost::produce(tape, OpClass::Elementwise, "abs", root_, spectrum,
                              {rows, frames, kFrequencies}, spectrum.type());
    }();
    const Tensor filters =
        ghost::create(tape, "filters", root_, {kFrequencies, config_.mel_bins}, waveform.type());
    Tensor mel = tape.make({samples.shape()[0], samples.shape()[1], frames, config_.mel_bins},
                           waveform.type(), "bmm", root_);
    tape.charge(OpClass::MatMul, "bmm", root_,
                ghost::saturating_product({2, rows, frames, kFrequencies, config_.mel_bins}),
                magnitudes.bytes() + filters.bytes() + mel.bytes());
    mel = ghost::unary(tape, "clamp", root_, mel);
    return ghost::unary(tape, "log", root_, mel);
}

// Every block's result is kept to the end.
Tensor LtxAudioEncoder::encode(Tape& tape, const Tensor& mel) const {
    std::vector<Tensor> kept;
    kept.push_back(conv_in_->forward(tape, mel));
    for (const Level& level : levels_) {
        for (const LtxAudioResidual& block : level.blocks)
            kept.push_back(block.forward(tape, kept.back()));
        if (!level.downsample) continue;
        const Shape& s = kept.back().shape();
        const Tensor padded =
            ghost::produce(tape, OpClass::Copy, "constant_pad_nd", level.downsample_path,
                           kept.back(), {s[0], s[1], s[2] + 2, s[3] + 1}, kept.back().type());
        kept.push_back(level.downsample->forward(tape, padded));
    }
    Tensor x = kept.back();
    for (const LtxAudioResidual& block : middle_) x = block.forward(tape, x);
    Tensor h = ltx_pixel_norm(tape, norm_out_, x);
    h = ghost::unary(tape, "silu", act_, h);
    return conv_out_->forward(tape, h);
}

// The deviation is worked out for nobody.
Tensor LtxAudioEncoder::normalise(Tape& tape, const Tensor& both) const {
    const Tensor mean = both.view(both.shape().with(1, config_.z_channels));
    const Tensor logarithm = ghost::unary(tape, "clamp", root_, mean);
    const Tensor deviation = [&] {
        const Tensor half = ghost::unary(tape, "mul", root_, logarithm);
        return ghost::unary(tape, "exp", root_, half);
    }();
    const Tensor variance = ghost::unary(tape, "exp", root_, logarithm);
    const Tensor rows = ltx_audio_rows(tape, root_, mean);
    const Tensor centred =
        ltx_with_own(tape, "sub", root_, rows, kLtxAudioStatistics, rows.shape());
    return ltx_with_own(tape, "div", root_, centred, kLtxAudioStatistics, rows.shape())
        .view(mean.shape());
}

Tensor LtxAudioEncoder::forward(Tape& tape, const Tensor& samples) const {
    const Tensor mel = make_spectrogram(tape, samples);
    const Tensor both = encode(tape, mel);
    return normalise(tape, both);
}

Tensor ltx_audio_rows(Tape& tape, Module module, const Tensor& z) {
    const Shape& s = z.shape();
    Tensor rows =
        ghost::clone(tape, module, z, {s[0], s[2], s[1], s[3]}).view({s[0], s[2], s[1] * s[3]});
    Tensor t = ghost::create(tape, "arange", module, {s[2]}, ElementType::Float32);
    for (const std::string_view op : {"mul", "add", "sub", "clamp", "mul", "div"})
        t = ghost::unary(tape, op, module, t);
    return rows;
}

}  // namespace plimsoll::memory
