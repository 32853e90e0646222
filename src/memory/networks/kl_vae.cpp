// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/kl_vae.h"

#include <fmt/format.h>

namespace plimsoll::memory {

VaeResBlock::VaeResBlock(Registry& r, std::string_view path, std::int64_t in, std::int64_t out)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "norm1"), in),
      conv1_(r, r.path(path, "conv1"), in, out),
      norm2_(r, r.path(path, "norm2"), out),
      conv2_(r, r.path(path, "conv2"), out, out),
      act_(r.path(path, "swish")) {
    if (in != out) shortcut_.emplace(r, r.path(path, "nin_shortcut"), in, out, kConv1);
}

Tensor VaeResBlock::forward(Tape& tape, const Tensor& input) const {
    Tensor h = norm1_.forward(tape, input);
    ghost::unary_in_place(tape, "silu_", act_, h);
    h = conv1_.forward(tape, h);
    h = norm2_.forward(tape, h);
    ghost::unary_in_place(tape, "silu_", act_, h);
    h = conv2_.forward(tape, h);
    const Tensor x = shortcut_ ? shortcut_->forward(tape, input) : input;
    return ghost::binary(tape, "add", path_, x, h);
}

VaeAttention::VaeAttention(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")),
      norm_(r, r.path(path, "norm"), channels),
      q_(r, r.path(path, "q"), channels, channels, kConv1),
      k_(r, r.path(path, "k"), channels, channels, kConv1),
      v_(r, r.path(path, "v"), channels, channels, kConv1),
      out_(r, r.path(path, "proj_out"), channels, channels, kConv1) {}

Tensor VaeAttention::forward(Tape& tape, const Tensor& x) const {
    Tensor h = norm_.forward(tape, x);
    const Tensor q = q_.forward(tape, h);
    const Tensor k = k_.forward(tape, h);
    const Tensor v = v_.forward(tape, h);
    h = [&] {
        const Shape& image = q.shape();
        const std::int64_t cells = image[2] * image[3];
        const Shape tokens{image[0], 1, cells, image[1]};
        const Tensor q_tokens = ghost::clone(tape, path_, q, tokens);
        const Tensor k_tokens = ghost::clone(tape, path_, k, tokens);
        const Tensor v_tokens = ghost::clone(tape, path_, v, tokens);
        const ghost::AttentionShape shape{
            .batch = image[0], .heads = 1, .queries = cells, .keys = cells, .head_dim = image[1]};
        const auto kernel = tape.options().math_attention_in_vae ? ghost::AttentionKernel::Math
                                                                 : ghost::AttentionKernel::Default;
        return ghost::attention(tape, path_, q_tokens, k_tokens, v_tokens, shape, {}, kernel)
            .view(image);
    }();
    // The result lies in memory as [N, cells, C]. For one image the convolution takes a copy in its
    // own layout; recorder a did not look.
    if (tape.options().casts_included && h.shape()[0] == 1) {
        h = out_.forward(tape, ghost::clone(tape, path_, h, h.shape()));
    } else {
        h = out_.forward(tape, h);
    }
    return ghost::binary(tape, "add", path_, x, h);
}

VaeMiddle::VaeMiddle(Registry& r, std::string_view path, std::int64_t channels)
    : block_1_(r, fmt::format("{}.block_1", path), channels, channels),
      attn_1_(r, fmt::format("{}.attn_1", path), channels),
      block_2_(r, fmt::format("{}.block_2", path), channels, channels) {}

Tensor VaeMiddle::forward(Tape& tape, Tensor x) const {
    x = block_1_.forward(tape, x);
    x = attn_1_.forward(tape, x);
    return block_2_.forward(tape, x);
}

VaeEncoder::VaeEncoder(Registry& r, const modelfile::KlVaeConfig& config)
    : path_(r.path("encoder", "")),
      conv_in_(r, r.path("encoder", "conv_in"), config.in_channels, config.base_channels) {
    std::int64_t width = config.base_channels;
    for (std::size_t i = 0; i < config.channel_mult.size(); ++i) {
        Level& level = levels_.emplace_back();
        const std::int64_t out = std::int64_t{config.base_channels} * config.channel_mult[i];
        for (int j = 0; j < config.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("encoder.down.{}.block.{}", i, j), width, out);
            width = out;
        }
        if (i + 1 < config.channel_mult.size()) {
            level.downsample_path = r.path(fmt::format("encoder.down.{}.downsample", i), "");
            level.downsample.emplace(r, r.path(*level.downsample_path, "conv"), width, width,
                                     ConvShape{3, 2, 0});
        }
    }
    middle_.emplace(r, "encoder.mid", width);
    norm_out_.emplace(r, r.path("encoder", "norm_out"), width);
    const std::int64_t moments = (config.double_z ? 2 : 1) * std::int64_t{config.z_channels};
    conv_out_.emplace(r, r.path("encoder", "conv_out"), width, moments);
}

