// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/mage_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

// The network has one size (github.com/microsoft/Mage).
constexpr std::int64_t kWidth = 384;
constexpr std::int64_t kHeadWidth = 768;  // of the encoder's head
constexpr std::int64_t kLatent = 128;
constexpr std::int64_t kColours = 3;
constexpr std::int64_t kSide = kMageVaePixels;
constexpr std::int64_t kPixels = kSide * kSide;  // of a patch
constexpr std::int64_t kPixelWidth = 32;
constexpr std::int64_t kFrequencies = 64;  // of a pixel's position in its patch
constexpr std::int64_t kWaves = 256;       // of the timestep
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kModulations = 6;
constexpr std::int64_t kPixelModulations = 3;
constexpr std::int64_t kWindow = 32;  // cells along a side that attend together
constexpr int kBlocks = 21;
constexpr int kHeadBlocks = 2;
constexpr int kPixelBlocks = 3;
constexpr ConvShape kPatches{.kernel = kSide, .stride = kSide, .padding = 0};

Tensor swish(Tape& tape, Module module, const Tensor& x) {
    const Tensor gate = ghost::unary(tape, "sigmoid", module, x);
    return ghost::binary(tape, "mul", module, x, gate);
}

std::vector<MageBlock> make_blocks(Registry& r, std::string_view path, std::string_view name,
                                   int count, std::int64_t width, MageBlock::Modulated modulated) {
    std::vector<MageBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}.{}", path, name, i), width, modulated);
    return blocks;
}

}  // namespace

MageConv::MageConv(Registry& r, Module path, std::int64_t in, std::int64_t out, ConvShape shape,
                   Channels channels, Bias bias)
    : path_(path),
      in_(channels == Channels::Apart ? 1 : in),
      out_(out),
      shape_(shape),
      bias_(bias == Bias::Yes) {
    r.add(path, "Conv2d", in_ * out * shape.kernel * shape.kernel + (bias_ ? out : 0));
}

Tensor MageConv::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = tape.cast_weight({out_, in_, shape_.kernel, shape_.kernel}, path_);
    const auto extent = [&](std::int64_t n) {
        return (n + 2 * shape_.padding - shape_.kernel) / shape_.stride + 1;
    };
    const Shape& s = x.shape();
    Tensor out =
        tape.make({s[0], out_, extent(s[2]), extent(s[3])}, x.type(), "convolution", path_);
    const std::int64_t weights = in_ * out_ * shape_.kernel * shape_.kernel;
    const std::int64_t own = (weights + (bias_ ? out_ : 0)) * element_bytes(x.type());
    const bool bias_kernel = bias_ && tape.options().casts_included;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, out.elements() / out_, weights}),
                x.bytes() + own + out.bytes() + (bias_kernel ? 2 * out.bytes() : 0), bias_ ? 2 : 1);
    return out;
}

MageNorm::MageNorm(Registry& r, Module path, std::int64_t channels, Affine affine)
    : path_(path), channels_(channels), affine_(affine) {
    if (affine == Affine::Yes) r.add(path, "LayerNorm2d", 2 * channels);
}

Tensor MageNorm::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Shape last{s[0], s[2], s[3], s[1]};
    const Tensor normal = [&] {
        const Tensor moved = ghost::clone(tape, path_, x, last);
        const ElementType f32 = ElementType::Float32;
        Tensor out = tape.make(last, x.type(), "native_layer_norm", path_);
        const Tensor mean = tape.make(last.with_last(1), f32, "native_layer_norm", path_);
        const Tensor rstd = tape.make(last.with_last(1), f32, "native_layer_norm", path_);
        const std::int64_t own =
            affine_ == Affine::Yes ? 2 * channels_ * element_bytes(x.type()) : 0;
        tape.charge(OpClass::Normalization, "native_layer_norm", path_, 0,
                    moved.bytes() + out.bytes() + 2 * mean.bytes() + own);
        return out;
    }();
    return ghost::clone(tape, path_, normal, s);
}

