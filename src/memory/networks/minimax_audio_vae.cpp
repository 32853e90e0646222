// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/minimax_audio_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;

namespace {

// The network has one size.
constexpr std::int64_t kLatent = 32;
constexpr std::int64_t kStereo = 2;
constexpr std::int64_t kLatentsPerSecond = 40;
constexpr std::int64_t kWidth = 2048;  // between encoder, latent and decoder
constexpr std::int64_t kDecoderWidth = 1024;
constexpr std::int64_t kEncoderWidth = 64;
constexpr std::int64_t kTaps = 12;  // of the filters around an activation
constexpr std::array<std::int64_t, 5> kDownRates = {2, 4, 4, 5, 5};
struct UpRate {
    std::int64_t rate = 2;
    std::int64_t kernel = 4;
};
constexpr std::array<UpRate, 7> kUpRates = {
    {{5, 9}, {5, 9}, {2, 4}, {2, 4}, {2, 4}, {2, 4}, {2, 4}}};
constexpr std::array<std::int64_t, 3> kKernels = {3, 7, 11};
constexpr std::array<std::int64_t, 3> kDilations = {1, 3, 5};

void register_encoder(Registry& r) {
    const auto conv = [&](const std::string& path, std::int64_t in, std::int64_t out,
                          std::int64_t kernel) {
        r.add(r.path("encoder", path), "Conv1d", in * out * kernel + out);
    };
    const auto snake = [&](const std::string& path, std::int64_t channels) {
        r.add_own_parameters(r.path("encoder", path), "Snake1d", channels,
                             ModuleStorage::AsNetwork);
    };
    constexpr std::int64_t kKernel = 7;
    conv("block.0", 1, kEncoderWidth, kKernel);
    std::int64_t width = kEncoderWidth;
    for (std::size_t i = 0; i < kDownRates.size(); ++i) {
        const std::string block = fmt::format("block.{}", i + 1);
        for (int unit = 0; unit < 3; ++unit) {
            const std::string path = fmt::format("{}.block.{}", block, unit);
            snake(path + ".block.0", width);
            conv(path + ".block.1", width, width, kKernel);
            snake(path + ".block.2", width);
            conv(path + ".block.3", width, width, 1);
        }
        snake(block + ".block.3", width);
        conv(block + ".block.4", width, 2 * width, 2 * kDownRates[i]);
        width *= 2;
    }
    snake("block.6", width);
    conv("block.7", width, kWidth, 3);
}

// From the encoder's output to the latent.
void register_projection(Registry& r) {
    const auto norm = [&](std::string_view path, std::int64_t width) {
        r.add(r.path("pre_block", path), "LayerNorm", 2 * width);
    };
    const auto linear = [&](std::string_view path, std::int64_t in, std::int64_t out) {
        r.add(r.path("pre_block", path), "Linear", in * out + out);
    };
    norm("norm1", kWidth);
    const Module attention = r.path("pre_block", "attn");
    r.add_own_parameters(attention, "CausalAttention", 2 * kWidth, ModuleStorage::AsNetwork);
    r.add_buffer(attention, "CausalAttention", kWidth, ModuleStorage::AsNetwork, Saved::Yes);
    r.add(r.path("pre_block", "attn.qkv"), "Linear", 3 * kWidth * kWidth);
    linear("attn.proj", kLatent, kLatent);
    linear("proj", kWidth, kLatent);
    norm("norm3", kWidth);
    norm("norm2", kLatent);
    norm("mlp.norm", kLatent);
    linear("mlp.w0", kLatent, 2 * kLatent);
    linear("mlp.w1", kLatent, 2 * kLatent);
    linear("mlp.w2", 2 * kLatent, kLatent);
    for (const std::string_view path : {"mean_proj", "logs_proj"})
        r.add(r.path(path, ""), "Conv1d", kLatent * kLatent + kLatent);
}

Tensor pad(Tape& tape, Module module, const Tensor& x, std::int64_t samples) {
    return ghost::produce(tape, OpClass::Copy, "replication_pad1d", module, x,
                          x.shape().with_last(x.shape().last() + samples), x.type());
}

}  // namespace

AudioConv::AudioConv(Registry& r, Module path, std::int64_t in, std::int64_t out,
                     const AudioConvShape& shape, Direction direction, Bias bias)
    : path_(path),
      in_(in),
      out_(out),
      shape_(shape),
      direction_(direction),
      bias_(bias == Bias::Yes) {
    r.add(path, direction == Direction::Plain ? "Conv1d" : "ConvTranspose1d",
          in * out * shape.kernel + (bias_ ? out : 0));
}

Tensor AudioConv::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = tape.cast_weight({out_, in_, shape_.kernel}, path_);
    const std::int64_t samples = x.shape().last();
    const bool plain = direction_ == Direction::Plain;
    const std::int64_t reach = shape_.dilation * (shape_.kernel - 1) + 1;
    const std::int64_t length = plain ? (samples + 2 * shape_.padding - reach) / shape_.stride + 1
                                      : (samples - 1) * shape_.stride - 2 * shape_.padding + reach;
    Tensor out = tape.make({x.shape()[0], out_, length}, x.type(), "convolution", path_);
    const std::int64_t weights = in_ * out_ * shape_.kernel;
    const std::int64_t own = (weights + (bias_ ? out_ : 0)) * element_bytes(x.type());
    const bool bias_kernel = bias_ && tape.options().casts_included;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, x.shape()[0], plain ? length : samples, weights}),
                x.bytes() + own + out.bytes() + (bias_kernel ? 2 * out.bytes() : 0), bias_ ? 2 : 1);
    return out;
}

