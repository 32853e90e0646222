// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/seedvr2_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

// What one convolution and one norm may be given, GiB of its input (configs_3b of SeedVR, and
// ComfyUI 0.33.0).
constexpr std::int64_t kTogetherMax = std::int64_t{1} << 29;
constexpr std::int64_t kGroups = 32;

Tensor cat(Tape& tape, Module path, const Tensor& head, const Tensor& tail, std::size_t dim) {
    const std::array<Tensor, 2> parts{head, tail};
    return ghost::cat(tape, path, parts, dim);
}

}  // namespace

StripConv::StripConv(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                     const Form& form)
    : path_(path),
      form_(form),
      conv_(registry, path, in, out, {.kernel = form.kernel, .stride = form.stride},
            ModuleStorage::AsNetwork, "InflatedCausalConv3d") {}

void StripConv::keep(Tape& tape, const Tensor& x, VideoLayout layout, SliceCarry& carry) const {
    const std::int64_t frames = form_.kernel.frames - form_.stride.frames;
    if (frames > x.shape()[2]) return;
    const Tensor last = x.view(x.shape().with(2, frames));
    const bool whole = frames == x.shape()[2] && layout == VideoLayout::Contiguous;
    carry.kept[path_] = whole ? last : ghost::clone(tape, path_, last, last.shape());
}

Tensor StripConv::forward(Tape& tape, const Seedvr2Frames& given, SliceCarry& carry) const {
    const std::int64_t looks_back = form_.kernel.frames - 1;
    const std::int64_t keeps = form_.kernel.frames - form_.stride.frames;
    Tensor x = given.x;
    VideoLayout layout = x.shape()[2] > 1 ? given.layout : VideoLayout::Contiguous;
    Tensor head;  // frames before the first
    Tensor kept;  // of the slice before; lives through the forward
    if (carry.state == SliceCarry::State::Later) {
        const auto found = carry.kept.find(path_);
        if (found != carry.kept.end()) kept = found->second;
    } else {
        carry.kept.erase(path_);
    }
    if (kept.defined()) {
        head = kept;
    } else if (looks_back > 0) {
        head = ghost::produce(tape, OpClass::Copy, "repeat", path_, x.view(x.shape().with(2, 1)),
                              x.shape().with(2, looks_back), x.type());
    }
    if (carry.state != SliceCarry::State::Whole && keeps > 0) {
        if (keeps > x.shape()[2] && head.defined()) {
            x = cat(tape, path_, std::exchange(head, {}), x, 2);
            layout = VideoLayout::Contiguous;
        }
        keep(tape, x, layout, carry);
    }
    const Border border{form_.border, form_.border};
    return run(
        tape, x,
        {.dim = 3, .rows = border, .columns = border, .head = head.defined() ? &head : nullptr});
}

Tensor StripConv::run(Tape& tape, const Tensor& x, const Piece& piece) const {
    Shape shape = x.shape();
    if (piece.head != nullptr)
        shape =
            shape.with(piece.dim - 1, shape[piece.dim - 1] + piece.head->shape()[piece.dim - 1]);
    shape = shape.with(3, shape[3] + piece.rows.before + piece.rows.after);
    shape = shape.with(4, shape[4] + piece.columns.before + piece.columns.after);
    const std::int64_t bytes = shape.elements() * ghost::element_bytes(x.type());
    if (bytes < kTogetherMax || piece.dim == shape.rank()) return run_kernel(tape, x, piece);
    return run_strips(tape, x, piece, (bytes + kTogetherMax - 1) / kTogetherMax);
}

Tensor StripConv::run_kernel(Tape& tape, const Tensor& x, const Piece& piece) const {
    const Tensor joined =
        piece.head != nullptr ? cat(tape, path_, *piece.head, x, piece.dim - 1) : x;
    const Shape& s = joined.shape();
    const Shape padded{s[0], s[1], s[2], s[3] + piece.rows.before + piece.rows.after,
                       s[4] + piece.columns.before + piece.columns.after};
    const Tensor copy = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, joined,
                                       padded, joined.type());
    return conv_.forward(tape, copy, ConvCall{});
}

std::int64_t StripConv::overlap(std::size_t dim, std::int64_t padded_length) const {
    const std::int64_t kernel = dim == 3 ? form_.kernel.rows : form_.kernel.columns;
    const std::int64_t stride = dim == 3 ? form_.stride.rows : form_.stride.columns;
    return kernel - stride + (padded_length - kernel) % stride;
}

