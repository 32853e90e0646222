// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/music_vocoder.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;

namespace {

constexpr std::array<std::int64_t, 4> kWidths = {128, 256, 384, 512};
constexpr std::array<int, 4> kDepths = {3, 3, 9, 3};
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kStemKernel = 7;
constexpr std::int64_t kOuterKernel = 13;  // of the generator's first and last convolution
constexpr std::int64_t kHeadWidth = 1024;  // halved by every change of rate
constexpr std::array<std::int64_t, 7> kRates = {4, 4, 2, 2, 2, 2, 2};
constexpr std::array<std::int64_t, 4> kKernels = {3, 7, 11, 13};
constexpr std::array<std::int64_t, 3> kDilations = {1, 3, 5};
constexpr Conv1dTraits kNormed{.weight_norm = WeightNorm::Yes};

Conv1dShape same(std::int64_t kernel, std::int64_t dilation = 1) {
    return {.kernel = kernel, .padding = dilation * (kernel - 1) / 2, .dilation = dilation};
}

}  // namespace

ChannelNorm::ChannelNorm(Registry& r, Module path, std::int64_t channels)
    : path_(path), channels_(channels) {
    r.add_plain(path, "LayerNorm", 2 * channels);
}

Tensor ChannelNorm::forward(Tape& tape, const Tensor& callers) const {
    const Shape row = callers.shape().with(1, 1);
    const auto mean = [&](const Tensor& of) {
        return ghost::produce(tape, OpClass::Normalization, "mean", path_, of, row, of.type());
    };
    const std::int64_t weight_bytes = channels_ * element_bytes(callers.type());
    const auto apply = [&](std::string_view op, const Tensor& to) {
        Tensor out = tape.make(to.shape(), to.type(), op, path_);
        tape.charge(OpClass::Elementwise, op, path_, 0, 2 * out.bytes() + weight_bytes);
        return out;
    };
    const Tensor average = mean(callers);
    const Tensor variance = [&] {
        const Tensor squares = [&] {
            const Tensor centred = ghost::binary(tape, "sub", path_, callers, average);
            return ghost::unary(tape, "pow", path_, centred);
        }();
        return mean(squares);
    }();
    Tensor x = [&] {
        const Tensor centred = ghost::binary(tape, "sub", path_, callers, average);
        const Tensor deviation = [&] {
            const Tensor sum = ghost::unary(tape, "add", path_, variance);
            return ghost::unary(tape, "sqrt", path_, sum);
        }();
        return ghost::binary(tape, "div", path_, centred, deviation);
    }();
    x = apply("mul", x);
    return apply("add", x);
}

ConvNextBlock::ConvNextBlock(Registry& r, std::string_view path, std::int64_t channels)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "ConvNeXtBlock", channels, ModuleStorage::AsNetwork);
          return own;
      }()),
      channels_(channels),
      depthwise_(r, r.path(path, "dwconv"), channels, channels,
                 {.kernel = kStemKernel, .padding = kStemKernel / 2, .groups = channels}),
      norm_([&] {
          const Module norm = r.path(path, "norm");
          r.add_plain(norm, "LayerNorm", 2 * channels);
          return LayerNorm(r, norm, channels, Affine::No);
      }()),
      widen_(r, r.path(path, "pwconv1"), channels, kMlpRatio * channels),
      narrow_(r, r.path(path, "pwconv2"), kMlpRatio * channels, channels) {}

Tensor ConvNextBlock::forward(Tape& tape, const Tensor& input) const {
    const Shape& s = input.shape();
    Tensor x = depthwise_.forward(tape, input).view({s[0], s[2], s[1]});
    x = norm_.forward_strided(tape, x);
    x = widen_.forward(tape, x);
    x = ghost::unary(tape, "gelu", path_, x);
    x = narrow_.forward(tape, x);
    Tensor scaled = tape.make(x.shape(), x.type(), "mul", path_);
    tape.charge(OpClass::Elementwise, "mul", path_, 0,
                2 * x.bytes() + channels_ * element_bytes(x.type()));
    x = std::move(scaled).view(s);
    return ghost::binary(tape, "add", path_, input, x);
}

HifiResidual::HifiResidual(Registry& r, std::string_view path, std::int64_t channels,
                           std::int64_t kernel)
    : path_(r.path(path, "")) {
    dilated_.reserve(kDilations.size());
    plain_.reserve(kDilations.size());
    for (std::size_t i = 0; i < kDilations.size(); ++i)
        dilated_.emplace_back(r, r.path(path, fmt::format("convs1.{}", i)), channels, channels,
                              same(kernel, kDilations[i]), kNormed);
    for (std::size_t i = 0; i < kDilations.size(); ++i)
        plain_.emplace_back(r, r.path(path, fmt::format("convs2.{}", i)), channels, channels,
                            same(kernel), kNormed);
}

