// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/chroma_radiance.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::ChromaRadianceConfig;

namespace {

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
constexpr std::int64_t kMatrices = 3;     // of a gated layer
constexpr std::int64_t kFrequenciesMax = 256;

bool embeds_in_fp32(const ChromaRadianceConfig& c) {
    return c.nerf_embedder_dtype == "torch.float32";
}

}  // namespace

RadianceHeadBlock::RadianceHeadBlock(Registry& r, std::string_view path,
                                     const ChromaRadianceConfig& c)
    : path_(r.path(path, "")),
      width_(c.nerf_hidden_size),
      hidden_(std::int64_t{c.nerf_hidden_size} * c.nerf_mlp_ratio),
      generator_(r, r.path(path, "param_generator"), c.hidden_size, kMatrices * width_ * hidden_),
      norm_(r, r.path(path, "norm"), width_) {}

// Every column of a generated matrix over its length.
Tensor RadianceHeadBlock::normalised(Tape& tape, const Tensor& matrix) const {
    const Tensor length = [&] {
        const Tensor raw = ghost::produce(tape, OpClass::Normalization, "linalg_vector_norm", path_,
                                          matrix, matrix.shape().with(1, 1), matrix.type());
        return ghost::unary(tape, "clamp_min", path_, raw);
    }();
    return ghost::binary(tape, "div", path_, matrix, length);
}

Tensor RadianceHeadBlock::multiply(Tape& tape, const Tensor& x, const Tensor& matrix) const {
    const Shape& s = matrix.shape();
    Tensor out = tape.make(x.shape().with_last(s.last()), x.type(), "bmm", path_);
    tape.charge(OpClass::MatMul, "bmm", path_,
                ghost::saturating_product({2, s[0], x.shape()[1], s[1], s[2]}),
                x.bytes() + matrix.bytes() + out.bytes());
    return out;
}

Tensor RadianceHeadBlock::forward(Tape& tape, const Tensor& x, const Tensor& token) const {
    const std::int64_t patches = x.shape()[0];
    const Tensor generated = generator_.forward(tape, token);
    const Shape in_shape{patches, width_, hidden_};
    const Tensor gate = normalised(tape, generated.view(in_shape));
    const Tensor value = normalised(tape, generated.view(in_shape));
    const Tensor out = normalised(tape, generated.view({patches, hidden_, width_}));
    Tensor y = norm_.forward(tape, x);
    y = [&] {
        const Tensor gated = [&] {
            const Tensor active = [&] {
                const Tensor raw = multiply(tape, y, gate);
                return ghost::unary(tape, "silu", path_, raw);
            }();
            const Tensor plain = multiply(tape, y, value);
            return ghost::binary(tape, "mul", path_, active, plain);
        }();
        return multiply(tape, gated, out);
    }();
    return ghost::binary(tape, "add", path_, y, x);
}

ChromaRadianceNetwork::ChromaRadianceNetwork(const ChromaRadianceConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      img_in_(registry_, registry_.path("img_in_patch", ""), c.in_channels, c.hidden_size,
              {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0}),
      trunk_(registry_, c.base()),
      embedder_path_(registry_.path("nerf_image_embedder", "")),
      embedder_([&] {
          const Module path = registry_.path("nerf_image_embedder", "embedder.0");
          const std::int64_t in = c.in_channels + std::int64_t{c.nerf_max_freqs} * c.nerf_max_freqs;
          if (!embeds_in_fp32(c)) return Linear(registry_, path, in, c.nerf_hidden_size);
          registry_.add(path, "Linear", (in + 1) * c.nerf_hidden_size, ModuleStorage::Float32);
          return Linear(unlisted_, path, in, c.nerf_hidden_size);
      }()),
      blocks_([&] {
          std::vector<RadianceHeadBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.nerf_depth));
          for (int i = 0; i < c.nerf_depth; ++i)
              blocks.emplace_back(registry_, fmt::format("nerf_blocks.{}", i), c);
          return blocks;
      }()),
      final_norm_(registry_, registry_.path("nerf_final_layer_conv", "norm"), c.nerf_hidden_size),
      final_conv_(registry_, registry_.path("nerf_final_layer_conv", "conv"), c.nerf_hidden_size,
                  c.in_channels) {}

StepInputs ChromaRadianceNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    in.guidance = tape.input({wish.cond_batch}, wish.type);
    return in;
}

std::vector<ModuleEntry> ChromaRadianceNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// Pixels with their positions in the patch, which the network keeps from its first forward on.
Tensor ChromaRadianceNetwork::embed_pixels(Tape& tape, const Tensor& pixels) const {
    const ElementType type = embeds_in_fp32(config_) ? ElementType::Float32 : pixels.type();
    const std::int64_t frequencies = std::int64_t{config_.nerf_max_freqs} * config_.nerf_max_freqs;
    const Tensor embedded = [&] {
        Tensor in = ghost::to_type(tape, embedder_path_, pixels, type);
        const Tensor positions =
            tape.make(in.shape().with_last(frequencies), type, "repeat", embedder_path_);
        tape.charge(OpClass::Copy, "repeat", embedder_path_, 0,
                    positions.bytes() / positions.shape()[0] + positions.bytes());
        in = ghost::cat(tape, embedder_path_, std::array<Tensor, 2>{in, positions}, 2);
        const Tensor wide = embedder_.forward(tape, in);
        return ghost::to_type(tape, embedder_path_, wide, pixels.type());
    }();
    return embedded;
}