MageBlock::MageBlock(Registry& r, std::string_view path, std::int64_t width, Modulated modulated)
    : path_(r.path(path, "")),
      width_(width),
      conv1_(r, r.path(path, "conv1"), width, width, kConv1),
      conv2_(r, r.path(path, "conv2"), width, width, kConv3, MageConv::Channels::Apart),
      conv3_(r, r.path(path, "conv3"), width, width, kConv1),
      pool_(r.path(path, "ca.0")),
      attention_(r, r.path(path, "ca.1"), width, width, kConv1),
      sigmoid_(r.path(path, "ca.2")),
      conv4_(r, r.path(path, "conv4"), width, kMlpRatio * width, kConv1),
      conv5_(r, r.path(path, "conv5"), kMlpRatio * width, width, kConv1),
      norm1_(r, r.path(path, "norm1"), width,
             modulated == Modulated::Yes ? Affine::No : Affine::Yes),
      norm2_(r, r.path(path, "norm2"), width,
             modulated == Modulated::Yes ? Affine::No : Affine::Yes),
      modulation_act_(r.path(path, "adaLN_modulation.0")) {
    if (modulated == Modulated::Yes)
        modulation_.emplace(r, r.path(path, "adaLN_modulation.1"), width, kModulations * width);
}

Tensor MageBlock::prepare(Tape& tape, const MageNorm& norm, const Tensor& x,
                          const Tensor& part) const {
    Tensor normal = norm.forward(tape, x);
    if (!part.defined()) return normal;
    const Tensor product = [&] {
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        return ghost::binary(tape, "mul", path_, normal, factor);
    }();
    return ghost::binary(tape, "add", path_, product, part);
}

Tensor MageBlock::forward(Tape& tape, const Tensor& input, const Tensor& time) const {
    Tensor part;
    if (modulation_) {
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
        part = modulation_->forward(tape, active).view({input.shape()[0], width_, 1, 1});
    }
    const auto add_gated = [&](const Tensor& base, const Tensor& update) {
        if (!part.defined()) return ghost::binary(tape, "add", path_, base, update);
        const Tensor gated = ghost::binary(tape, "mul", path_, update, part);
        return ghost::binary(tape, "add", path_, base, gated);
    };
    Tensor x = prepare(tape, norm1_, input, part);
    x = [&] {
        const Tensor second = [&] {
            const Tensor first = conv1_.forward(tape, x);
            return conv2_.forward(tape, first);
        }();
        return ghost::unary(tape, "gelu", path_, second);
    }();
    x = [&] {
        const Tensor open = [&] {
            const Tensor mixed = [&] {
                const Tensor mean = ghost::produce(tape, OpClass::Normalization, "mean", pool_, x,
                                                   {x.shape()[0], width_, 1, 1}, x.type());
                return attention_.forward(tape, mean);
            }();
            return ghost::unary(tape, "sigmoid", sigmoid_, mixed);
        }();
        return ghost::binary(tape, "mul", path_, x, open);
    }();
    x = conv3_.forward(tape, x);
    x = add_gated(input, x);
    const Tensor fed = [&] {
        const Tensor active = [&] {
            const Tensor wide = [&] {
                const Tensor in = prepare(tape, norm2_, x, part);
                return conv4_.forward(tape, in);
            }();
            return ghost::unary(tape, "gelu", path_, wide);
        }();
        return conv5_.forward(tape, active);
    }();
    return add_gated(x, fed);
}

MageTime::MageTime(Registry& r, std::string_view path)
    : path_(r.path(path, "")),
      in_(r, r.path(path, "mlp.0"), kWaves, kWidth),
      act_(r.path(path, "mlp.1")),
      out_(r, r.path(path, "mlp.2"), kWidth, kWidth) {}

