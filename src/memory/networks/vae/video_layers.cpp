// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/video_layers.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {
constexpr std::int64_t kLookBack = 2;     // frames that a causal convolution sees before a frame
constexpr std::int64_t kTimeWidth = 512;  // of the embedding that no VAE is given
}  // namespace

Tensor copy_strided(Tape& tape, std::string_view op, Module module, const Tensor& x, bool strided) {
    if (!strided) return {};
    if (tape.options().casts_included) tape.charge(OpClass::Copy, op, module, 0, 2 * x.bytes());
    return tape.make_temporary(x.bytes(), op, module);
}

VaeConv::VaeConv(Registry& r, Module path, std::int64_t in, std::int64_t out, ConvKind kind,
                 const Form& form)
    : path_(path), form_(form), kind_(kind) {
    const std::int64_t around = form.kernel / 2;
    if (kind == ConvKind::Image) {
        image_.emplace(r, path, in, out, ConvShape{form.kernel, 1, around});
        return;
    }
    const bool causal = kind == ConvKind::Causal;
    const std::int64_t padding = causal ? 0 : around;
    video_.emplace(r, causal ? r.path(*path, "conv") : path, in, out,
                   Conv3dShape{.kernel = {form.kernel, form.kernel, form.kernel},
                               .stride = form.stride,
                               .padding = {padding, padding, padding}});
}

Tensor VaeConv::pad(Tape& tape, Module module, const Tensor& x, std::int64_t frames) const {
    const Shape& s = x.shape();
    return ghost::produce(tape, OpClass::Copy, "replication_pad3d", module, x,
                          {s[0], s[1], s[2] + frames, s[3] + 2, s[4] + 2}, x.type());
}

Tensor VaeConv::forward(Tape& tape, Module owner, Tensor x, FrameCarry* carry) const {
    if (kind_ == ConvKind::Image) return image_->forward(tape, x);
    if (kind_ == ConvKind::Video || form_.kernel == 1) return video_->forward(tape, x);
    if (!since_033(tape)) {  // by the convolution itself, or by what changes the resolution
        const bool strided = form_.stride.volume() > 1;
        const Tensor padded = pad(tape, strided ? owner : path_, x, kLookBack);
        return video_->forward(tape, padded);
    }
    const bool carried = carry != nullptr && !carry->first;
    {
        const bool strided = carry != nullptr && carry->take_strided();
        const Tensor copy = copy_strided(tape, "replication_pad3d.contig", owner, x, strided);
        x = pad(tape, owner, x, carried ? 0 : kLookBack);
    }
    if (carried && !carry->before.empty()) {
        Tensor joined = [&] {
            const std::array<Tensor, 2> parts = {std::move(carry->before.front()), x};
            carry->before.pop_front();
            return ghost::cat(tape, owner, parts, 2);
        }();
        x = std::move(joined);
    }
    if (carry != nullptr && !carry->last) {
        const Tensor kept = frames_view(x, kLookBack);
        carry->after.push_back(ghost::clone(tape, owner, kept, kept.shape()));
    }
    return video_->forward(tape, x);
}

VaeNorm::VaeNorm(Registry& r, Module path, std::int64_t channels, NormKind kind)
    : path_(path), channels_(channels) {
    if (kind == NormKind::Group)
        group_.emplace(r, path, channels);
    else
        r.add_own_parameters(path, "RMS_norm", channels, ModuleStorage::AsNetwork);
}

Tensor VaeNorm::forward(Tape& tape, const Tensor& x, FrameCarry* carry) const {
    const bool strided = carry != nullptr && carry->take_strided();
    if (group_) {
        const Tensor copy = copy_strided(tape, "group_norm.contig", path_, x, strided);
        return group_->forward(tape, x);
    }
    Tensor y = [&] {
        Tensor norm = ghost::produce(tape, OpClass::Normalization, "linalg_vector_norm", path_, x,
                                     x.shape().with(1, 1), x.type());
        norm = ghost::unary(tape, "clamp_min", path_, norm);
        return ghost::combine(tape, "div", path_, {&x, &norm}, x.shape(), x.type());
    }();
    y = ghost::unary(tape, "mul", path_, y);
    const Tape::Cast gamma = tape.cast_weight({channels_, 1, 1, 1}, path_);
    Tensor scaled = tape.make(x.shape(), x.type(), "mul", path_);
    tape.charge(OpClass::Elementwise, "mul", path_, 0,
                y.bytes() + channels_ * ghost::element_bytes(x.type()) + scaled.bytes());
    return scaled;
}

VaeResidual::VaeResidual(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                         const VaeStyle& style, TimeWeights time)
    : path_(r.path(path, "")),
      act_(r.path(path, "swish")),
      norm1_(r, r.path(path, "norm1"), in, style.norm),
      conv1_(r, r.path(path, "conv1"), in, out, style.conv),
      time_(
          time == TimeWeights::Yes
              ? std::optional<Linear>(std::in_place, r, r.path(path, "temb_proj"), kTimeWidth, out)
              : std::nullopt),
      norm2_(r, r.path(path, "norm2"), out, style.norm),
      conv2_(r, r.path(path, "conv2"), out, out, style.conv) {
    if (in != out)
        shortcut_.emplace(r, r.path(path, "nin_shortcut"), in, out, style.conv,
                          VaeConv::Form{.kernel = 1});
}