Tensor ChromaRadianceNetwork::run_head(Tape& tape, const Tensor& pixels,
                                       const Tensor& tokens) const {
    const std::int64_t patches = pixels.shape()[0];
    const auto run = [&](std::int64_t count) {
        Tensor x = embed_pixels(tape, pixels.view(pixels.shape().with(0, count)));
        for (const RadianceHeadBlock& block : blocks_)
            x = block.forward(tape, x, tokens.view(tokens.shape().with(0, count)));
        return x;
    };
    return run(patches);
}

Tensor ChromaRadianceNetwork::make_image(Tape& tape, const Tensor& image,
                                         const Tensor& tokens) const {
    const Shape& s = image.shape();
    const std::int64_t batch = s[0];
    const std::int64_t side = config_.patch_size;
    const std::int64_t patches = tokens.shape()[1];
    const std::int64_t width = config_.nerf_hidden_size;
    // Rows of one matrix where there is one image, else copied.
    const auto rows_of = [&](const Tensor& t, const Shape& shape) {
        return batch == 1 ? t.view(shape) : ghost::clone(tape, root_, t, shape);
    };
    const Tensor hidden = rows_of(tokens, {batch * patches, std::int64_t{config_.hidden_size}});
    const Tensor pixels = [&] {
        const Tensor columns = ghost::produce(tape, OpClass::Copy, "im2col", root_, image,
                                              {batch, s[1] * side * side, patches}, image.type());
        return rows_of(columns, {batch * patches, side * side, s[1]});
    }();

    const std::int64_t tile = config_.nerf_tile_size;
    Tensor x;
    if (tile > 0 && patches > tile) {
        std::vector<Tensor> parts;
        for (std::int64_t at = 0; at < patches; at += tile) {
            const std::int64_t count = std::min(tile, patches - at) * batch;
            parts.push_back(run_head(tape, pixels.view(pixels.shape().with(0, count)),
                                     hidden.view(hidden.shape().with(0, count))));
        }
        x = ghost::cat(tape, root_, parts, 0);
    } else {
        x = run_head(tape, pixels, hidden);
    }
    x = ghost::clone(tape, root_, x, {batch, patches, width * side * side});
    x = ghost::produce(tape, OpClass::Copy, "col2im", root_, x, s.with(1, width), x.type());
    const Tensor normal = [&] {
        // Channels are not next to each other: the fused kernel copies them first.
        const Tensor copy = tape.options().fused_rms_norm
                                ? tape.make_temporary(x.bytes(), "_fused_rms_norm", root_)
                                : Tensor();
        return final_norm_.forward(tape, x.view({batch, s[2], s[3], width}));
    }();
    return final_conv_.forward(tape, normal.view(s.with(1, width)));
}

Tensor ChromaRadianceNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t side = config_.patch_size;
    const Tensor image = pad_to_patches(tape, root_, in.x, side);
    const std::int64_t rows = image.shape()[2] / side;
    const std::int64_t columns = image.shape()[3] / side;
    const PositionIds positions{.axes = static_cast<std::int64_t>(config_.axes_dim.size()),
                                .type = in.x.type()};
    ChromaTrunk::Positions ids;
    ids.img = image_ids(tape, root_, batch, rows, columns, positions, ImageIndex::LeftZero);
    ids.txt = text_ids(tape, root_, batch, in.context.shape()[1], positions, 0);
    const Tensor tokens =
        trunk_.forward(tape, in,
                       img_in_.forward(tape, image)
                           .view({batch, rows * columns, std::int64_t{config_.hidden_size}}),
                       ids, [](const Tensor& own, const Tensor&) { return own; });
    const Tensor predicted = make_image(tape, image, tokens);
    if (!config_.use_x0) return predicted;
    // The image itself was predicted: the velocity is what is left to it over the time, which is
    // fp32 and so is the quotient.
    const Tensor left = ghost::binary(tape, "sub", root_, in.x, predicted.view(in.x.shape()));
    const Tensor time = ghost::unary(tape, "add", root_, in.timesteps);
    return ghost::combine(tape, "div", root_, {&left, &time}, left.shape(), ElementType::Float32);
}

Result<std::shared_ptr<const Denoiser>> build_chroma_radiance(const ChromaRadianceConfig& c) {
    const bool sound = sound_chroma_trunk(c.base()) && within(c.nerf_hidden_size, 1, kWidthMax) &&
                       within(c.nerf_mlp_ratio, 1, static_cast<std::int64_t>(kMlpRatioMax)) &&
                       within(c.nerf_depth, 0, kDepthMax) &&
                       within(c.nerf_max_freqs, 1, kFrequenciesMax) &&
                       within(c.nerf_tile_size, 0, 1 << 24) && c.nerf_final_head_type == "conv" &&
                       !c.use_sequential_txt_ids;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Chroma Radiance of width {} with {} + {} blocks, and a head of "
                                "{} x {} with a {} layer last cannot be",
                                c.hidden_size, c.depth, c.depth_single_blocks, c.nerf_depth,
                                c.nerf_hidden_size, c.nerf_final_head_type));
    return std::make_shared<const ChromaRadianceNetwork>(c);
}

}  // namespace plimsoll::memory
