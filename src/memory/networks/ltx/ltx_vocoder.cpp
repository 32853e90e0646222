// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vocoder.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

namespace {
constexpr std::int64_t kEnds = 7;  // width of the first and the last convolution
constexpr std::int64_t kStereo = 2;
constexpr std::string_view kAliasFree = "AMP1";
constexpr std::string_view kBeta = "snakebeta";
}  // namespace

SampleConv::SampleConv(Registry& r, Module path, const Shape& s) : path_(path), shape_(s) {
    r.add(path, s.upsample > 0 ? "ConvTranspose1d" : "Conv1d",
          s.in * s.out * s.kernel + (s.bias ? s.out : 0));
}

Tensor SampleConv::forward(Tape& tape, const Tensor& x) const {
    std::optional<Tape::Cast> bias;
    if (shape_.bias) bias.emplace(tape.cast_weight({shape_.out}, path_));
    const Tape::Cast weight = tape.cast_weight({shape_.out, shape_.in, shape_.kernel}, path_);
    const auto& s = x.shape();
    const std::int64_t length = s[2];
    const std::int64_t padding = (shape_.kernel - shape_.upsample) / 2;
    const std::int64_t out_length =
        shape_.upsample > 0 ? (length - 1) * shape_.upsample - 2 * padding + shape_.kernel : length;
    Tensor out = tape.make({s[0], shape_.out, out_length}, x.type(), "convolution", path_);
    const std::int64_t weights = shape_.in * shape_.out * shape_.kernel;
    const std::int64_t bias_traffic =
        shape_.bias && tape.options().casts_included ? 2 * out.bytes() : 0;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, s[0], length, weights}),
                x.bytes() +
                    (weights + (shape_.bias ? shape_.out : 0)) * ghost::element_bytes(x.type()) +
                    out.bytes() + bias_traffic,
                shape_.bias ? 2 : 1);  // the bias is added by a kernel of its own
    return out;
}

LtxVocoder::Block LtxVocoder::make_block(Registry& r, const std::string& path, std::int64_t width,
                                         const modelfile::LtxVocoderConfig& c, std::size_t index) {
    Block block{.path = r.path(path, ""),
                .dilated = {},
                .plain = {},
                .before_dilated = {},
                .before_plain = {}};
    const std::size_t turns = c.resblock_dilation_sizes[index].size();
    const auto add = [&](std::string_view list, std::vector<SampleConv>& convs) {
        for (std::size_t k = 0; k < turns; ++k)
            convs.emplace_back(
                r, r.path(path, fmt::format("{}.{}", list, k)),
                SampleConv::Shape{
                    .in = width, .out = width, .kernel = c.resblock_kernel_sizes[index]});
    };
    add("convs1", block.dilated);
    add("convs2", block.plain);
    if (c.resblock != kAliasFree) return block;
    const auto add_acts = [&](std::string_view list, std::vector<AliasFreeSnake>& acts) {
        for (std::size_t k = 0; k < turns; ++k)
            acts.emplace_back(r, fmt::format("{}.{}.{}", path, list, k), width,
                              c.activation == kBeta);
    };
    add_acts("acts1", block.before_dilated);
    add_acts("acts2", block.before_plain);
    return block;
}

LtxVocoder::LtxVocoder(Registry& r, std::string_view path, const modelfile::LtxVocoderConfig& c,
                       std::int64_t bins)
    : alias_free_(c.resblock == kAliasFree),
      ends_active_(c.apply_final_activation),
      path_(r.path(path, "")),
      act_(r.path(path, "act_post")),
      conv_pre_(r, r.path(path, "conv_pre"),
                {.in = kStereo * bins, .out = c.upsample_initial_channel, .kernel = kEnds}) {
    const std::size_t kernels = c.resblock_kernel_sizes.size();
    std::int64_t width = c.upsample_initial_channel;
    stages_.reserve(c.upsample_rates.size());
    for (std::size_t i = 0; i < c.upsample_rates.size(); ++i, width /= 2)
        stages_.push_back({SampleConv(r, r.path(path, fmt::format("ups.{}", i)),
                                      {.in = width,
                                       .out = width / 2,
                                       .kernel = c.upsample_kernel_sizes[i],
                                       .upsample = c.upsample_rates[i]}),
                           {}});
    width = c.upsample_initial_channel;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        width /= 2;
        for (std::size_t j = 0; j < kernels; ++j)
            stages_[i].blocks.push_back(
                make_block(r, fmt::format("{}.resblocks.{}", path, i * kernels + j), width, c, j));
    }
    if (alias_free_) act_post_.emplace(r, *act_, width, c.activation == kBeta);
    conv_post_.emplace_back(
        r, r.path(path, "conv_post"),
        SampleConv::Shape{
            .in = width, .out = kStereo, .kernel = kEnds, .bias = c.use_bias_at_final});
}

Tensor LtxVocoder::forward_block(Tape& tape, const Block& block, const Tensor& given) const {
    const auto activate = [&](const std::vector<AliasFreeSnake>& acts, std::size_t i,
                              const Tensor& x) {
        return acts.empty() ? ghost::unary(tape, "leaky_relu", block.path, x)
                            : acts[i].forward(tape, x);
    };
    Tensor x = given;
    Tensor h;  // lives on into the next turn
    for (std::size_t i = 0; i < block.dilated.size(); ++i) {
        h = activate(block.before_dilated, i, x);
        h = block.dilated[i].forward(tape, h);
        h = activate(block.before_plain, i, h);
        h = block.plain[i].forward(tape, h);
        x = ghost::binary(tape, "add", block.path, h, x);
    }
    return x;
}