Tensor MageTime::forward(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const ElementType f32 = ElementType::Float32;
    const Tensor waves = [&] {
        const Tensor angles = [&] {
            // Computed on the CPU and brought to the card.
            const Tensor frequencies = ghost::create(tape, "_to_copy", path_, {kWaves / 2}, f32);
            const Tensor column = ghost::to_type(tape, path_, timesteps, f32);
            return ghost::combine(tape, "mul", path_, {&column, &frequencies},
                                  {timesteps.elements(), kWaves / 2}, f32);
        }();
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", path_, angles),
                                            ghost::unary(tape, "sin", path_, angles)};
        const Tensor wide = ghost::cat(tape, path_, both, 1);
        return ghost::to_type(tape, path_, wide, type);
    }();
    const Tensor hidden = [&] {
        const Tensor first = in_.forward(tape, waves);
        return ghost::unary(tape, "silu", act_, first);
    }();
    return out_.forward(tape, hidden);
}

MageEncoder::MageEncoder(Registry& r, std::string_view path)
    : path_(r.path(path, "")),
      patch_in_(r, r.path(path, "patch_cond_embed"), kColours, kHeadWidth, kPatches),
      head_(make_blocks(r, path, "head_blocks", kHeadBlocks, kHeadWidth, MageBlock::Modulated::No)),
      proj_down_(r, r.path(path, "proj_down"), kHeadWidth, kWidth, kConv1),
      z_proj_(r, r.path(path, "z_proj"), kLatent, kWidth, kConv1),
      fuse_proj_(r, r.path(path, "fuse_proj"), 2 * kWidth, kWidth, kConv1),
      time_(r, *r.path(path, "t_embedder")),
      blocks_(make_blocks(r, path, "blocks", kBlocks, kWidth, MageBlock::Modulated::Yes)),
      norm_out_(r, r.path(path, "norm_out"), kWidth, Affine::Yes),
      proj_out_(r, r.path(path, "proj_out"), kWidth, 2 * kLatent, kConv1) {}

Tensor MageEncoder::forward(Tape& tape, const Tensor& pixels) const {
    const Shape& s = pixels.shape();
    const Tensor z = ghost::create(tape, "zeros", path_,
                                   {s[0], kLatent, s[2] / kSide, s[3] / kSide}, pixels.type());
    const Tensor timesteps = ghost::create(tape, "zeros", path_, {s[0]}, pixels.type());
    Tensor condition = patch_in_.forward(tape, pixels);
    for (const MageBlock& block : head_) condition = block.forward(tape, condition, {});
    condition = proj_down_.forward(tape, condition);
    Tensor x = [&] {
        const Tensor both = [&] {
            const std::array<Tensor, 2> parts = {condition, z_proj_.forward(tape, z)};
            return ghost::cat(tape, path_, parts, 1);
        }();
        return fuse_proj_.forward(tape, both);
    }();
    const Tensor time = time_.forward(tape, timesteps, pixels.type());
    for (const MageBlock& block : blocks_) x = block.forward(tape, x, time);
    const Tensor normal = norm_out_.forward(tape, x);
    return proj_out_.forward(tape, normal);
}

MageConditioner::Resnet MageConditioner::make_resnet(Registry& r, std::string_view path) {
    const Module own = r.path(path, "");
    const GroupNorm norm1(r, r.path(path, "norm1"), kWidth);
    const MageConv conv1(r, r.path(path, "conv1"), kWidth, kWidth, kConv3);
    const GroupNorm norm2(r, r.path(path, "norm2"), kWidth);
    const MageConv conv2(r, r.path(path, "conv2"), kWidth, kWidth, kConv3);
    return {own, norm1, conv1, norm2, conv2};
}

MageConditioner::Attention MageConditioner::make_attention(Registry& r, std::string_view path) {
    const Module own = r.path(path, "");
    const GroupNorm norm(r, r.path(path, "norm"), kWidth);
    const MageConv q(r, r.path(path, "q"), kWidth, kWidth, kConv1);
    const MageConv k(r, r.path(path, "k"), kWidth, kWidth, kConv1);
    const MageConv v(r, r.path(path, "v"), kWidth, kWidth, kConv1);
    const MageConv out(r, r.path(path, "proj_out"), kWidth, kWidth, kConv1);
    return {own, norm, q, k, v, out};
}