Tensor StripConv::run_strips(Tape& tape, const Tensor& x, const Piece& piece,
                             std::int64_t strips) const {
    const std::size_t dim = piece.dim;
    const std::int64_t length = x.shape()[dim];
    const std::int64_t each = length / strips;
    std::vector<Tensor> done;
    Tensor before;  // the end of the strip before: keeps all of it
    for (std::int64_t i = 0; i < strips; ++i) {
        const bool last = i + 1 == strips;
        const std::int64_t size = last ? length - i * each : each;
        Tensor strip = x.view(x.shape().with(dim, size));
        if (piece.head != nullptr)
            strip = cat(tape, path_, piece.head->view(piece.head->shape().with(dim, size)), strip,
                        dim - 1);
        const Border border{i == 0 ? form_.border : 0, last ? form_.border : 0};
        Piece inner{.dim = dim + 1, .rows = piece.rows, .columns = piece.columns, .head = nullptr};
        (dim == 3 ? inner.rows : inner.columns) = border;
        if (before.defined()) inner.head = &before;
        const std::int64_t given = size + (before.defined() ? before.shape()[dim] : 0);
        const std::int64_t more = overlap(dim, given + border.before + border.after);
        done.push_back(run(tape, strip, inner));
        before = more > 0 ? strip.view(strip.shape().with(dim, std::min(more, size))) : Tensor();
    }
    return ghost::cat(tape, path_, done, dim);
}

FrameNorm::FrameNorm(Registry& registry, Module path, std::int64_t channels)
    : path_(path), channels_(channels) {
    registry.add(path, "GroupNorm", 2 * channels);
}

Tensor FrameNorm::run_kernel(Tape& tape, const Tensor& x, std::int64_t groups, bool strided) const {
    constexpr std::string_view kOp = "native_group_norm";
    const std::int64_t frames = x.shape()[0];
    const std::int64_t channels = x.shape()[1];
    Tensor copy;
    if (strided) {
        constexpr std::string_view kCopy = "group_norm.contig";
        copy = tape.make_temporary(x.bytes(), kCopy, path_);
        if (tape.options().casts_included)
            tape.charge(OpClass::Copy, kCopy, path_, 0, 2 * x.bytes());
    }
    Tensor out = tape.make(x.shape(), x.type(), kOp, path_);
    const Tensor mean = tape.make({frames, groups}, x.type(), kOp, path_);
    const Tensor rstd = tape.make({frames, groups}, x.type(), kOp, path_);
    {
        // Scale and shift of each channel in fp32, between the two kernels (as GroupNorm has it).
        const std::int64_t fused =
            frames * channels * ghost::element_bytes(ghost::ElementType::Float32);
        const std::string_view op = tape.options().casts_included ? "group_norm" : kOp;
        const Tensor scale = tape.make_temporary(fused, op, path_);
        const Tensor shift = tape.make_temporary(fused, op, path_);
    }
    constexpr std::int64_t kKernels = 3;  // statistics, scale and shift, application
    tape.charge(OpClass::Normalization, kOp, path_, 0,
                x.bytes() + out.bytes() + mean.bytes() + rstd.bytes() +
                    2 * channels * ghost::element_bytes(x.type()),
                kKernels);
    return out;
}

Seedvr2Frames FrameNorm::forward(Tape& tape, const Seedvr2Frames& given) const {
    const Shape& s = given.x.shape();
    const Shape frames{s[0] * s[2], s[1], s[3], s[4]};
    bool strided = given.strided();
    Tensor x = given.x.view(frames);
    if (given.layout == VideoLayout::Contiguous && s[0] > 1 && s[2] > 1) {
        x = ghost::clone(tape, path_, given.x, frames);
        strided = false;
    }
    const bool large = x.bytes() > kTogetherMax;
    x = large ? run_chunks(tape, x, strided) : run_kernel(tape, x, kGroups, strided);
    return {x.view(s), s[2] > 1 ? VideoLayout::FramesFirst : VideoLayout::Contiguous};
}

// Groups of channels, one after the other.
Tensor FrameNorm::run_chunks(Tape& tape, const Tensor& frames, bool strided) const {
    const std::int64_t chunks = ghost::element_bytes(frames.type()) == 2 ? 4 : 2;
    const Shape part = frames.shape().with(1, channels_ / chunks);
    const auto copy_parameter = [&] {
        Tensor own = tape.make({channels_}, frames.type(), "_to_copy", path_);
        tape.charge(OpClass::Copy, "_to_copy", path_, 0, 2 * own.bytes());
        return own;
    };
    const Tensor weight = copy_parameter();
    const Tensor bias = copy_parameter();
    std::vector<Tensor> done;
    for (std::int64_t i = 0; i < chunks; ++i) {
        const Tensor chunk = frames.view(part);
        done.push_back(run_kernel(tape, chunk, kGroups / chunks, strided || part[0] > 1));
    }
    return ghost::cat(tape, path_, done, 1);
}