Tensor VaeResidual::forward(Tape& tape, const Tensor& input, FrameCarry* carry) const {
    Tensor h = norm1_.forward(tape, input, carry);
    ghost::unary_in_place(tape, "silu_", act_, h);
    h = conv1_.forward(tape, path_, std::move(h), carry);
    h = norm2_.forward(tape, h);
    ghost::unary_in_place(tape, "silu_", act_, h);
    h = conv2_.forward(tape, path_, std::move(h), carry);
    const Tensor x = shortcut_ ? shortcut_->forward(tape, path_, input, nullptr) : input;
    return ghost::binary(tape, "add", path_, x, h);
}

namespace {
constexpr VaeConv::Form kPointwise{.kernel = 1};

// Attention's convolutions have no causal form.
ConvKind pointwise(const VaeStyle& style) {
    return style.conv == ConvKind::Image ? ConvKind::Image : ConvKind::Video;
}
}  // namespace

VaeSelfAttention::VaeSelfAttention(Registry& r, std::string_view path, std::int64_t channels,
                                   const VaeStyle& style)
    : path_(r.path(path, "")),
      out_path_(r.path(path, "proj_out")),
      norm_(r, r.path(path, "norm"), channels, style.norm),
      q_(r, r.path(path, "q"), channels, channels, pointwise(style), kPointwise),
      k_(r, r.path(path, "k"), channels, channels, pointwise(style), kPointwise),
      v_(r, r.path(path, "v"), channels, channels, pointwise(style), kPointwise),
      out_(r, out_path_, channels, channels, pointwise(style), kPointwise) {}

Tensor VaeSelfAttention::forward(Tape& tape, const Tensor& x) const {
    Tensor h = norm_.forward(tape, x);
    const Tensor q = q_.forward(tape, path_, h, nullptr);
    const Tensor k = k_.forward(tape, path_, h, nullptr);
    const Tensor v = v_.forward(tape, path_, h, nullptr);
    h = [&] {
        const Shape& s = x.shape();
        const std::int64_t cells = x.elements() / (s[0] * s[1]);
        const Shape tokens{s[0], 1, cells, s[1]};
        const Tensor q_tokens = ghost::clone(tape, path_, q, tokens);
        const Tensor k_tokens = ghost::clone(tape, path_, k, tokens);
        const Tensor v_tokens = ghost::clone(tape, path_, v, tokens);
        const auto kernel = tape.options().math_attention_in_vae ? ghost::AttentionKernel::Math
                                                                 : ghost::AttentionKernel::Default;
        return ghost::attention(
                   tape, path_, q_tokens, k_tokens, v_tokens,
                   {.batch = s[0], .heads = 1, .queries = cells, .keys = cells, .head_dim = s[1]},
                   {}, kernel)
            .view(s);
    }();
    // As in the KL VAE: the convolution copies a single one into its own layout.
    if (tape.options().casts_included && x.shape()[0] == 1) {
        constexpr std::string_view kOp = "convolution.copy_in";
        const Tensor copy = tape.make_temporary(h.bytes(), kOp, out_path_);
        tape.charge(OpClass::Copy, kOp, out_path_, 0, 2 * h.bytes());
        h = out_.forward(tape, path_, h, nullptr);
    } else {
        h = out_.forward(tape, path_, h, nullptr);
    }
    return ghost::binary(tape, "add", path_, x, h);
}

VideoVaeMiddle::VideoVaeMiddle(Registry& r, std::string_view path, std::int64_t channels,
                               const VaeStyle& style, TimeWeights time)
    : block_1_(r, *r.path(path, "block_1"), channels, channels, style, time),
      attn_1_(r, *r.path(path, "attn_1"), channels, style),
      block_2_(r, *r.path(path, "block_2"), channels, channels, style, time) {}

Tensor VideoVaeMiddle::forward(Tape& tape, const Tensor& x) const {
    Tensor h = block_1_.forward(tape, x, nullptr);
    h = attn_1_.forward(tape, h);
    return block_2_.forward(tape, h, nullptr);
}

Tensor join_chunks(Tape& tape, Module module, std::vector<Tensor> chunks) {
    return chunks.size() == 1 ? chunks.front() : ghost::cat(tape, module, chunks, 2);
}

Tensor posterior_mean(Tape& tape, Module module, const Tensor& moments) {
    Tensor mean = moments.view(moments.shape().with(1, moments.shape()[1] / 2));
    const Tensor log_variance = ghost::unary(tape, "clamp", module, mean);
    const Tensor deviation =
        ghost::unary(tape, "exp", module, ghost::unary(tape, "mul", module, log_variance));
    const Tensor variance = ghost::unary(tape, "exp", module, log_variance);
    return mean;
}

}  // namespace plimsoll::memory