AudioActivation::AudioActivation(Registry& r, std::string_view path, std::int64_t channels)
    : channels_(channels),
      act_(r.path(path, "act")),
      upsample_(r.path(path, "upsample")),
      downsample_(r.path(path, "downsample.lowpass")) {
    r.add_own_parameters(act_, "SnakeBeta", 2 * channels, ModuleStorage::AsNetwork);
    r.add_buffer(upsample_, "UpSample1d", kTaps, ModuleStorage::AsNetwork, Saved::Yes);
    r.add_buffer(downsample_, "LowPassFilter1d", kTaps, ModuleStorage::AsNetwork, Saved::Yes);
}

Tensor AudioActivation::filter(Tape& tape, Module module, ghost::ElementType type) const {
    Tensor copy = tape.make({channels_, 1, kTaps}, type, "_to_copy", module);
    tape.charge(OpClass::Copy, "_to_copy", module, 0, 2 * copy.bytes());
    return copy;
}

Tensor AudioActivation::upsample(Tape& tape, const Tensor& x) const {
    constexpr std::int64_t kPad = 5;       // on each side, before
    constexpr std::int64_t kCropped = 30;  // on both sides together, after
    const Tensor raw = [&] {
        const Tensor padded = pad(tape, upsample_, x, 2 * kPad);
        const Tensor taps = filter(tape, upsample_, x.type());
        const std::int64_t samples = padded.shape().last();
        Tensor out = tape.make(x.shape().with_last(2 * (samples - 1) + kTaps), x.type(),
                               "convolution", upsample_);
        tape.charge(OpClass::Convolution, "convolution", upsample_,
                    ghost::saturating_product({2, padded.elements(), kTaps}),
                    padded.bytes() + taps.bytes() + out.bytes());
        return out;
    }();
    ghost::unary_in_place(tape, "mul_", upsample_, raw);
    return raw.view(raw.shape().with_last(raw.shape().last() - kCropped));
}

Tensor AudioActivation::snake(Tape& tape, const Tensor& x) const {
    const Shape rows{1, channels_, 1};
    const auto parameter = [&] {
        const Tensor copy = ghost::create(tape, "_to_copy", act_, rows, x.type());
        return ghost::unary(tape, "exp", act_, copy);
    };
    const Tensor alpha = parameter();
    const Tensor beta = parameter();
    const Tensor wave = [&] {
        const Tensor product = ghost::binary(tape, "mul", act_, x, alpha);
        return ghost::unary(tape, "sin", act_, product);
    }();
    ghost::binary_in_place(tape, "mul_", act_, wave, wave);
    const Tensor inverse = [&] {
        const Tensor sum = ghost::unary(tape, "add", act_, beta);
        return ghost::unary(tape, "reciprocal", act_, sum);
    }();
    ghost::binary_in_place(tape, "mul_", act_, wave, inverse);
    ghost::binary_in_place(tape, "add_", act_, wave, x);
    return wave;
}

Tensor AudioActivation::downsample(Tape& tape, const Tensor& x) const {
    const Tensor padded = pad(tape, downsample_, x, kTaps - 1);
    const Tensor taps = filter(tape, downsample_, x.type());
    const std::int64_t length = (padded.shape().last() - kTaps) / 2 + 1;
    Tensor out = tape.make(x.shape().with_last(length), x.type(), "convolution", downsample_);
    tape.charge(OpClass::Convolution, "convolution", downsample_,
                ghost::saturating_product({2, out.elements(), kTaps}),
                padded.bytes() + taps.bytes() + out.bytes());
    return out;
}

Tensor AudioActivation::forward(Tape& tape, const Tensor& x) const {
    const Tensor active = [&] {
        const Tensor fast = upsample(tape, x);
        return snake(tape, fast);
    }();
    return downsample(tape, active);
}

AudioResidual::AudioResidual(Registry& r, std::string_view path, std::int64_t channels,
                             std::int64_t kernel)
    : path_(r.path(path, "")) {
    const auto add = [&](std::vector<AudioConv>& convs, std::string_view name, bool dilated) {
        convs.reserve(kDilations.size());
        for (std::size_t i = 0; i < kDilations.size(); ++i) {
            const std::int64_t dilation = dilated ? kDilations[i] : 1;
            convs.emplace_back(r, r.path(path, fmt::format("{}.{}", name, i)), channels, channels,
                               AudioConvShape{.kernel = kernel,
                                              .dilation = dilation,
                                              .padding = dilation * (kernel - 1) / 2});
        }
    };
    add(first_, "convs1", true);
    add(second_, "convs2", false);
    activations_.reserve(2 * kDilations.size());
    for (std::size_t i = 0; i < 2 * kDilations.size(); ++i)
        activations_.emplace_back(r, fmt::format("{}.activations.{}", path, i), channels);
}

