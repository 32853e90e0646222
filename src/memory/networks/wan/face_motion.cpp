// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/face_motion.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kBlurKernel = 4;
constexpr std::array<std::int64_t, 8> kWidths = {32, 64, 128, 256, 512, 512, 512, 512};
constexpr std::int64_t kLastKernel = 4;   // what is left of the picture
constexpr std::int64_t kDirections = 20;  // of motion
constexpr std::size_t kLinears = 5;
constexpr std::int64_t kFaceWidth = 1024;                       // of the face encoder
constexpr std::int64_t kFaceTokens = FaceEncoder::kTokens - 1;  // beside the padding token

std::int64_t blur_padding(std::int64_t kernel) {
    return (kBlurKernel - 2 + kernel - 1) / 2;
}

}  // namespace

ScaledConv::ScaledConv(Registry& r, std::string_view path, const Shape& shape) : shape_(shape) {
    int index = 0;
    const auto next = [&] { return r.path(path, shape.alone ? "" : fmt::format("{}", index++)); };
    if (shape.halves) {
        blur_ = next();
        r.add_buffer(blur_, "Blur", kBlurKernel * kBlurKernel, ModuleStorage::Float32, Saved::Yes);
    }
    conv_ = next();
    r.add_own_parameters(conv_, "EqualConv2d", shape.in * shape.out * shape.kernel * shape.kernel,
                         ModuleStorage::AsNetwork);
    if (!shape.activates) return;
    activation_ = next();
    r.add_own_parameters(activation_, "FusedLeakyReLU", shape.out, ModuleStorage::Float32);
}

// Each channel by itself with a fixed kernel; padded in two steps, the first by nothing.
Tensor ScaledConv::blur(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const std::int64_t padding = 2 * blur_padding(shape_.kernel);
    const Tape::Cast cast =
        tape.cast_weight({kBlurKernel, kBlurKernel}, blur_, ElementType::Float32);
    const Tensor padded = [&] {
        const Tensor copy = ghost::clone(tape, blur_, x, s);
        return ghost::produce(tape, OpClass::Copy, "constant_pad_nd", blur_, copy,
                              {s[0], s[1], s[2] + padding, s[3] + padding}, x.type());
    }();
    const Tensor flipped = ghost::create(tape, "flip", blur_, {kBlurKernel, kBlurKernel}, x.type());
    const ghost::Shape blurred{s[0], s[1], s[2] + padding - kBlurKernel + 1,
                               s[3] + padding - kBlurKernel + 1};
    Tensor out = tape.make(blurred, x.type(), "convolution", blur_);
    tape.charge(OpClass::Convolution, "convolution", blur_,
                ghost::saturating_product({2, blurred.elements(), kBlurKernel * kBlurKernel}),
                padded.bytes() + flipped.bytes() + out.bytes());
    return out;
}

Tensor ScaledConv::convolve(Tape& tape, const Tensor& x, InputLayout layout) const {
    const ghost::Shape weights{shape_.out, shape_.in, shape_.kernel, shape_.kernel};
    const Tape::Cast cast = tape.cast_weight(weights, conv_);
    const Tensor scaled = ghost::produce(tape, OpClass::Elementwise, "mul", conv_, x.view(weights),
                                         weights, x.type());
    Tensor copy;
    if (layout == InputLayout::Copied) {
        constexpr std::string_view kOp = "convolution.copy_in";
        copy = tape.make_temporary(x.bytes(), kOp, conv_);
        tape.charge(OpClass::Copy, kOp, conv_, 0, 2 * x.bytes());
    }
    const std::int64_t stride = shape_.halves ? 2 : 1;
    const auto extent = [&](std::int64_t n) {
        return (n + 2 * shape_.padding - shape_.kernel) / stride + 1;
    };
    const auto& s = x.shape();
    Tensor out =
        tape.make({s[0], shape_.out, extent(s[2]), extent(s[3])}, x.type(), "convolution", conv_);
    tape.charge(
        OpClass::Convolution, "convolution", conv_,
        ghost::saturating_product({2, out.elements(), shape_.in, shape_.kernel, shape_.kernel}),
        x.bytes() + scaled.bytes() + out.bytes());
    return out;
}

