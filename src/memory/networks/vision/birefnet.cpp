// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/birefnet.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kSide = 1024;    // pixels: every image is brought to this square
constexpr std::int64_t kInner = 64;     // channels inside the decoder's blocks
constexpr std::int64_t kSampled = 256;  // channels of each of a pyramid's parts
constexpr std::int64_t kGate = 16;
constexpr std::int64_t kShare = 8;  // of a level's channels one in so many sees the image again
constexpr std::array<std::int64_t, 4> kKernels = {1, 1, 3, 7};  // of a pyramid's parts

}  // namespace

DeformableConv2d::DeformableConv2d(Registry& r, Module path, std::int64_t in, std::int64_t out,
                                   std::int64_t kernel)
    : path_(path),
      in_(in),
      out_(out),
      kernel_(kernel),
      offset_(r, r.path(*path, "offset_conv"), in, 2 * kernel * kernel,
              ConvShape{kernel, 1, kernel / 2}),
      modulator_(r, r.path(*path, "modulator_conv"), in, kernel * kernel,
                 ConvShape{kernel, 1, kernel / 2}),
      regular_([&] {
          const Module regular = r.path(*path, "regular_conv");
          r.add(regular, "Conv2d", in * out * kernel * kernel);
          return regular;
      }()) {}

// torchvision lays the samples of an image out as the columns of a matrix, multiplies into a buffer
// and copies that into the result, to which it adds a bias of zeros.
Tensor DeformableConv2d::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t samples = kernel_ * kernel_;
    const Tensor offset = offset_.forward(tape, x);
    const Tensor modulator = [&] {
        const Tensor raw = modulator_.forward(tape, x);
        const Tensor bent = ghost::unary(tape, "sigmoid", path_, raw);
        return ghost::unary(tape, "mul", path_, bent);
    }();
    const Tape::Cast weight = tape.cast_weight({out_, in_, kernel_, kernel_}, regular_);
    const Tensor out =
        ghost::create(tape, "deform_conv2d", path_, {s[0], out_, s[2], s[3]}, x.type());
    {
        const Tensor buffer = ghost::create_like(tape, "deform_conv2d", path_, out);
        const Tensor columns =
            ghost::create(tape, "deform_conv2d", path_, {in_ * samples, s[2] * s[3]}, x.type());
        tape.charge(OpClass::Convolution, "deform_conv2d", path_,
                    ghost::saturating_product({2, s[0], s[2] * s[3], in_ * samples, out_}),
                    x.bytes() + offset.bytes() + modulator.bytes() + 2 * columns.bytes() +
                        2 * buffer.bytes() + out.bytes());
    }
    return ghost::unary(tape, "add", path_, out);
}

BiRefNetNetwork::Deformed BiRefNetNetwork::make_deformed(std::string_view path,
                                                         std::int64_t kernel) {
    const Module own = registry_.path(path, "");
    return {
        own,
        DeformableConv2d(registry_, registry_.path(path, "atrous_conv"), kInner, kSampled, kernel),
        BatchNorm2d(registry_, registry_.path(path, "bn"), kSampled)};
}

BiRefNetNetwork::Pyramid BiRefNetNetwork::make_pyramid(std::string_view path) {
    Registry& r = registry_;
    std::vector<Deformed> parts;
    for (std::size_t i = 0; i < kKernels.size(); ++i)
        parts.push_back(make_deformed(
            i == 0 ? fmt::format("{}.aspp1", path) : fmt::format("{}.aspp_deforms.{}", path, i - 1),
            kKernels[i]));
    const auto joined = static_cast<std::int64_t>(parts.size() + 1) * kSampled;
    return {r.path(path, ""),
            std::move(parts),
            Conv2d(r, r.path(path, "global_avg_pool.1"), kInner, kSampled, kConv1, Bias::No),
            BatchNorm2d(r, r.path(path, "global_avg_pool.2"), kSampled),
            Conv2d(r, r.path(path, "conv1"), joined, kInner, kConv1, Bias::No),
            BatchNorm2d(r, r.path(path, "bn1"), kInner)};
}

