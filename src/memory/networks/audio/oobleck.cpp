// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/oobleck.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::size_t kLevelsMax = 16;           // chosen
constexpr int kStrideMax = 64;                   // chosen
constexpr std::int64_t kSamplesMax = 1LL << 20;  // of one latent; chosen
constexpr std::array<std::int64_t, 3> kDilations = {1, 3, 9};
constexpr std::int64_t kResidualKernel = 7;
constexpr std::int64_t kOuterKernel = 7;  // at the sound's end
constexpr std::int64_t kDeepKernel = 3;   // at the latent's, going down; going up 7 again

Conv1dShape same(std::int64_t kernel, std::int64_t dilation = 1) {
    return {.kernel = kernel, .padding = dilation * (kernel - 1) / 2, .dilation = dilation};
}

Conv1dShape resampling(std::int64_t stride) {
    return {.kernel = 2 * stride, .stride = stride, .padding = (stride + 1) / 2};
}

constexpr Conv1dTraits kNormed{.weight_norm = WeightNorm::Yes};

}  // namespace

Snake::Snake(Registry& r, Module path, std::int64_t channels) : path_(path), channels_(channels) {
    r.add_plain(path, "SnakeBeta", 2 * channels);
}

Tensor Snake::forward(Tape& tape, const Tensor& x) const {
    const Shape per_channel{1, channels_, 1};
    const auto exponential = [&] {
        Tensor e = tape.make(per_channel, tape.compute(), "exp", path_);
        tape.charge(OpClass::Elementwise, "exp", path_, 0, 2 * e.bytes());
        return e;
    };
    const Tensor alpha = exponential();
    const Tensor beta = exponential();
    const Tensor inverse = [&] {
        Tensor t = ghost::unary(tape, "add", path_, beta);
        t = ghost::unary(tape, "reciprocal", path_, t);
        return ghost::unary(tape, "mul", path_, t);
    }();
    Tensor wave = [&] {
        const Tensor angle = ghost::binary(tape, "mul", path_, x, alpha);
        return ghost::unary(tape, "sin", path_, angle);
    }();
    wave = ghost::unary(tape, "pow", path_, wave);
    wave = ghost::binary(tape, "mul", path_, wave, inverse);
    return ghost::binary(tape, "add", path_, x, wave);
}

OobleckResidual::OobleckResidual(Registry& r, std::string_view path, std::int64_t channels,
                                 std::int64_t dilation)
    : path_(r.path(path, "")),
      snake1_(r, r.path(path, "layers.0"), channels),
      conv1_(r, r.path(path, "layers.1"), channels, channels, same(kResidualKernel, dilation),
             kNormed),
      snake2_(r, r.path(path, "layers.2"), channels),
      conv2_(r, r.path(path, "layers.3"), channels, channels, same(1), kNormed) {}

Tensor OobleckResidual::forward(Tape& tape, const Tensor& x) const {
    Tensor h = snake1_.forward(tape, x);
    h = conv1_.forward(tape, h);
    h = snake2_.forward(tape, h);
    h = conv2_.forward(tape, h);
    return ghost::binary(tape, "add", path_, h, x);
}

OobleckLevel::OobleckLevel(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                           std::int64_t stride, Direction1d direction)
    : direction_(direction) {
    const bool up = direction == Direction1d::Transposed;
    const auto layer = [&](std::size_t i) { return fmt::format("layers.{}", i); };
    const auto add_resampling = [&](std::size_t first) {
        Snake snake(r, r.path(path, layer(first)), in);
        resampling_ =
            Resampling{snake, Conv1d(r, r.path(path, layer(first + 1)), in, out, resampling(stride),
                                     {.direction = direction, .weight_norm = WeightNorm::Yes})};
    };
    if (up) add_resampling(0);
    residuals_.reserve(kDilations.size());
    for (std::size_t i = 0; i < kDilations.size(); ++i)
        residuals_.emplace_back(r, *r.path(path, layer(i + (up ? 2 : 0))), up ? out : in,
                                kDilations[i]);
    if (!up) add_resampling(kDilations.size());
}

Tensor OobleckLevel::Resampling::forward(Tape& tape, const Tensor& x) const {
    const Tensor h = snake.forward(tape, x);
    return conv.forward(tape, h);
}

Tensor OobleckLevel::forward(Tape& tape, const Tensor& x) const {
    Tensor h = x;
    if (direction_ == Direction1d::Transposed) h = resampling_->forward(tape, h);
    for (const OobleckResidual& residual : residuals_) h = residual.forward(tape, h);
    if (direction_ == Direction1d::Forward) h = resampling_->forward(tape, h);
    return h;
}