Tensor ScaledConv::activate(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias =
        tape.cast_weight({1, shape_.out, 1, 1}, activation_, ElementType::Float32);
    Tensor y = tape.make(x.shape(), x.type(), "add", activation_);
    tape.charge(OpClass::Elementwise, "add", activation_, 0,
                2 * x.bytes() + shape_.out * element_bytes(x.type()));
    y = ghost::unary(tape, "leaky_relu", activation_, y);
    return ghost::unary(tape, "mul", activation_, y);
}

Tensor ScaledConv::forward(Tape& tape, const Tensor& x, InputLayout layout) const {
    Tensor y = x;
    if (shape_.halves) y = blur(tape, y);
    y = convolve(tape, y, layout);
    return shape_.activates ? activate(tape, y) : y;
}

FaceMotionEncoder::FaceMotionEncoder(Registry& r, std::string_view path) {
    const std::string list = fmt::format("{}.enc.net_app.convs", path);
    ends_.emplace_back(r, fmt::format("{}.0", list),
                       ScaledConv::Shape{.in = 3, .out = kWidths[0], .kernel = 1});
    for (std::size_t i = 0; i + 1 < kWidths.size(); ++i) {
        const Module own = r.path(list, fmt::format("{}", i + 1));
        const std::int64_t in = kWidths[i];
        const std::int64_t out = kWidths[i + 1];
        ScaledConv conv1(r, *r.path(*own, "conv1"),
                         ScaledConv::Shape{.in = in, .out = in, .padding = 1});
        ScaledConv conv2(r, *r.path(*own, "conv2"),
                         ScaledConv::Shape{.in = in, .out = out, .halves = true});
        ScaledConv skip(r, *r.path(*own, "skip"),
                        ScaledConv::Shape{
                            .in = in, .out = out, .kernel = 1, .halves = true, .activates = false});
        blocks_.push_back({own, std::move(conv1), std::move(conv2), std::move(skip)});
    }
    ends_.emplace_back(r, fmt::format("{}.{}", list, kWidths.size()),
                       ScaledConv::Shape{.in = kWidths.back(),
                                         .out = kWidth,
                                         .kernel = kLastKernel,
                                         .activates = false,
                                         .alone = true});
    for (std::size_t i = 0; i < kLinears; ++i) {
        const Module own = r.path(path, fmt::format("enc.fc.{}", i));
        const std::int64_t out = i + 1 == kLinears ? kDirections : kWidth;
        r.add_own_parameters(own, "EqualLinear", kWidth * out + out, ModuleStorage::AsNetwork);
        linears_.push_back({own, kWidth, out});
    }
    direction_ = r.path(path, "dec.direction");
    r.add_own_parameters(direction_, "Direction", kWidth * kDirections, ModuleStorage::AsNetwork);
}

Tensor FaceMotionEncoder::forward_block(Tape& tape, const Block& block, const Tensor& x) const {
    const Tensor out = [&] {
        const Tensor first = block.conv1.forward(tape, x);
        return block.conv2.forward(tape, first);
    }();
    const Tensor skip = block.skip.forward(tape, x);
    const Tensor sum = ghost::binary(tape, "add", block.path, out, skip);
    return ghost::unary(tape, "div", block.path, sum);
}

Tensor FaceMotionEncoder::forward_linear(Tape& tape, const ScaledLinear& layer,
                                         const Tensor& x) const {
    const Tape::Cast bias_cast = tape.cast_weight({layer.out}, layer.path);
    const auto scaled = [&](const ghost::Shape& shape) {
        return ghost::produce(tape, OpClass::Elementwise, "mul", layer.path, x.view(shape), shape,
                              x.type());
    };
    const Tensor bias = scaled({layer.out});
    const Tape::Cast weight_cast = tape.cast_weight({layer.out, layer.in}, layer.path);
    const Tensor weight = scaled({layer.out, layer.in});
    const std::int64_t rows = x.shape()[0];
    Tensor out = tape.make({rows, layer.out}, x.type(), "addmm", layer.path);
    tape.charge(OpClass::MatMul, "addmm", layer.path,
                ghost::saturating_product({2, rows, layer.in, layer.out}),
                x.bytes() + weight.bytes() + bias.bytes() + out.bytes());
    return out;
}