BiRefNetNetwork::Block BiRefNetNetwork::make_block(std::string_view path, std::int64_t in,
                                                   std::int64_t out) {
    Registry& r = registry_;
    return {r.path(path, ""),
            Conv2d(r, r.path(path, "conv_in"), in, kInner),
            make_pyramid(fmt::format("{}.dec_att", path)),
            Conv2d(r, r.path(path, "conv_out"), kInner, out),
            BatchNorm2d(r, r.path(path, "bn_in"), kInner),
            BatchNorm2d(r, r.path(path, "bn_out"), out)};
}

BiRefNetNetwork::Level BiRefNetNetwork::make_level(int number, std::int64_t in, std::int64_t out) {
    const std::string path = fmt::format("decoder.ipt_blk{}", number);
    return {Conv2d(registry_, registry_.path(path, "conv1"), in, kInner),
            Conv2d(registry_, registry_.path(path, "conv_out"), kInner, out)};
}

BiRefNetNetwork::Gate BiRefNetNetwork::make_gate(int number, std::int64_t in) {
    const std::string convs = fmt::format("decoder.gdt_convs_{}", number);
    return {Conv2d(registry_, registry_.path(convs, "0"), in, kGate),
            BatchNorm2d(registry_, registry_.path(convs, "1"), kGate),
            Conv2d(registry_, registry_.path(fmt::format("decoder.gdt_convs_attn_{}", number), "0"),
                   kGate, 1, kConv1)};
}

