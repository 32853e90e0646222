// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/conv3d.h"

namespace plimsoll::memory {

Conv3d::Conv3d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
               const Conv3dShape& shape, ModuleStorage storage, std::string_view class_name)
    : path_(path), in_(in), out_(out), shape_(shape), cast_(storage == ModuleStorage::AsNetwork) {
    registry.add(path, class_name, in * out * shape.kernel.volume() + out, storage);
}

Tensor Conv3d::forward(Tape& tape, const Tensor& x, const ConvCall& call) const {
    const Extent3& whole = shape_.kernel;
    const Tape::Cast bias = cast_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight =
        cast_ ? tape.cast_weight({out_, in_, whole.frames, whole.rows, whole.columns}, path_)
              : Tape::Cast{};
    Extent3 k = whole;
    if (call.last_frames > 0) k.frames = call.last_frames;
    const std::int64_t weights = in_ * out_ * k.volume();
    const auto copied = [&](std::int64_t bytes) {
        constexpr std::string_view kOp = "convolution.copy_in";
        tape.charge(OpClass::Copy, kOp, path_, 0, 2 * bytes);
        return tape.make_temporary(bytes, kOp, path_);
    };
    const Tensor input = call.layout == InputLayout::Copied ? copied(x.bytes()) : Tensor();
    const Tensor cut = k.frames < whole.frames  // the cut weights are not contiguous
                           ? copied(weights * ghost::element_bytes(x.type()))
                           : Tensor();
    const auto extent = [](std::int64_t n, std::int64_t kernel, std::int64_t stride,
                           std::int64_t padding) {
        return (n + 2 * padding - kernel) / stride + 1;
    };
    const Shape& s = x.shape();
    const Extent3 cells{extent(s[2], k.frames, shape_.stride.frames, call.padding.frames),
                        extent(s[3], k.rows, shape_.stride.rows, call.padding.rows),
                        extent(s[4], k.columns, shape_.stride.columns, call.padding.columns)};
    Tensor out = tape.make({s[0], out_, cells.frames, cells.rows, cells.columns}, x.type(),
                           "convolution", path_);
    const std::int64_t bias_traffic = tape.options().casts_included ? 2 * out.bytes() : 0;
    tape.charge(
        OpClass::Convolution, "convolution", path_,
        ghost::saturating_product(
            {2, s[0], cells.frames, cells.rows, cells.columns, in_, out_, k.volume()}),
        x.bytes() + (weights + out_) * ghost::element_bytes(x.type()) + out.bytes() + bias_traffic,
        2);  // the bias is added by a kernel of its own
    return out;
}

}  // namespace plimsoll::memory