OobleckCoder::OobleckCoder(Registry& r, std::string_view path, const modelfile::OobleckConfig& c,
                           Direction1d direction) {
    const bool up = direction == Direction1d::Transposed;
    const std::size_t depth = c.strides.size();
    const auto layer = [&](std::size_t i) { return r.path(path, fmt::format("layers.{}", i)); };
    const auto width = [&](std::size_t level) {  // level 0 is the sound's end
        return std::int64_t{c.channels} * (level == 0 ? 1 : c.c_mults[level - 1]);
    };
    if (up)
        conv_in_.emplace(r, layer(0), c.latent_dim, width(depth), same(kOuterKernel), kNormed);
    else
        conv_in_.emplace(r, layer(0), c.in_channels, width(0), same(kOuterKernel), kNormed);
    levels_.reserve(depth);
    for (std::size_t i = 0; i < depth; ++i) {
        const std::size_t level = up ? depth - 1 - i : i;  // between `level` and the one below it
        levels_.emplace_back(r, *layer(i + 1), width(up ? level + 1 : level),
                             width(up ? level : level + 1), c.strides[level], direction);
    }
    snake_.emplace(r, layer(depth + 1), width(up ? 0 : depth));
    if (up)
        conv_out_.emplace(r, layer(depth + 2), width(0), c.in_channels, same(kOuterKernel),
                          Conv1dTraits{.weight_norm = WeightNorm::Yes, .bias = Bias::No});
    else  // mean and deviation
        conv_out_.emplace(r, layer(depth + 2), width(depth), 2 * std::int64_t{c.latent_dim},
                          same(kDeepKernel), kNormed);
}

Tensor OobleckCoder::forward(Tape& tape, const Tensor& x) const {
    Tensor h = conv_in_->forward(tape, x);
    for (const OobleckLevel& level : levels_) h = level.forward(tape, h);
    h = snake_->forward(tape, h);
    return conv_out_->forward(tape, h);
}

OobleckNetwork::OobleckNetwork(const modelfile::OobleckConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      encoder_(registry_, "encoder", c, Direction1d::Forward),
      decoder_(registry_, "decoder", c, Direction1d::Transposed) {}

std::int64_t OobleckNetwork::downscale() const {
    std::int64_t samples = 1;
    for (const int stride : config_.strides) samples *= stride;
    return samples;
}

// The rate is in no tensor: Stable Audio's is 44.1 kHz, ACE-Step 1.5's, which ComfyUI tells by its
// strides, 48 kHz.
std::optional<SoundGrid> OobleckNetwork::sound() const {
    constexpr std::int64_t kOfStableAudio = 2048;
    return SoundGrid{.samples_per_second = downscale() == kOfStableAudio ? 44'100 : 48'000,
                     .samples_per_latent = static_cast<int>(downscale()),
                     .latent_channels = config_.latent_dim};
}

Tensor OobleckNetwork::decode(Tape& tape, const Tensor& latent) const {
    return decoder_.forward(tape, latent);
}

// A sample of the distribution, and its divergence from the normal one, which nobody asks for.
Tensor OobleckNetwork::encode(Tape& tape, const Tensor& samples) const {
    const Tensor both = encoder_.forward(tape, samples);
    const Tensor mean = both.view(both.shape().with(1, config_.latent_dim));
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, root_, x);
    };
    const auto binary = [&](std::string_view op, const Tensor& a, const Tensor& b) {
        return ghost::binary(tape, op, root_, a, b);
    };
    const Tensor deviation = [&] {
        const Tensor positive = unary("softplus", mean);
        return unary("add", positive);
    }();
    const Tensor variance = binary("mul", deviation, deviation);
    const Tensor logarithm = unary("log", variance);
    Tensor latents = [&] {
        Tensor noise = ghost::create_like(tape, "randn_like", root_, mean);
        noise = binary("mul", noise, deviation);
        return binary("add", noise, mean);
    }();
    Tensor divergence = binary("mul", mean, mean);
    divergence = binary("add", divergence, variance);
    divergence = binary("sub", divergence, logarithm);
    divergence = unary("sub", divergence);
    divergence = ghost::produce(tape, OpClass::Elementwise, "sum", root_, divergence,
                                {mean.shape()[0], mean.shape()[2]}, mean.type());
    divergence =
        ghost::produce(tape, OpClass::Elementwise, "mean", root_, divergence, {1}, mean.type());
    return latents;
}

Walk OobleckNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const Tensor latent =
        tape.input({call.batch, config_.latent_dim, call.latents}, element_type(call.compute));
    const Tensor samples = decode(tape, latent);
    return finish_walk(tape, *this, call.compute, call.rules);
}

Walk OobleckNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const Tensor samples = tape.input({call.batch, config_.in_channels, call.latents * downscale()},
                                      element_type(call.compute));
    const Tensor latent = encode(tape, samples);
    return finish_walk(tape, *this, call.compute, call.rules);
}

Result<std::shared_ptr<const OobleckNetwork>> build_oobleck(const modelfile::OobleckConfig& c) {
    bool sound = within(c.in_channels, 1, 64) && within(c.channels, 1, kWidthMax) &&
                 within(c.latent_dim, 1, kWidthMax) && !c.strides.empty() &&
                 c.strides.size() <= kLevelsMax && c.strides.size() == c.c_mults.size();
    std::int64_t samples = 1;
    for (const int stride : c.strides) {
        sound = sound && within(stride, 1, kStrideMax);
        if (sound) samples *= stride;
        sound = sound && samples <= kSamplesMax;
    }
    for (const int mult : c.c_mults)
        sound = sound && within(mult, 1, kWidthMax) &&
                within(std::int64_t{mult} * c.channels, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("an Oobleck VAE of {} channels, {} latent channels and {} strides "
                                "cannot be",
                                c.channels, c.latent_dim, c.strides.size()));
    return std::make_shared<const OobleckNetwork>(c);
}

}  // namespace plimsoll::memory