// Each step adds the last one's result to its own, in place.
Tensor AudioResidual::forward(Tape& tape, const Tensor& input) const {
    Tensor x = input;
    Tensor y;
    for (std::size_t i = 0; i < first_.size(); ++i) {
        y = activations_[2 * i].forward(tape, x);
        y = first_[i].forward(tape, y);
        y = activations_[2 * i + 1].forward(tape, y);
        y = second_[i].forward(tape, y);
        ghost::binary_in_place(tape, "add_", path_, y, x);
        x = y;
    }
    return x;
}

MiniMaxAudioVaeNetwork::MiniMaxAudioVaeNetwork()
    : root_([&] {
          const Module root = registry_.path("", "");
          registry_.add_buffer(root, "MiniMaxH3AudioVAE", 2 * kLatent, ModuleStorage::AsNetwork,
                               Saved::Yes);
          register_encoder(registry_);
          register_projection(registry_);
          return root;
      }()),
      in_(registry_, registry_.path("dec_in_proj", ""), kLatent, kWidth, {.kernel = 1}),
      decoder_(registry_.path("decoder", "")),
      pre_(registry_, registry_.path("decoder", "conv_pre"), kWidth, kDecoderWidth,
           {.kernel = 7, .padding = 3}),
      stages_([&] {
          std::vector<AudioConv> ups;
          ups.reserve(kUpRates.size());
          std::int64_t width = kDecoderWidth;
          for (std::size_t i = 0; i < kUpRates.size(); ++i) {
              const auto [rate, kernel] = kUpRates[i];
              ups.emplace_back(
                  registry_, registry_.path("decoder", fmt::format("ups.{}.0", i)), width,
                  width / 2,
                  AudioConvShape{.kernel = kernel, .stride = rate, .padding = (kernel - rate) / 2},
                  AudioConv::Direction::Transposed);
              width /= 2;
          }
          std::vector<Stage> stages;
          stages.reserve(kUpRates.size());
          width = kDecoderWidth;
          for (std::size_t i = 0; i < kUpRates.size(); ++i) {
              width /= 2;
              Stage stage{ups[i], {}};
              stage.residuals.reserve(kKernels.size());
              for (std::size_t j = 0; j < kKernels.size(); ++j)
                  stage.residuals.emplace_back(
                      registry_, fmt::format("decoder.resblocks.{}", i * kKernels.size() + j),
                      width, kKernels[j]);
              stages.push_back(std::move(stage));
          }
          return stages;
      }()),
      post_activation_(registry_, "decoder.activation_post", kDecoderWidth >> kUpRates.size()),
      post_(registry_, registry_.path("decoder", "conv_post"), kDecoderWidth >> kUpRates.size(), 1,
            {.kernel = 7, .padding = 3}, AudioConv::Direction::Plain, Bias::No) {}

Tensor MiniMaxAudioVaeNetwork::decode(Tape& tape, const Tensor& latent) const {
    const Shape& s = latent.shape();
    Tensor z = ghost::clone(tape, root_, latent, {s[0] * s[2], s[1], s[3]});
    for (const std::string_view op : {"mul", "add"}) z = ghost::unary(tape, op, root_, z);
    const Tensor projected = in_.forward(tape, z);
    Tensor x = pre_.forward(tape, projected);
    for (const Stage& stage : stages_) {
        x = stage.up.forward(tape, x);
        Tensor sum;
        for (const AudioResidual& residual : stage.residuals) {
            const Tensor own = residual.forward(tape, x);
            if (sum.defined())
                ghost::binary_in_place(tape, "add_", decoder_, sum, own);
            else
                sum = own;
        }
        ghost::unary_in_place(tape, "div_", decoder_, sum);
        x = sum;
    }
    x = post_activation_.forward(tape, x);
    const Tensor wave = post_.forward(tape, x);
    ghost::unary_in_place(tape, "clamp_", decoder_, wave);
    return wave.view({s[0], s[2], wave.shape().last()});
}

VaeGrid MiniMaxAudioVaeNetwork::grid() const {
    return {.pixels_per_cell = 1, .latent_channels = static_cast<int>(kLatent)};
}

std::optional<SoundGrid> MiniMaxAudioVaeNetwork::sound() const {
    constexpr int kRate = 32'000;
    return SoundGrid{.samples_per_second = kRate,
                     .samples_per_latent = kRate / static_cast<int>(kLatentsPerSecond),
                     .latent_channels = static_cast<int>(kLatent),
                     .latent_rows = static_cast<int>(kStereo)};
}

bool MiniMaxAudioVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kLatentsMax = 3600 * static_cast<int>(kLatentsPerSecond);  // chosen: an hour
    return call.rules.comfyui_minor_key >= kComfy033 && call.latents <= kLatentsMax;
}

Walk MiniMaxAudioVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z =
        tape.input({call.batch, kLatent, kStereo, call.latents}, element_type(call.compute));
    const Tensor wave = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
