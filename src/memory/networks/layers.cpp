// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/layers.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

Linear::Linear(Registry& registry, Module path, std::int64_t in, std::int64_t out, Bias bias,
               ModuleStorage storage)
    : path_(path),
      in_(in),
      out_(out),
      bias_(bias == Bias::Yes),
      scaled_(registry.scales_linears()),
      packed_(registry.packs_linears()) {
    registry.add(path, "Linear", in * out + (bias_ ? out : 0), storage);
    if (packed_) registry.pack_matrix(in * out);
}

Tape::Cast Linear::cast_matrix(Tape& tape) const {
    // What is packed is of no type that computes: it is always unpacked, whatever the card.
    return packed_ ? tape.cast_weight({out_, in_}, path_, ElementType::Opaque)
                   : tape.cast_weight({out_, in_}, path_);
}

Tensor Linear::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = cast_matrix(tape);
    const Tensor scaled = apply_scale(tape, x);
    const std::int64_t rows = x.elements() / in_;
    const std::string_view op = bias_ ? "addmm" : "mm";
    Tensor out = tape.make({rows, out_}, x.type(), op, path_);
    const std::int64_t parameters = (in_ * out_ + (bias_ ? out_ : 0)) * element_bytes(x.type());
    tape.charge(OpClass::MatMul, op, path_, ghost::saturating_product({2, rows, in_, out_}),
                x.bytes() + parameters + out.bytes());
    return out.view(x.shape().with_last(out_));
}

Tensor Linear::forward_strided(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = cast_matrix(tape);
    const Tensor copy = ghost::clone(tape, path_, x, x.shape());
    const Tensor scaled = apply_scale(tape, copy);
    return multiply(tape, "mm", copy);
}

Tensor Linear::forward_batched(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = cast_matrix(tape);
    const Tensor scaled = apply_scale(tape, x);
    return multiply(tape, "bmm", x);
}

Tensor Linear::apply_scale(Tape& tape, const Tensor& x) const {
    if (!scaled_) return {};
    const Shape weight_shape{out_, in_};
    const bool weight_is_smaller = weight_shape.elements() < x.elements();
    Tensor product =
        tape.make(weight_is_smaller ? weight_shape : x.shape(), x.type(), "mul", path_);
    tape.charge(OpClass::Elementwise, "mul", path_, 0,
                2 * product.bytes() + element_bytes(ElementType::Float32));
    return product;
}

Tensor Linear::forward_transposed(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = cast_matrix(tape);
    const Tensor scaled = apply_scale(tape, x);
    return multiply(tape, x.shape()[0] == 1 ? "mm" : "bmm", x);
}

Tensor Linear::forward_rows(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = cast_matrix(tape);
    const Tensor scaled = apply_scale(tape, x);
    return multiply(tape, "mm", x);
}

Tensor Linear::multiply(Tape& tape, std::string_view op, const Tensor& x) const {
    const std::int64_t rows = x.elements() / in_;
    Tensor out = tape.make({rows, out_}, x.type(), op, path_);
    tape.charge(OpClass::MatMul, op, path_, ghost::saturating_product({2, rows, in_, out_}),
                x.bytes() + in_ * out_ * element_bytes(x.type()) + out.bytes());
    if (bias_) {
        tape.charge(OpClass::Elementwise, "add_", path_, 0,
                    2 * out.bytes() + out_ * element_bytes(x.type()));
    }
    return out.view(x.shape().with_last(out_));
}

Tensor Linear::forward_slice(Tape& tape, const Tensor& x) const {
    return x.shape()[0] == 1 ? forward(tape, x) : forward_batched(tape, x);
}

Conv2d::Conv2d(Registry& registry, Module path, std::int64_t in, std::int64_t out, ConvShape shape,
               Bias bias)
    : path_(path), in_(in), out_(out), shape_(shape), bias_(bias == Bias::Yes) {
    registry.add(path, "Conv2d", in * out * shape.kernel * shape.kernel + (bias_ ? out : 0));
}