// Sizes of the feature maps count from the largest: 0 to 3, levels of the decoder from 1 to 5.
BiRefNetNetwork::BiRefNetNetwork(const modelfile::BiRefNetConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      backbone_(registry_, "bb", c),
      squeeze_(make_block("squeeze_module.0", channels(0) + channels(1) + channels(2) + channels(3),
                          channels(3))),
      decoder_(registry_.path("decoder", "")),
      levels_([&] {
          // Squares of the image side by side: as many as its side has strides, squared.
          std::vector<Level> levels;
          levels.push_back(make_level(5, kColours << 10, channels(3) / kShare));
          levels.push_back(make_level(4, kColours << 8, channels(3) / kShare));
          levels.push_back(make_level(3, kColours << 6, channels(2) / kShare));
          levels.push_back(make_level(2, kColours << 4, channels(1) / kShare));
          levels.push_back(make_level(1, kColours, channels(0) / kShare));
          return levels;
      }()),
      blocks_([&] {
          std::vector<Block> blocks;
          const auto add = [&](int number, std::int64_t in, std::int64_t seen, std::int64_t out) {
              blocks.push_back(make_block(fmt::format("decoder.decoder_block{}", number),
                                          in + seen / kShare, out));
          };
          add(4, channels(3), channels(3), channels(2));
          add(3, channels(2), channels(3), channels(1));
          add(2, channels(1), channels(2), channels(0));
          add(1, channels(0), channels(1), channels(0) / 2);
          return blocks;
      }()),
      out_(registry_, registry_.path("decoder", "conv_out1.0"),
           channels(0) / 2 + channels(0) / kShare, 1, kConv1),
      lateral_([&] {
          std::vector<Conv2d> convs;
          for (const std::size_t size : {2U, 1U, 0U})
              convs.emplace_back(
                  registry_,
                  registry_.path("decoder", fmt::format("lateral_block{}.conv", size + 2)),
                  channels(size), channels(size), kConv1);
          return convs;
      }()),
      trained_([&] {
          std::vector<Conv2d> convs;
          for (const std::size_t size : {2U, 1U, 0U}) {
              convs.emplace_back(
                  registry_, registry_.path("decoder", fmt::format("conv_ms_spvn_{}", size + 2)),
                  channels(size), 1, kConv1);
              convs.emplace_back(
                  registry_,
                  registry_.path("decoder", fmt::format("gdt_convs_pred_{}.0", size + 2)), kGate, 1,
                  kConv1);
          }
          return convs;
      }()),
      gates_([&] {
          std::vector<Gate> gates;
          for (const std::size_t size : {2U, 1U, 0U})
              gates.push_back(make_gate(static_cast<int>(size) + 2, channels(size)));
          return gates;
      }()) {}

// What each part made stays under its name until all are joined and the block returns.
Tensor BiRefNetNetwork::run(Tape& tape, const Pyramid& pyramid, const Tensor& x) const {
    std::vector<Tensor> parts;
    for (const Deformed& part : pyramid.parts) {
        const Tensor sampled = part.conv.forward(tape, x);
        parts.push_back(part.norm.forward(tape, sampled));
        ghost::unary_in_place(tape, "relu_", part.path, parts.back());
    }
    const Shape& s = x.shape();
    const Tensor mean = [&] {
        const Tensor one = ghost::produce(tape, OpClass::Elementwise, "mean", pyramid.path, x,
                                          {s[0], s[1], 1, 1}, x.type());
        const Tensor conv = pyramid.mean_conv.forward(tape, one);
        return pyramid.mean_norm.forward(tape, conv);
    }();
    parts.push_back(resize(tape, pyramid.path, mean, s[2], s[3]));
    const Tensor joined = ghost::cat(tape, pyramid.path, parts, 1);
    Tensor y = pyramid.out.forward(tape, joined);
    y = pyramid.out_norm.forward(tape, y);
    ghost::unary_in_place(tape, "relu_", pyramid.path, y);
    return y;
}

Tensor BiRefNetNetwork::run(Tape& tape, const Block& block, const Tensor& x) const {
    Tensor y = block.in.forward(tape, x);
    y = block.norm_in.forward(tape, y);
    ghost::unary_in_place(tape, "relu_", block.path, y);
    y = run(tape, block.pyramid, y);
    y = block.out.forward(tape, y);
    return block.norm_out.forward(tape, y);
}

Tensor BiRefNetNetwork::see_again(Tape& tape, const Level& level, const Tensor& image,
                                  const Tensor& like, std::vector<Tensor>& kept) const {
    const Shape& s = image.shape();
    const std::int64_t rows = like.shape()[2];
    const std::int64_t columns = like.shape()[3];
    const std::int64_t squares = (s[2] / rows) * (s[3] / columns);
    kept.push_back([&] {
        const Tensor cut = ghost::produce(tape, OpClass::Copy, "cat", decoder_, image,
                                          {s[0], s[1] * squares, rows, columns}, image.type());
        return ghost::clone(tape, decoder_, cut, cut.shape());
    }());
    const Tensor seen = [&] {
        const Tensor sized = resize(tape, decoder_, kept.back(), rows, columns);
        const Tensor inner = level.image1.forward(tape, sized);
        return level.image2.forward(tape, inner);
    }();
    return ghost::cat(tape, decoder_, std::array<Tensor, 2>{like, seen}, 1);
}

Tensor BiRefNetNetwork::gated(Tape& tape, const Gate& gate, const Tensor& x,
                              std::vector<Tensor>& kept) const {
    const Tensor inner = [&] {
        const Tensor raw = gate.conv.forward(tape, x);
        Tensor normed = gate.norm.forward(tape, raw);
        ghost::unary_in_place(tape, "relu_", decoder_, normed);
        return normed;
    }();
    const Tensor attention = [&] {
        const Tensor raw = gate.attention.forward(tape, inner);
        return ghost::unary(tape, "sigmoid", decoder_, raw);
    }();
    kept.push_back(inner);
    kept.push_back(attention);
    return ghost::binary(tape, "mul", decoder_, x, attention);
}

BiRefNetNetwork::Features BiRefNetNetwork::encode(Tape& tape, const Tensor& image) const {
    Features maps = backbone_.forward(tape, image);
    const Features halves = [&] {
        const Shape& s = image.shape();
        const Tensor half = resize(tape, root_, image, s[2] / 2, s[3] / 2);
        return backbone_.forward(tape, half);
    }();
    for (std::size_t i = 0; i < maps.size(); ++i) {
        const Shape& s = maps[i].shape();
        const Tensor larger = resize(tape, root_, halves[i], s[2], s[3]);
        maps[i] = ghost::cat(tape, root_, std::array<Tensor, 2>{maps[i], larger}, 1);
    }
    const Shape s = maps.back().shape();
    std::vector<Tensor> context;
    for (std::size_t i = 0; i + 1 < maps.size(); ++i)
        context.push_back(resize(tape, root_, maps[i], s[2], s[3]));
    context.push_back(maps.back());
    maps.back() = ghost::cat(tape, root_, context, 1);
    return maps;
}

// Every name of the decoder's forward stays until it returns; `kept` holds those that no variable
// here has.
Tensor BiRefNetNetwork::decode(Tape& tape, const Tensor& image, const Features& features) const {
    std::vector<Tensor> kept;
    Tensor x = see_again(tape, levels_[0], image, features[3], kept);
    for (std::size_t i = 0; i < gates_.size(); ++i) {
        const Tensor& beside = features[2 - i];
        const Shape& s = beside.shape();
        Tensor made = run(tape, blocks_[i], x);
        made = gated(tape, gates_[i], made, kept);
        const Tensor larger = resize(tape, decoder_, made, s[2], s[3]);
        Tensor sum = [&] {
            const Tensor lateral = lateral_[i].forward(tape, beside);
            return ghost::binary(tape, "add", decoder_, larger, lateral);
        }();
        if (i == 0) kept.push_back(x);  // the joined smallest map has a name of its own
        kept.push_back(made);
        kept.push_back(larger);
        x = see_again(tape, levels_[i + 1], image, sum, kept);
    }
    x = run(tape, blocks_[3], x);
    const Shape& s = image.shape();
    x = resize(tape, decoder_, x, s[2], s[3]);
    x = see_again(tape, levels_[4], image, x, kept);
    return out_.forward(tape, x);
}

std::vector<Tensor> BiRefNetNetwork::read(Tape& tape, const ReaderCall& call) const {
    const ElementType f32 = ElementType::Float32;
    const Tensor seen = [&] {
        const Tensor images =
            tape.make({call.batch, call.height, call.width, kColours}, f32, "to", root_);
        Tensor x =
            ghost::clone(tape, root_, images, {call.batch, kColours, call.height, call.width});
        x = resize(tape, root_, x, kSide, kSide, "upsample_bicubic2d_aa");
        for (const std::string_view op : {"mul", "clip", "round", "div", "sub", "div"})
            x = ghost::unary(tape, op, root_, x);
        return x;
    }();
    // One image after the other; the masks of those before wait.
    const Shape square{1, kColours, kSide, kSide};
    std::vector<Tensor> masks;
    if (call.batch > 1)
        masks.push_back(
            tape.make({call.batch - std::int64_t{1}, 1, kSide, kSide}, f32, "convolution", root_));
    const Tensor image = call.batch > 1 ? seen.view(square) : seen;
    {
        Features features = encode(tape, image);
        features.back() = run(tape, squeeze_, features.back());
        masks.push_back(decode(tape, image, features));
    }
    const Tensor joined = call.batch > 1 ? ghost::cat(tape, root_, masks, 0) : masks.back();
    masks.clear();
    const Tensor whole = resize(tape, root_, joined, call.height, call.width, "upsample_bicubic2d");
    return {whole, ghost::unary(tape, "sigmoid", root_, whole)};
}

}  // namespace plimsoll::memory