MageConditioner::MageConditioner(Registry& r, std::string_view path)
    : path_(r.path(path, "")),
      conv_in_(r, r.path(path, "conv_in"), kLatent, kWidth, kConv3),
      resnet0_(make_resnet(r, *r.path(path, "block.0"))),
      attention1_(make_attention(r, *r.path(path, "block.1"))),
      resnet2_(make_resnet(r, *r.path(path, "block.2"))),
      attention3_(make_attention(r, *r.path(path, "block.3"))),
      resnet4_(make_resnet(r, *r.path(path, "block.4"))),
      norm_out_(r, r.path(path, "norm_out"), kWidth),
      conv_out_(r, r.path(path, "conv_out"), kWidth, kWidth, kConv3) {}

Tensor MageConditioner::forward_resnet(Tape& tape, const Resnet& block, const Tensor& x) {
    const auto part = [&](const GroupNorm& norm, const MageConv& conv, const Tensor& in) {
        const Tensor active = [&] {
            const Tensor normal = norm.forward(tape, in);
            return swish(tape, block.path, normal);
        }();
        return conv.forward(tape, active);
    };
    const Tensor first = part(block.norm1, block.conv1, x);
    const Tensor second = part(block.norm2, block.conv2, first);
    return ghost::binary(tape, "add", block.path, x, second);
}

// Windows of the image attend each by itself; the image is padded to whole windows.
Tensor MageConditioner::forward_attention(Tape& tape, const Attention& block, const Tensor& x) {
    const Module m = block.path;
    const Shape& s = x.shape();
    const auto whole = [](std::int64_t n) { return (n + kWindow - 1) / kWindow; };
    const std::int64_t windows = s[0] * whole(s[2]) * whole(s[3]);
    const bool padded = s[2] % kWindow != 0 || s[3] % kWindow != 0;
    const Shape grown{s[0], s[1], whole(s[2]) * kWindow, whole(s[3]) * kWindow};
    const std::int64_t cells = kWindow * kWindow;
    const Tensor normal = block.norm.forward(tape, x);
    std::array<Tensor, 3> heads = {block.q.forward(tape, normal), block.k.forward(tape, normal),
                                   block.v.forward(tape, normal)};
    if (padded)
        for (Tensor& t : heads)
            t = ghost::produce(tape, OpClass::Copy, "replication_pad2d", m, t, grown, t.type());
    for (Tensor& t : heads) t = ghost::clone(tape, m, t, {windows, kWidth, cells});
    const auto multiply = [&](const Tensor& a, const Tensor& b, const Shape& shape) {
        Tensor out = tape.make(shape, x.type(), "bmm", m);
        tape.charge(OpClass::MatMul, "bmm", m,
                    ghost::saturating_product({2, windows, cells, cells, kWidth}),
                    a.bytes() + b.bytes() + out.bytes());
        return out;
    };
    Tensor scores = [&] {
        const Tensor raw = multiply(heads[0], heads[1], {windows, cells, cells});
        return ghost::unary(tape, "mul", m, raw);
    }();
    scores = ghost::unary(tape, "_softmax", m, scores);
    const Tensor out = [&] {
        const Tensor attended = multiply(heads[2], scores, {windows, kWidth, cells});
        return ghost::clone(tape, m, attended, grown);
    }();
    const Tensor projected = block.out.forward(tape, out.view(s));
    return ghost::binary(tape, "add", m, x, projected);
}

Tensor MageConditioner::forward(Tape& tape, const Tensor& z) const {
    Tensor h = conv_in_.forward(tape, z);
    h = forward_resnet(tape, resnet0_, h);
    h = forward_attention(tape, attention1_, h);
    h = forward_resnet(tape, resnet2_, h);
    h = forward_attention(tape, attention3_, h);
    h = forward_resnet(tape, resnet4_, h);
    const Tensor active = [&] {
        const Tensor normal = norm_out_.forward(tape, h);
        return swish(tape, path_, normal);
    }();
    return conv_out_.forward(tape, active);
}