Tensor Conv2d::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = tape.cast_weight({out_, in_, shape_.kernel, shape_.kernel}, path_);
    const auto extent = [&](std::int64_t n) {
        return (n + 2 * shape_.padding - shape_.kernel) / shape_.stride + 1;
    };
    const std::int64_t height = extent(x.shape()[2]);
    const std::int64_t width = extent(x.shape()[3]);
    Tensor out = tape.make({x.shape()[0], out_, height, width}, x.type(), "convolution", path_);
    const std::int64_t weights = in_ * out_ * shape_.kernel * shape_.kernel;
    const std::int64_t bytes = element_bytes(x.type());
    const std::int64_t bias_traffic = bias_ && tape.options().casts_included ? 2 * out.bytes() : 0;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, x.shape()[0], height, width, weights}),
                x.bytes() + (weights + (bias_ ? out_ : 0)) * bytes + out.bytes() + bias_traffic,
                bias_ ? 2 : 1);  // the bias is added by a kernel of its own
    return out;
}

GroupNorm::GroupNorm(Registry& registry, Module path, std::int64_t channels, std::int64_t groups,
                     std::string_view class_name)
    : path_(path), channels_(channels), groups_(groups) {
    registry.add(path, class_name, 2 * channels);
}

Tensor GroupNorm::forward(Tape& tape, const Tensor& x) const {
    constexpr std::string_view kOp = "native_group_norm";
    const Tape::Cast bias = tape.cast_weight({channels_}, path_);
    const Tape::Cast weight = tape.cast_weight({channels_}, path_);
    const std::int64_t batch = x.shape()[0];
    Tensor out = tape.make(x.shape(), x.type(), kOp, path_);
    const Tensor mean = tape.make({batch, groups_}, x.type(), kOp, path_);
    const Tensor rstd = tape.make({batch, groups_}, x.type(), kOp, path_);
    {
        // Scale and shift per channel in fp32, between the two kernels that compute the statistics
        // and apply them.
        const std::int64_t fused = batch * channels_ * element_bytes(ElementType::Float32);
        const std::string_view op = tape.options().casts_included ? "group_norm" : kOp;
        const Tensor scale = tape.make_temporary(fused, op, path_);
        const Tensor shift = tape.make_temporary(fused, op, path_);
    }
    constexpr std::int64_t kKernels = 3;  // statistics, scale and shift, application
    tape.charge(OpClass::Normalization, kOp, path_, 0,
                x.bytes() + out.bytes() + mean.bytes() + rstd.bytes() +
                    2 * channels_ * element_bytes(x.type()),
                kKernels);
    return out;
}

Tensor GroupNorm::forward_strided(Tape& tape, const Tensor& x) const {
    constexpr std::string_view kOp = "group_norm.contig";
    const Tensor copy = tape.make_temporary(x.bytes(), kOp, path_);
    if (tape.options().casts_included) tape.charge(OpClass::Copy, kOp, path_, 0, 2 * x.bytes());
    return forward(tape, x);
}

LayerNorm::LayerNorm(Registry& registry, Module path, std::int64_t width, Affine affine,
                     ModuleStorage storage)
    : path_(path), width_(width), affine_(affine) {
    if (affine == Affine::Yes) registry.add(path, "LayerNorm", 2 * width, storage);
}

namespace {
constexpr std::string_view kLayerNorm = "native_layer_norm";
}

Tensor LayerNorm::forward(Tape& tape, const Tensor& x) const {
    return normalise(tape, x, {});
}

Tensor LayerNorm::forward_strided(Tape& tape, const Tensor& x) const {
    Tensor copy = tape.make_temporary(x.bytes(), kLayerNorm, path_);
    // Recorders that list kernels' temporaries count the copy as a kernel of its own.
    if (tape.options().casts_included)
        tape.charge(OpClass::Copy, "layer_norm.contig", path_, 0, 2 * x.bytes());
    return normalise(tape, x, std::move(copy));
}