Tensor LtxVocoder::forward(Tape& tape, const Tensor& mel) const {
    const Shape& s = mel.shape();
    Tensor x = ghost::produce(tape, OpClass::Copy, "cat", path_, mel, {s[0], s[1] * s[3], s[2]},
                              mel.type());
    x = conv_pre_.forward(tape, x);
    Tensor sum;  // of the last stage, until the next one's first block is through
    for (const Stage& stage : stages_) {
        if (!alias_free_) x = ghost::unary(tape, "leaky_relu", path_, x);
        x = stage.up.forward(tape, x);
        sum = {};
        for (const Block& block : stage.blocks) {
            const Tensor one = forward_block(tape, block, x);
            if (sum.defined())
                ghost::binary_in_place(tape, "add_", path_, sum, one);
            else
                sum = one;
        }
        x = ghost::unary(tape, "div", path_, sum);
    }
    x = act_post_ ? act_post_->forward(tape, x) : ghost::unary(tape, "leaky_relu", act_, x);
    x = conv_post_.front().forward(tape, x);
    return ends_active_ ? ghost::unary(tape, "tanh", path_, x) : x;
}

LtxBandwidthExtension::LtxBandwidthExtension(Registry& r, std::string_view path,
                                             const modelfile::LtxBandwidthConfig& c)
    : config_(c),
      frequencies_(c.n_fft / 2 + 1),
      root_(r.path(path, "")),
      generator_(r, fmt::format("{}.bwe_generator", path), c.generator, c.num_mels),
      mel_(r.path(path, "mel_stft")),
      stft_(r.path(path, "mel_stft.stft_fn")),
      resampler_([&] {
          r.add_buffer(mel_, "MelSTFT", c.num_mels * frequencies_, ModuleStorage::AsNetwork,
                       Saved::Yes);
          // There and back.
          r.add_buffer(stft_, "_STFTFn", 2 * (2 * frequencies_) * c.n_fft, ModuleStorage::AsNetwork,
                       Saved::Yes);
          return SampleUp(r, r.path(path, "resampler"),
                          c.output_sampling_rate / c.input_sampling_rate, SampleUp::Window::Hann);
      }()) {}

// Magnitude, phase and energy are made, the last two for nobody.
Tensor LtxBandwidthExtension::make_spectrogram(Tape& tape, const Tensor& samples) const {
    const auto& s = samples.shape();
    const std::int64_t rows = s[0] * s[1];
    const std::int64_t frames = s[2] / config_.hop_length;
    Tensor magnitude;
    Tensor phase;
    {
        const Tensor padded =
            ghost::produce(tape, OpClass::Copy, "constant_pad_nd", stft_, samples,
                           {rows, 1, s[2] + config_.n_fft - config_.hop_length}, samples.type());
        const Tensor spectrum =
            tape.make({rows, 2 * frequencies_, frames}, samples.type(), "convolution", stft_);
        tape.charge(OpClass::Convolution, "convolution", stft_,
                    ghost::saturating_product({2, rows, 2 * frequencies_, frames, config_.n_fft}),
                    padded.bytes() + spectrum.bytes() +
                        2 * frequencies_ * config_.n_fft * ghost::element_bytes(samples.type()));
        const Tensor half = spectrum.view({rows, frequencies_, frames});
        magnitude = [&] {
            const Tensor sum = [&] {
                const Tensor real = ghost::unary(tape, "pow", stft_, half);
                const Tensor imaginary = ghost::unary(tape, "pow", stft_, half);
                return ghost::binary(tape, "add", stft_, real, imaginary);
            }();
            return ghost::unary(tape, "sqrt", stft_, sum);
        }();
        phase = ghost::binary(tape, "atan2", stft_, half, half);
    }
    const Tensor energy = ghost::produce(tape, OpClass::Normalization, "norm", mel_, magnitude,
                                         {rows, frames}, samples.type());
    const Tensor mel = [&] {
        Tensor product = tape.make({rows, config_.num_mels, frames}, samples.type(), "bmm", mel_);
        tape.charge(OpClass::MatMul, "bmm", mel_,
                    ghost::saturating_product({2, rows, config_.num_mels, frequencies_, frames}),
                    magnitude.bytes() + product.bytes() +
                        config_.num_mels * frequencies_ * ghost::element_bytes(samples.type()));
        return product;
    }();
    const Tensor clamped = ghost::unary(tape, "clamp", mel_, mel);
    return ghost::unary(tape, "log", mel_, clamped).view({s[0], s[1], frames, config_.num_mels});
}

Tensor LtxBandwidthExtension::forward(Tape& tape, const Tensor& samples) const {
    const Tensor mel = make_spectrogram(tape, samples);
    const Tensor residual = generator_.forward(tape, mel);
    const Tensor skip = resampler_.forward(tape, samples);
    const Tensor sum = ghost::binary(tape, "add", root_, residual, skip);
    return ghost::unary(tape, "clamp", root_, sum);
}

}  // namespace plimsoll::memory