Tensor VaeEncoder::forward(Tape& tape, const Tensor& x) const {
    Tensor h = conv_in_.forward(tape, x);
    for (const Level& level : levels_) {
        for (const VaeResBlock& block : level.blocks) h = block.forward(tape, h);
        if (!level.downsample) continue;
        h = [&] {
            const Shape& s = h.shape();
            const Tensor padded =
                ghost::produce(tape, OpClass::Copy, "constant_pad_nd", level.downsample_path, h,
                               {s[0], s[1], s[2] + 1, s[3] + 1}, h.type());
            return level.downsample->forward(tape, padded);
        }();
    }
    h = middle_->forward(tape, std::move(h));
    h = norm_out_->forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    return conv_out_->forward(tape, h);
}

namespace {
std::int64_t decoder_channels(const modelfile::KlVaeConfig& config) {
    return config.decoder_channels > 0 ? config.decoder_channels : config.base_channels;
}
}  // namespace

VaeDecoder::VaeDecoder(Registry& r, const modelfile::KlVaeConfig& config)
    : path_(r.path("decoder", "")),
      conv_in_(r, r.path("decoder", "conv_in"), config.z_channels,
               decoder_channels(config) * config.channel_mult.back()),
      middle_(r, "decoder.mid", decoder_channels(config) * config.channel_mult.back()) {
    levels_.resize(config.channel_mult.size());
    const auto channels = [&](std::size_t i) {
        return decoder_channels(config) * config.channel_mult[i];
    };
    for (std::size_t i = 0; i < levels_.size();
         ++i) {  // named_modules() goes from the finest level up
        Level& level = levels_[i];
        std::int64_t width = i + 1 < levels_.size() ? channels(i + 1) : channels(i);
        for (int j = 0; j <= config.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("decoder.up.{}.block.{}", i, j), width,
                                      channels(i));
            width = channels(i);
        }
        if (i > 0) {
            level.upsample_path = r.path(fmt::format("decoder.up.{}.upsample", i), "");
            level.upsample.emplace(r, r.path(*level.upsample_path, "conv"), width, width);
        }
    }
    norm_out_.emplace(r, r.path("decoder", "norm_out"), channels(0));
    conv_out_.emplace(r, r.path("decoder", "conv_out"), channels(0), config.out_channels);
}

Tensor VaeDecoder::forward(Tape& tape, const Tensor& z, KeepMiddle keep) const {
    Tensor h = conv_in_.forward(tape, z);
    h = middle_.forward(tape, std::move(h));
    const Tensor kept = keep == KeepMiddle::Yes ? h : Tensor();
    for (std::size_t i = levels_.size(); i-- > 0;) {
        const Level& level = levels_[i];
        for (const VaeResBlock& block : level.blocks) h = block.forward(tape, h);
        if (!level.upsample) continue;
        h = [&] {
            const Shape& s = h.shape();
            const Tensor larger =
                ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d",
                               level.upsample_path, h, {s[0], s[1], 2 * s[2], 2 * s[3]}, h.type());
            return level.upsample->forward(tape, larger);
        }();
    }
    h = norm_out_->forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    return conv_out_->forward(tape, h);
}

namespace {
constexpr std::int64_t kPackedSide = 2;  // cells of a latent that become one, along a side
}

LatentNorm::LatentNorm(Registry& r, std::int64_t z_channels)
    : root_(r.path("", "")),
      path_(r.path("bn", "")),
      channels_(z_channels * kPackedSide * kPackedSide) {
    // Means and variances, and how many batches they are of.
    r.add_tables(path_, "BatchNorm2d", 2 * channels_, {.count = 1, .bytes = 8}, Saved::Yes);
}

Shape LatentNorm::packed(const Shape& latent) {
    return {latent[0], latent[1] * kPackedSide * kPackedSide, latent[2] / kPackedSide,
            latent[3] / kPackedSide};
}

