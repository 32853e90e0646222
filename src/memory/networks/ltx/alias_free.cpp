// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/alias_free.h"

#include <string>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kRatio = 2;
constexpr std::int64_t kKernel = 12;    // of both low passes
constexpr std::int64_t kHannWidth = 7;  // samples to each side: six, and the roll-off's

// Each channel by itself, with one filter for all.
Tensor filter(Tape& tape, Module path, const Tensor& x, std::int64_t length, std::int64_t kernel,
              std::int64_t products) {
    const auto& s = x.shape();
    Tensor out = tape.make({s[0], s[1], length}, x.type(), "convolution", path);
    tape.charge(OpClass::Convolution, "convolution", path,
                ghost::saturating_product({2, s[0], s[1], products, kernel}),
                x.bytes() + out.bytes() + s[1] * kernel * ghost::element_bytes(x.type()));
    return out;
}

Tensor pad(Tape& tape, Module path, const Tensor& x, std::int64_t more) {
    const auto& s = x.shape();
    return ghost::produce(tape, OpClass::Copy, "replication_pad1d", path, x,
                          {s[0], s[1], s[2] + more}, x.type());
}

}  // namespace

SampleUp::SampleUp(Registry& r, Module path, std::int64_t ratio, Window window)
    : path_(path),
      ratio_(ratio),
      kernel_(window == Window::Hann ? 2 * kHannWidth * ratio + 1 : kKernel),
      padding_(window == Window::Hann ? kHannWidth : kKernel / ratio - 1) {
    r.add_buffer(path, "UpSample1d", kernel_, ModuleStorage::AsNetwork,
                 window == Window::Hann ? Saved::No : Saved::Yes);
}

Tensor SampleUp::forward(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const Tensor padded = pad(tape, path_, x, 2 * padding_);
    const std::int64_t length = padded.shape()[2];
    const Tensor longer =
        filter(tape, path_, padded, (length - 1) * ratio_ + kernel_, kernel_, length);
    const Tensor louder = ghost::unary(tape, "mul", path_, longer);
    return louder.view({s[0], s[1], s[2] * ratio_});  // without the ends
}

AliasFreeSnake::AliasFreeSnake(Registry& r, std::string_view path, std::int64_t channels, bool beta)
    : channels_(channels),
      beta_(beta),
      act_([&] {
          const Module act = r.path(path, "act");
          r.add_own_parameters(act, beta ? "SnakeBeta" : "Snake", (beta ? 2 : 1) * channels,
                               ModuleStorage::AsNetwork);
          return act;
      }()),
      up_(r, r.path(path, "upsample"), kRatio, SampleUp::Window::Kaiser),
      low_pass_([&] {
          const Module low_pass = r.path(path, "downsample.lowpass");
          r.add_buffer(low_pass, "LowPassFilter1d", kKernel, ModuleStorage::AsNetwork, Saved::Yes);
          return low_pass;
      }()) {}

Tensor AliasFreeSnake::snake(Tape& tape, const Tensor& x) const {
    const auto number = [&](std::string_view op) {
        return ghost::create(tape, op, act_, {1, channels_, 1}, x.type());
    };
    const Tensor alpha = number("exp");
    const Tensor beta = beta_ ? number("exp") : alpha;
    const Tensor factor = [&] {
        const Tensor inverse = [&] {
            const Tensor sum = number("add");
            return number("reciprocal");
        }();
        return number("mul");  // Python's one over it
    }();
    const Tensor product = [&] {
        const Tensor squares = [&] {
            const Tensor waves = [&] {
                const Tensor angle =
                    ghost::combine(tape, "mul", act_, {&x, &alpha}, x.shape(), x.type());
                return ghost::unary(tape, "sin", act_, angle);
            }();
            return ghost::unary(tape, "pow", act_, waves);
        }();
        return ghost::combine(tape, "mul", act_, {&factor, &squares}, x.shape(), x.type());
    }();
    return ghost::combine(tape, "add", act_, {&x, &product}, x.shape(), x.type());
}

// Every other sample of what passes.
Tensor AliasFreeSnake::halve(Tape& tape, const Tensor& x) const {
    const std::int64_t length = x.shape()[2] / kRatio;
    const Tensor padded = pad(tape, low_pass_, x, kKernel - 1);
    return filter(tape, low_pass_, padded, length, kKernel, length);
}

Tensor AliasFreeSnake::forward(Tape& tape, const Tensor& x) const {
    const Tensor active = [&] {
        const Tensor doubled = up_.forward(tape, x);
        return snake(tape, doubled);
    }();
    return halve(tape, active);
}

}  // namespace plimsoll::memory