MageDecoder::PixelBlock MageDecoder::make_pixel_block(Registry& r, std::string_view path) {
    const Module own = r.path(path, "");
    const LayerNorm norm(r, r.path(path, "in_ln"), kPixelWidth);
    const Linear mlp_in(r, r.path(path, "mlp.0"), kPixelWidth, kPixelWidth);
    const Linear mlp_out(r, r.path(path, "mlp.2"), kPixelWidth, kPixelWidth);
    const Linear modulation(r, r.path(path, "adaLN_modulation.1"), kPixelWidth,
                            kPixelModulations * kPixelWidth);
    return {
        own,       norm, mlp_in, r.path(path, "mlp.1"), mlp_out, r.path(path, "adaLN_modulation.0"),
        modulation};
}

MageDecoder::MageDecoder(Registry& r, std::string_view path)
    : path_(r.path(path, "")),
      time_(r, *r.path(path, "t_embedder")),
      condition_in_(r, r.path(path, "y_embedder_x"), kWidth, kPixelWidth * kPixels, kConv1),
      embedder_(r.path(path, "x_embedder")),
      embedder_in_(r, r.path(path, "x_embedder.embedder.0"), kColours + kPixelWidth + kFrequencies,
                   kPixelWidth),
      patch_(r.path(path, "s_embedder")),
      patch_in_(r, r.path(path, "s_embedder.proj1"), kColours, kLatent, kPatches,
                MageConv::Channels::Mixed, Bias::No),
      patch_fuse_(r, r.path(path, "s_embedder.proj2"), kLatent + kWidth, kWidth, kConv1),
      blocks_(make_blocks(r, path, "blocks", kBlocks, kWidth, MageBlock::Modulated::Yes)),
      pixels_(r.path(path, "dec_net")),
      token_in_(r, r.path(path, "dec_net.cond_embed"), kWidth, kPixels * kPixelWidth),
      pixel_in_(r, r.path(path, "dec_net.input_proj"), kPixelWidth, kPixelWidth),
      pixel_blocks_([&] {
          std::vector<PixelBlock> blocks;
          blocks.reserve(kPixelBlocks);
          for (int i = 0; i < kPixelBlocks; ++i)
              blocks.push_back(
                  make_pixel_block(r, fmt::format("{}.dec_net.res_blocks.{}", path, i)));
          return blocks;
      }()),
      final_norm_([&] {
          const Module norm = r.path(path, "final_layer.norm");
          r.add_own_parameters(norm, "RMSNorm", kPixelWidth, ModuleStorage::AsNetwork);
          return norm;
      }()),
      final_linear_(r, r.path(path, "final_layer.linear"), kPixelWidth, kColours),
      conditioner_(r, *r.path(path, "y_embedder.decoder")) {}

// The noise's and the condition's values for each pixel with its position in the patch, which the
// network keeps from its first forward on.
Tensor MageDecoder::embed_pixels(Tape& tape, const Tensor& noise, const Tensor& condition) const {
    const std::int64_t patches = condition.elements() / kWidth;
    const Tensor values = [&] {
        const Tensor columns = ghost::produce(tape, OpClass::Copy, "im2col", path_, noise,
                                              {patches, kColours * kPixels}, noise.type());
        const std::array<Tensor, 2> parts = {
            columns, condition_in_.forward(tape, condition).view({patches, kPixelWidth * kPixels})};
        return ghost::cat(tape, path_, parts, 1);
    }();
    const Tensor placed =
        ghost::produce(tape, OpClass::Copy, "cat", embedder_, values,
                       {patches, kPixels, kColours + kPixelWidth + kFrequencies}, noise.type());
    return embedder_in_.forward(tape, placed);
}

Tensor MageDecoder::forward_pixels(Tape& tape, const PixelBlock& block, const Tensor& x,
                                   const Tensor& condition) {
    const Module m = block.path;
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", block.modulation_act, condition);
        return block.modulation.forward(tape, active);
    }();
    const Tensor part = modulation.view(x.shape());
    const Tensor h = [&] {
        const Tensor product = [&] {
            const Tensor normal = block.norm.forward(tape, x);
            const Tensor factor = ghost::unary(tape, "add", m, part);
            return ghost::binary(tape, "mul", m, normal, factor);
        }();
        return ghost::binary(tape, "add", m, product, part);
    }();
    const Tensor gated = [&] {
        const Tensor fed = [&] {
            const Tensor hidden = [&] {
                const Tensor first = block.mlp_in.forward(tape, h);
                return ghost::unary(tape, "silu", block.mlp_act, first);
            }();
            return block.mlp_out.forward(tape, hidden);
        }();
        return ghost::binary(tape, "mul", m, fed, part);
    }();
    return ghost::binary(tape, "add", m, x, gated);
}