Tensor LatentNorm::pack(Tape& tape, const Tensor& mean) const {
    const Tensor cells = ghost::clone(tape, root_, mean, packed(mean.shape()));
    constexpr std::string_view kOp = "native_batch_norm";
    Tensor out = tape.make(cells.shape(), cells.type(), kOp, path_);
    const Tensor saved_mean = tape.make({channels_}, ghost::ElementType::Float32, kOp, path_);
    const Tensor saved_rstd = tape.make({channels_}, ghost::ElementType::Float32, kOp, path_);
    tape.charge(OpClass::Normalization, kOp, path_, 0,
                cells.bytes() + out.bytes() + saved_mean.bytes() + saved_rstd.bytes() +
                    2 * statistics_bytes(cells));
    return out;
}

Tensor LatentNorm::unpack(Tape& tape, const Tensor& z, Tensor& deviation) const {
    const Shape& s = z.shape();
    deviation = [&] {
        const Tensor variance = tape.make({1, channels_, 1, 1}, z.type(), "add", root_);
        tape.charge(OpClass::Elementwise, "add", root_, 0, 2 * statistics_bytes(z));
        return ghost::unary(tape, "sqrt", root_, variance);
    }();
    const Tensor shifted = [&] {
        const Tensor scaled = ghost::binary(tape, "mul", root_, z, deviation);
        Tensor sum = tape.make(s, z.type(), "add", root_);
        tape.charge(OpClass::Elementwise, "add", root_, 0, 2 * sum.bytes() + statistics_bytes(z));
        return sum;
    }();
    const Tensor cells = ghost::clone(
        tape, root_, shifted,
        {s[0], s[1] / (kPackedSide * kPackedSide), s[2], kPackedSide, s[3], kPackedSide});
    return cells.view(
        {s[0], s[1] / (kPackedSide * kPackedSide), s[2] * kPackedSide, s[3] * kPackedSide});
}

KlVaeNetwork::KlVaeNetwork(const modelfile::KlVaeConfig& config)
    : config_(config),
      encoder_(config.has_encoder ? std::make_optional<VaeEncoder>(registry_, config)
                                  : std::nullopt),
      decoder_(registry_, config),
      regularization_(registry_.path("regularization", "")) {
    if (config.quant_conv) {
        const std::int64_t moments = config.double_z ? 2 : 1;
        if (config.has_encoder) {
            quant_conv_.emplace(registry_, registry_.path("quant_conv", ""),
                                moments * config.z_channels, moments * config.embed_dim, kConv1);
        }
        post_quant_conv_.emplace(registry_, registry_.path("post_quant_conv", ""), config.embed_dim,
                                 config.z_channels, kConv1);
    }
    if (config.batch_norm_latent) latent_norm_.emplace(registry_, config.embed_dim);
}

std::int64_t KlVaeNetwork::downscale() const {
    return std::int64_t{1} << (config_.channel_mult.size() - 1);
}

Shape KlVaeNetwork::latent_shape(std::int64_t batch, std::int64_t height,
                                 std::int64_t width) const {
    const std::int64_t factor = downscale();
    if (!latent_norm_) return {batch, config_.z_channels, height / factor, width / factor};
    return LatentNorm::packed({batch, config_.z_channels, height / factor, width / factor});
}

Tensor KlVaeNetwork::decode(Tape& tape, const Tensor& packed, KeepMiddle keep) const {
    Tensor deviation;
    const Tensor z = latent_norm_ ? latent_norm_->unpack(tape, packed, deviation) : packed;
    if (!post_quant_conv_) return decoder_.forward(tape, z, keep);
    const Tensor latent = post_quant_conv_->forward(tape, z);
    return decoder_.forward(tape, latent, keep);
}

Tensor kl_mean(Tape& tape, Module regularization, const Tensor& moments) {
    const Shape& s = moments.shape();
    Tensor mean = moments.view({s[0], s[1] / 2, s[2], s[3]});
    const Tensor log_variance = ghost::unary(tape, "clamp", regularization, mean);
    const Tensor deviation = ghost::unary(tape, "exp", regularization,
                                          ghost::unary(tape, "mul", regularization, log_variance));
    const Tensor variance = ghost::unary(tape, "exp", regularization, log_variance);
    return mean;
}

Tensor KlVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    Tensor moments = encoder_->forward(tape, pixels);
    if (quant_conv_) moments = quant_conv_->forward(tape, moments);
    if (!config_.double_z) return moments;
    const Tensor mean = kl_mean(tape, regularization_, moments);
    return latent_norm_ ? latent_norm_->pack(tape, mean) : mean;
}

}  // namespace plimsoll::memory