Tensor HifiResidual::forward(Tape& tape, const Tensor& input) const {
    Tensor x = input;
    Tensor h;  // the last one lives on while the next is made
    for (std::size_t i = 0; i < dilated_.size(); ++i) {
        h = ghost::unary(tape, "silu", path_, x);
        h = dilated_[i].forward(tape, h);
        h = ghost::unary(tape, "silu", path_, h);
        h = plain_[i].forward(tape, h);
        x = ghost::binary(tape, "add", path_, h, x);
    }
    return x;
}

MusicVocoder::MusicVocoder(Registry& r, std::string_view path)
    : backbone_(r.path(path, "backbone")),
      head_(r.path(path, "head")),
      stem_(r.path(*backbone_, "channel_layers.0.0")),
      stages_(kWidths.size()),
      pre_([&] {
          const auto layer = [&](std::size_t level, int at) {
              return r.path(*backbone_, fmt::format("channel_layers.{}.{}", level, at));
          };
          widenings_.emplace_back(r, stem_, kMusicMels, kWidths[0],
                                  Conv1dShape{.kernel = kStemKernel});
          norms_.emplace_back(r, layer(0, 1), kWidths[0]);
          for (std::size_t i = 1; i < kWidths.size(); ++i) {
              norms_.emplace_back(r, layer(i, 0), kWidths[i - 1]);
              widenings_.emplace_back(r, layer(i, 1), kWidths[i - 1], kWidths[i], Conv1dShape{});
          }
          for (std::size_t i = 0; i < kWidths.size(); ++i)
              for (int block = 0; block < kDepths[i]; ++block)
                  stages_[i].emplace_back(r, fmt::format("{}.stages.{}.{}", *backbone_, i, block),
                                          kWidths[i]);
          last_norm_.emplace_back(r, r.path(*backbone_, "norm"), kWidths.back());
          return Conv1d(r, r.path(*head_, "conv_pre"), kWidths.back(), kHeadWidth,
                        same(kOuterKernel), kNormed);
      }()),
      post_([&] {
          std::int64_t width = kHeadWidth;
          for (std::size_t i = 0; i < kRates.size(); ++i, width /= 2)
              ups_.emplace_back(
                  r, r.path(*head_, fmt::format("ups.{}", i)), width, width / 2,
                  Conv1dShape{
                      .kernel = 2 * kRates[i], .stride = kRates[i], .padding = kRates[i] / 2},
                  Conv1dTraits{.direction = Direction1d::Transposed,
                               .weight_norm = WeightNorm::Yes});
          width = kHeadWidth;
          for (std::size_t i = 0; i < kRates.size() * kKernels.size(); ++i) {
              if (i % kKernels.size() == 0) width /= 2;
              residuals_.emplace_back(r, fmt::format("{}.resblocks.{}", *head_, i), width,
                                      kKernels.at(i % kKernels.size()));
          }
          return Conv1d(r, r.path(*head_, "conv_post"), width, 1, same(kOuterKernel), kNormed);
      }()) {}

Tensor MusicVocoder::run_backbone(Tape& tape, const Tensor& mel) const {
    Tensor x = mel;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        if (i == 0) {
            const Tensor padded =
                ghost::produce(tape, OpClass::Copy, "replication_pad1d", stem_, x,
                               x.shape().with_last(x.shape().last() + kStemKernel - 1), x.type());
            x = widenings_[i].forward(tape, padded);
        }
        x = norms_[i].forward(tape, x);
        if (i > 0) x = widenings_[i].forward(tape, x);
        for (const ConvNextBlock& block : stages_[i]) x = block.forward(tape, x);
    }
    return last_norm_.front().forward(tape, x);
}

Tensor MusicVocoder::forward(Tape& tape, const Tensor& mel) const {
    const Tensor frames = run_backbone(tape, mel);
    Tensor x = pre_.forward(tape, frames);
    Tensor sum;
    for (std::size_t i = 0; i < ups_.size(); ++i) {
        ghost::unary_in_place(tape, "silu_", head_, x);
        x = ups_[i].forward(tape, x);
        sum = {};
        for (std::size_t j = 0; j < kKernels.size(); ++j) {
            const Tensor own = residuals_[i * kKernels.size() + j].forward(tape, x);
            if (sum.defined())
                ghost::binary_in_place(tape, "add_", head_, sum, own);
            else
                sum = own;
        }
        x = ghost::unary(tape, "div", head_, sum);
    }
    ghost::unary_in_place(tape, "silu_", head_, x);
    x = post_.forward(tape, x);
    return ghost::unary(tape, "tanh", head_, x);
}

}  // namespace plimsoll::memory