Tensor MageDecoder::run_pixels(Tape& tape, const Tensor& input, const Tensor& tokens) const {
    Tensor x = pixel_in_.forward(tape, input);
    const Tensor condition = token_in_.forward(tape, tokens).view(x.shape());
    for (const PixelBlock& block : pixel_blocks_) x = forward_pixels(tape, block, x, condition);
    return x;
}

// Root mean square, in fp32 step by step, weighted in the network's type.
Tensor MageDecoder::normalise_last(Tape& tape, const Tensor& x) const {
    const Tape::Cast weight = tape.cast_weight({kPixelWidth}, final_norm_);
    Tensor wide = ghost::to_type(tape, final_norm_, x, ElementType::Float32);
    Tensor mean = [&] {
        const Tensor squares = ghost::unary(tape, "pow", final_norm_, wide);
        return ghost::produce(tape, OpClass::Normalization, "mean", final_norm_, squares,
                              x.shape().with_last(1), ElementType::Float32);
    }();
    wide = [&] {
        const Tensor bounded = ghost::unary(tape, "add", final_norm_, mean);
        const Tensor root = ghost::unary(tape, "rsqrt", final_norm_, bounded);
        return ghost::binary(tape, "mul", final_norm_, wide, root);
    }();
    const Tensor narrow = ghost::to_type(tape, final_norm_, wide, x.type());
    return ghost::unary(tape, "mul", final_norm_, narrow);
}

Tensor MageDecoder::forward(Tape& tape, const Tensor& z) const {
    const Shape& s = z.shape();
    const std::int64_t patches = s[0] * s[2] * s[3];
    const Tensor condition = conditioner_.forward(tape, z);
    const Shape image{s[0], kColours, s[2] * kSide, s[3] * kSide};
    const Tensor noise = ghost::create(tape, "zeros", path_, image, z.type());
    const Tensor timesteps = ghost::create(tape, "zeros", path_, {s[0]}, z.type());
    const Tensor time = time_.forward(tape, timesteps, z.type());
    Tensor tokens = [&] {
        const Tensor both = [&] {
            const std::array<Tensor, 2> parts = {patch_in_.forward(tape, noise), condition};
            return ghost::cat(tape, patch_, parts, 1);
        }();
        return patch_fuse_.forward(tape, both);
    }();
    for (const MageBlock& block : blocks_) tokens = block.forward(tape, tokens, time);
    tokens = ghost::clone(tape, path_, tokens, {patches, kWidth});
    Tensor x = embed_pixels(tape, noise, condition);
    x = run_pixels(tape, x, tokens);
    x = [&] {
        const Tensor normal = normalise_last(tape, x);
        return final_linear_.forward(tape, normal);
    }();
    x = ghost::clone(tape, path_, x, {s[0], patches / s[0], kColours * kPixels});
    const Tensor columns = ghost::clone(tape, path_, x, {s[0], kColours * kPixels, patches / s[0]});
    return ghost::produce(tape, OpClass::Copy, "col2im", path_, columns, image, z.type());
}

MageVaeNetwork::MageVaeNetwork()
    : encoder_(registry_, "dconv_encoder"), decoder_(registry_, "decoder_model") {}

VaeGrid MageVaeNetwork::grid() const {
    return {.pixels_per_cell = kMageVaePixels,
            .frames_per_cell = 1,
            .latent_channels = static_cast<int>(kLatent)};
}

bool MageVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kSince = 33000;
    return call.rules.comfyui_minor_key >= kSince;
}

Walk MageVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input({call.batch, kLatent, call.height / kSide, call.width / kSide},
                                element_type(call.compute));
    const Tensor image = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk MageVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, kColours, call.height, call.width}, element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