// The motion along orthogonal directions: those of a QR decomposition in fp32.
Tensor FaceMotionEncoder::combine_directions(Tape& tape, const Tensor& x) const {
    const ghost::Shape table{kWidth, kDirections};
    const Tape::Cast cast = tape.cast_weight(table, direction_);
    const Tensor stable = [&] {
        Tensor eye = ghost::create(tape, "eye", direction_, table, x.type());
        eye = ghost::unary(tape, "mul", direction_, eye);
        return ghost::binary(tape, "add", direction_, eye, eye);
    }();
    Tensor q;
    Tensor r;
    {
        const Tensor wide = ghost::to_type(tape, direction_, stable, ElementType::Float32);
        q = ghost::produce(tape, OpClass::MatMul, "linalg_qr", direction_, wide, table,
                           ElementType::Float32);
        r = tape.make({kDirections, kDirections}, ElementType::Float32, "linalg_qr", direction_);
    }
    const ghost::Shape all{x.shape()[0], kDirections, kWidth};
    const Tensor parts = [&] {
        const Tensor narrow = ghost::to_type(tape, direction_, q, x.type());
        return ghost::combine(tape, "mul", direction_, {&x, &narrow}, all, x.type());
    }();
    return ghost::produce(tape, OpClass::Normalization, "sum", direction_, parts,
                          {x.shape()[0], kWidth}, x.type());
}

Tensor FaceMotionEncoder::forward(Tape& tape, const Tensor& pictures, InputLayout layout) const {
    Tensor x = ends_.front().forward(tape, pictures, layout);
    for (const Block& block : blocks_) x = forward_block(tape, block, x);
    x = ends_.back().forward(tape, x);
    x = x.view({x.shape()[0], kWidth});
    for (const ScaledLinear& layer : linears_) x = forward_linear(tape, layer, x);
    return combine_directions(tape, x);
}

FaceEncoder::FaceEncoder(Registry& r, std::string_view path, std::int64_t width)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "FaceEncoder", width, ModuleStorage::AsNetwork);
          return own;
      }()),
      width_(width),
      conv1_(r, *r.path(path, "conv1_local"), FaceMotionEncoder::kWidth, kFaceWidth * kFaceTokens),
      act_(r.path(path, "act")),
      conv2_(r, *r.path(path, "conv2"), kFaceWidth, kFaceWidth, 2),
      conv3_(r, *r.path(path, "conv3"), kFaceWidth, kFaceWidth, 2),
      out_(r, r.path(path, "out_proj"), kFaceWidth, width),
      norm1_(r, r.path(path, "norm1"), kFaceWidth, Affine::No),
      norm2_(r, r.path(path, "norm2"), kFaceWidth, Affine::No),
      norm3_(r, r.path(path, "norm3"), kFaceWidth, Affine::No) {}

Tensor FaceEncoder::forward(Tape& tape, const Tensor& motion) const {
    const std::int64_t batch = motion.shape()[0];
    Tensor x = conv1_.forward(tape, channels_first(motion));
    x = x.view({batch * kFaceTokens, kFaceWidth, x.shape()[2]});
    x = normed_moments(tape, norm1_, act_, x);
    x = conv2_.forward(tape, channels_first(x));
    x = normed_moments(tape, norm2_, act_, x);
    x = conv3_.forward(tape, channels_first(x));
    x = normed_moments(tape, norm3_, act_, x);
    x = out_.forward(tape, x);
    return with_padding_token(tape, path_, x.view({batch, x.shape()[1], kFaceTokens, width_}));
}

}  // namespace plimsoll::memory