Seedvr2Residual::Seedvr2Residual(Registry& r, std::string_view path, std::int64_t in,
                                 std::int64_t out)
    : path_(r.path(path, "")),
      act_(r.path(path, "nonlinearity")),
      norm1_(r, r.path(path, "norm1"), in),
      norm2_(r, r.path(path, "norm2"), out),
      conv1_(r, r.path(path, "conv1"), in, out, {}),
      conv2_(r, r.path(path, "conv2"), out, out, {}) {
    if (in != out)
        shortcut_.emplace(r, r.path(path, "conv_shortcut"), in, out,
                          StripConv::Form{.kernel = {1, 1, 1}, .stride = {}, .border = 0});
}

Seedvr2Frames Seedvr2Residual::forward(Tape& tape, const Seedvr2Frames& given,
                                       SliceCarry& carry) const {
    Seedvr2Frames h = norm1_.forward(tape, given);
    h.x = ghost::unary(tape, "silu", act_, h.x);
    h = {conv1_.forward(tape, h, carry)};
    h = norm2_.forward(tape, h);
    h.x = ghost::unary(tape, "silu", act_, h.x);
    h = {conv2_.forward(tape, h, carry)};
    const Tensor x = shortcut_ ? shortcut_->forward(tape, given, carry) : given.x;
    const Tensor sum = ghost::binary(tape, "add", path_, x, h.x);
    return {ghost::unary(tape, "div", path_, sum),
            shortcut_ ? VideoLayout::Contiguous : given.layout};
}

Seedvr2Attention::Seedvr2Attention(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")),
      norm_(r, r.path(path, "group_norm"), channels, kGroups),
      q_(r, r.path(path, "to_q"), channels, channels),
      k_(r, r.path(path, "to_k"), channels, channels),
      v_(r, r.path(path, "to_v"), channels, channels),
      out_(r, r.path(path, "to_out.0"), channels, channels) {}

Seedvr2Frames Seedvr2Attention::forward(Tape& tape, const Seedvr2Frames& given) const {
    const Shape& s = given.x.shape();
    const Shape frames{s[0] * s[2], s[1], s[3] * s[4]};
    bool strided = given.strided();
    Tensor x = given.x.view(frames);
    if (s[0] > 1 && s[2] > 1 && given.layout == VideoLayout::Contiguous) {
        x = ghost::clone(tape, path_, given.x, frames);
        strided = false;
    }
    const Shape tokens{frames[0], frames[2], frames[1]};
    Tensor h = strided ? norm_.forward_strided(tape, x) : norm_.forward(tape, x);
    h = h.view(tokens);
    const Tensor q = q_.forward_transposed(tape, h);
    const Tensor k = k_.forward_transposed(tape, h);
    const Tensor v = v_.forward_transposed(tape, h);
    const ghost::AttentionShape shape{.batch = tokens[0],
                                      .heads = 1,
                                      .queries = tokens[1],
                                      .keys = tokens[1],
                                      .head_dim = tokens[2]};
    const auto kernel = tape.options().math_attention_in_vae ? ghost::AttentionKernel::Math
                                                             : ghost::AttentionKernel::Default;
    h = ghost::attention(tape, path_, q, k, v, shape, {}, kernel).view(tokens);
    h = out_.forward(tape, h);
    h = ghost::binary(tape, "add", path_, h, x.view(tokens));
    h = ghost::unary(tape, "div", path_, h);
    return {h.view(s), VideoLayout::ChannelsLast};
}

Seedvr2Middle::Seedvr2Middle(Registry& r, std::string_view path, std::int64_t channels)
    : attention_(r, fmt::format("{}.attentions.0", path), channels),
      first_(r, fmt::format("{}.resnets.0", path), channels, channels),
      second_(r, fmt::format("{}.resnets.1", path), channels, channels) {}

Seedvr2Frames Seedvr2Middle::forward(Tape& tape, const Seedvr2Frames& given,
                                     SliceCarry& carry) const {
    Seedvr2Frames h = first_.forward(tape, given, carry);
    h = attention_.forward(tape, h);
    return second_.forward(tape, h, carry);
}

}  // namespace plimsoll::memory
