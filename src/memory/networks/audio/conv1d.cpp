// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/conv1d.h"

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

Conv1d::Conv1d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
               const Conv1dShape& shape, const Conv1dTraits& traits)
    : path_(path), in_(in), out_(out), shape_(shape), traits_(traits) {
    const bool transposed = traits.direction == Direction1d::Transposed;
    const std::int64_t weights = in * out / shape.groups * shape.kernel;
    const std::int64_t bias = traits.bias == Bias::Yes ? out : 0;
    // Lengths lie along the weight's first dimension.
    const std::int64_t first = transposed ? in : out;
    const std::int64_t lengths = traits.weight_norm == WeightNorm::Yes ? first : 0;
    registry.add(path, transposed ? "ConvTranspose1d" : "Conv1d", weights + bias + lengths);
}

std::int64_t Conv1d::steps(std::int64_t n) const {
    if (traits_.direction == Direction1d::Transposed)
        return (n - 1) * shape_.stride - 2 * shape_.padding +
               shape_.dilation * (shape_.kernel - 1) + 1;
    return (n + 2 * shape_.padding - shape_.dilation * (shape_.kernel - 1) - 1) / shape_.stride + 1;
}

// One fused kernel, which keeps the lengths it found in fp32 while it runs.
Tensor Conv1d::make_weight(Tape& tape) const {
    if (traits_.weight_norm == WeightNorm::No) return {};
    constexpr std::string_view kOp = "_weight_norm_interface";
    const bool transposed = traits_.direction == Direction1d::Transposed;
    const std::int64_t first = transposed ? in_ : out_;
    const std::int64_t second = (transposed ? out_ : in_) / shape_.groups;
    const ElementType type = tape.compute();
    Tensor weight = tape.make({first, second, shape_.kernel}, type, kOp, path_);
    const Tensor lengths = tape.make({first, 1, 1}, ElementType::Float32, kOp, path_);
    tape.charge(OpClass::Normalization, kOp, path_, 0,
                2 * weight.bytes() + first * element_bytes(type) + lengths.bytes());
    return weight;
}

Tensor Conv1d::forward(Tape& tape, const Tensor& x) const {
    const bool has_bias = traits_.bias == Bias::Yes;
    const Tensor made = make_weight(tape);
    const Tape::Cast bias = has_bias ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight =
        made.defined() ? Tape::Cast{}
                       : tape.cast_weight({out_, in_ / shape_.groups, shape_.kernel}, path_);
    const Shape& s = x.shape();
    const std::int64_t n = steps(s[2]);
    Tensor out = tape.make({s[0], out_, n}, x.type(), "convolution", path_);
    const std::int64_t weights = in_ * out_ / shape_.groups * shape_.kernel;
    const std::int64_t bytes = element_bytes(x.type());
    const std::int64_t bias_traffic =
        has_bias && tape.options().casts_included ? 2 * out.bytes() : 0;
    // Each weight meets every step of the shorter side.
    const std::int64_t meets = traits_.direction == Direction1d::Transposed ? s[2] : n;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, s[0], meets, weights}),
                x.bytes() + (weights + (has_bias ? out_ : 0)) * bytes + out.bytes() + bias_traffic,
                has_bias ? 2 : 1);  // the bias is added by a kernel of its own
    return out;
}

Tensor Conv1d::forward_strided(Tape& tape, const Tensor& x) const {
    constexpr std::string_view kOp = "convolution.copy_in";
    const Tensor copy = tape.make_temporary(x.bytes(), kOp, path_);
    tape.charge(OpClass::Copy, kOp, path_, 0, 2 * x.bytes());
    return forward(tape, x);
}

}  // namespace plimsoll::memory
