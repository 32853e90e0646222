// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/temporal_conv.h"

#include <array>

namespace plimsoll::memory {

using ghost::element_bytes;

namespace {
constexpr std::int64_t kKernel = 3;
}

CausalConv1d::CausalConv1d(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                           std::int64_t stride)
    : path_(r.path(path, "")),
      conv_path_(r.path(path, "conv")),
      in_(in),
      out_(out),
      stride_(stride) {
    r.add(conv_path_, "Conv1d", in * out * kKernel + out);
}

Tensor CausalConv1d::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t length = s[2] + kKernel - 1;
    const Tensor padded = ghost::produce(tape, OpClass::Copy, "replication_pad1d", path_, x,
                                         {s[0], s[1], length}, x.type());
    const Tape::Cast bias = tape.cast_weight({out_}, conv_path_);
    const Tape::Cast weight = tape.cast_weight({out_, in_, kKernel}, conv_path_);
    const std::int64_t moments = (length - kKernel) / stride_ + 1;
    Tensor out = tape.make({s[0], out_, moments}, x.type(), "convolution", conv_path_);
    const std::int64_t bias_traffic = tape.options().casts_included ? 2 * out.bytes() : 0;
    tape.charge(OpClass::Convolution, "convolution", conv_path_,
                ghost::saturating_product({2, s[0], moments, in_, out_, kKernel}),
                padded.bytes() + (in_ * kKernel + 1) * out_ * element_bytes(x.type()) +
                    out.bytes() + bias_traffic,
                2);  // the bias is added by a kernel of its own
    return out;
}

Tensor normed_moments(Tape& tape, const LayerNorm& norm, Module activation, const Tensor& x) {
    const Shape& s = x.shape();
    const Tensor normal = norm.forward_strided(tape, x.view({s[0], s[2], s[1]}));
    return ghost::unary(tape, "silu", activation, normal);
}

Tensor channels_first(const Tensor& x) {
    const Shape& s = x.shape();
    return x.view({s[0], s[2], s[1]});
}

Tensor with_padding_token(Tape& tape, Module owner, const Tensor& x) {
    const Shape& s = x.shape();
    const Tape::Cast cast = tape.cast_weight({1, 1, 1, s[3]}, owner);
    const Tensor token = ghost::create(tape, "repeat", owner, s.with(2, 1), x.type());
    const Tensor joined = ghost::cat(tape, owner, std::array<Tensor, 2>{x, token}, 2);
    return ghost::clone(tape, owner, joined, joined.shape());
}

}  // namespace plimsoll::memory