Tensor LayerNorm::normalise(Tape& tape, const Tensor& x, Tensor copy) const {
    const bool affine = affine_ == Affine::Yes;
    const Tape::Cast bias = affine ? tape.cast_weight({width_}, path_) : Tape::Cast{};
    const Tape::Cast weight = affine ? tape.cast_weight({width_}, path_) : Tape::Cast{};
    Tensor out = tape.make(x.shape(), x.type(), kLayerNorm, path_);
    const Shape statistics = x.shape().with_last(1);
    const Tensor mean = tape.make(statistics, ElementType::Float32, kLayerNorm, path_);
    const Tensor rstd = tape.make(statistics, ElementType::Float32, kLayerNorm, path_);
    copy = {};
    tape.charge(OpClass::Normalization, kLayerNorm, path_, 0,
                x.bytes() + out.bytes() + mean.bytes() + rstd.bytes() +
                    (affine ? 2 * width_ * element_bytes(x.type()) : 0));
    return out;
}

RmsNorm::RmsNorm(Registry& registry, Module path, std::int64_t width, Affine affine,
                 NormClass norm_class)
    : path_(path), width_(width), affine_(affine) {
    if (affine == Affine::No) return;
    if (norm_class == NormClass::ComfyOp)
        registry.add(path, "RMSNorm", width);
    else
        registry.add_plain(path, "RMSNorm", width);
}

Tensor RmsNorm::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast weight =
        affine_ == Affine::Yes ? tape.cast_weight({width_}, path_) : Tape::Cast{};
    return rms_norm(tape, path_, x, affine_);
}

Tensor rms_norm(Tape& tape, Module module, const Tensor& x, Affine affine) {
    if (!tape.options().fused_rms_norm) return rms_norm_by_steps(tape, module, x, affine);
    constexpr std::string_view kOp = "_fused_rms_norm";
    const std::int64_t weight_elements = affine == Affine::Yes ? x.shape().last() : 0;
    Tensor out = tape.make(x.shape(), x.type(), kOp, module);
    const Tensor rstd = tape.make(x.shape().with_last(1), ElementType::Float32, kOp, module);
    tape.charge(OpClass::Normalization, kOp, module, 0,
                x.bytes() + out.bytes() + rstd.bytes() + weight_elements * element_bytes(x.type()));
    return out;
}

Tensor rms_norm_by_steps(Tape& tape, Module module, const Tensor& x, Affine affine) {
    const Shape statistics = x.shape().with_last(1);
    const bool weighted = affine == Affine::Yes;
    const std::int64_t weight_elements = weighted ? x.shape().last() : 0;
    Tensor normal;
    {
        const Tensor wide = ghost::to_type(tape, module, x, ElementType::Float32);
        Tensor rsqrt;
        {
            const Tensor squares = ghost::unary(tape, "pow", module, wide);
            const Tensor mean = ghost::produce(tape, OpClass::Normalization, "mean", module,
                                               squares, statistics, ElementType::Float32);
            ghost::unary_in_place(tape, "add_", module, mean);
            rsqrt = ghost::unary(tape, "rsqrt", module, mean);
        }
        normal = ghost::binary(tape, "mul", module, wide, rsqrt);
        if (weighted) {
            Tensor scaled = tape.make(x.shape(), ElementType::Float32, "mul", module);
            tape.charge(
                OpClass::Elementwise, "mul", module, 0,
                normal.bytes() + weight_elements * element_bytes(x.type()) + scaled.bytes());
            normal = std::move(scaled);
        }
    }
    return ghost::to_type(tape, module, normal, x.type());
}

Tensor timestep_embedding(Tape& tape, Module module, const Tensor& timesteps, std::int64_t width,
                          ElementType type) {
    const std::int64_t half = width / 2;
    Tensor frequencies = ghost::create(tape, "arange", module, {half}, ElementType::Float32);
    for (const std::string_view op : {"mul", "div", "exp"}) {
        frequencies = ghost::unary(tape, op, module, frequencies);
    }
    const Tensor angles = [&] {
        const Tensor column = ghost::to_type(tape, module, timesteps, ElementType::Float32);
        return ghost::combine(tape, "mul", module, {&column, &frequencies},
                              {timesteps.elements(), half}, ElementType::Float32);
    }();
    const Tensor both = [&] {
        const std::array<Tensor, 2> waves = {ghost::unary(tape, "cos", module, angles),
                                             ghost::unary(tape, "sin", module, angles)};
        return ghost::cat(tape, module, waves, 1);
    }();
    return ghost::to_type(tape, module, both, type);
}

}  // namespace plimsoll::memory
