// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/reader_layers.h"

namespace plimsoll::memory {

using ghost::element_bytes;

ConvTranspose2d::ConvTranspose2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                                 std::int64_t kernel)
    : path_(path), in_(in), out_(out), kernel_(kernel) {
    registry.add(path, "ConvTranspose2d", in * out * kernel * kernel + out);
}

Tensor ConvTranspose2d::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = tape.cast_weight({out_}, path_);
    const Tape::Cast weight = tape.cast_weight({in_, out_, kernel_, kernel_}, path_);
    const Shape& s = x.shape();
    Tensor out =
        tape.make({s[0], out_, s[2] * kernel_, s[3] * kernel_}, x.type(), "convolution", path_);
    const std::int64_t weights = in_ * out_ * kernel_ * kernel_;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, s[0], s[2], s[3], weights}),
                x.bytes() + (weights + out_) * element_bytes(x.type()) + out.bytes(), 2);
    return out;
}

BatchNorm2d::BatchNorm2d(Registry& registry, Module path, std::int64_t channels)
    : path_(path), channels_(channels) {
    constexpr std::int64_t kNumbers = 4;  // of a channel: scale, shift, mean and variance
    registry.add(path, "BatchNorm2d", kNumbers * channels);
    registry.add_tables(registry.path(*path, "num_batches_tracked"), "BatchNorm2d", 0,
                        {.count = 1, .bytes = element_bytes(ghost::ElementType::Int64)},
                        Saved::Yes);
}

Tensor BatchNorm2d::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast weight = tape.cast_weight({channels_}, path_);
    const Tape::Cast bias = tape.cast_weight({channels_}, path_);
    const Tape::Cast mean = tape.cast_weight({channels_}, path_);
    const Tape::Cast variance = tape.cast_weight({channels_}, path_);
    return ghost::produce(tape, OpClass::Normalization, "batch_norm", path_, x, x.shape(),
                          x.type());
}

ReplicateConv2d::ReplicateConv2d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                                 std::int64_t kernel)
    : padding_(kernel / 2), conv_(registry, path, in, out, ConvShape{kernel, 1, 0}) {}

Tensor ReplicateConv2d::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor padded =
        ghost::produce(tape, OpClass::Copy, "replication_pad2d", conv_.path(), x,
                       {s[0], s[1], s[2] + 2 * padding_, s[3] + 2 * padding_}, x.type());
    return conv_.forward(tape, padded);
}

Tensor resize(Tape& tape, Module module, const Tensor& x, std::int64_t height, std::int64_t width,
              std::string_view op) {
    const Shape& s = x.shape();
    return ghost::produce(tape, OpClass::Elementwise, op, module, x, {s[0], s[1], height, width},
                          x.type());
}

}  // namespace plimsoll::memory
