// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/clip_vision.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using ghost::element_bytes;

namespace {

constexpr std::int64_t kColours = 3;

modelfile::ClipTextConfig layer_config(const ClipVisionConfig& c) {
    modelfile::ClipTextConfig layer;
    layer.hidden = c.hidden;
    layer.heads = c.heads;
    layer.intermediate = c.intermediate;
    layer.activation =
        c.quick_gelu ? modelfile::ClipActivation::QuickGelu : modelfile::ClipActivation::Gelu;
    return layer;
}

std::int64_t patches_of(const ClipVisionConfig& c) {
    const std::int64_t side = c.image / c.patch;
    return side * side;
}

}  // namespace

ClipVisionNetwork::ClipVisionNetwork(const ClipVisionConfig& c)
    : config_(c),
      embeddings_([&] {
          const Module path = registry_.path("vision_model", "embeddings");
          if (has_class())
              registry_.add_own_parameters(path, "CLIPVisionEmbeddings", c.hidden,
                                           ModuleStorage::AsNetwork);
          return path;
      }()),
      patches_(registry_, registry_.path(*embeddings_, "patch_embedding"), kColours, c.hidden,
               ConvShape{c.patch, c.patch, 0}, has_class() ? Bias::No : Bias::Yes),
      positions_([&] {
          const Module path = registry_.path(*embeddings_, "position_embedding");
          registry_.add(path, "Embedding", tokens() * c.hidden);
          return path;
      }()),
      norm_in_(has_class()
                   ? std::optional<LayerNorm>(std::in_place, registry_,
                                              registry_.path("vision_model", "pre_layrnorm"),
                                              c.hidden, Affine::Yes, ModuleStorage::Float32)
                   : std::nullopt),
      encoder_(registry_.path("vision_model", "encoder")),
      layers_([&] {
          std::vector<ClipLayer> layers;
          for (int i = 0; i < c.layers; ++i)
              layers.emplace_back(registry_, fmt::format("{}.layers.{}", *encoder_, i),
                                  layer_config(c));
          return layers;
      }()),
      norm_out_(registry_, registry_.path("vision_model", "post_layernorm"), c.hidden, Affine::Yes,
                ModuleStorage::Float32),
      projection_(has_class()
                      ? std::optional<Linear>(std::in_place, registry_,
                                              registry_.path("visual_projection", ""), c.hidden,
                                              c.projection, Bias::No, ModuleStorage::Float32)
                      : std::nullopt) {}

std::int64_t ClipVisionNetwork::tokens() const {
    return patches_of(config_) + (has_class() ? 1 : 0);
}

// [N, tokens, hidden]. Without a class token laid out as the convolution wrote it.
Tensor ClipVisionNetwork::embed(Tape& tape, const Tensor& pixels) const {
    const std::int64_t batch = pixels.shape()[0];
    const std::int64_t hidden = config_.hidden;
    Tensor x = patches_.forward(tape, pixels).view({batch, patches_of(config_), hidden});
    if (has_class()) {
        const Tape::Cast cast = tape.cast_weight({hidden}, embeddings_);
        Tensor joined = tape.make({batch, tokens(), hidden}, x.type(), "cat", embeddings_);
        tape.charge(OpClass::Copy, "cat", embeddings_, 0, 2 * joined.bytes());
        x = std::move(joined);
    }
    const Tape::Cast positions = tape.cast_weight({tokens(), hidden}, embeddings_);
    Tensor sum = tape.make(x.shape(), x.type(), "add", embeddings_);
    tape.charge(OpClass::Elementwise, "add", embeddings_, 0,
                2 * x.bytes() + tokens() * hidden * element_bytes(x.type()));
    return sum;
}

std::vector<Tensor> ClipVisionNetwork::encode(Tape& tape, const Tensor& pixels,
                                              bool every_layer) const {
    Tensor x = embed(tape, pixels);
    if (norm_in_) x = norm_in_->forward(tape, x);
    const TokenLayout layout = has_class() ? TokenLayout::Contiguous : TokenLayout::Strided;
    Tensor intermediate;
    std::vector<Tensor> states;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        layers_[i].forward(tape, x, {}, layout);
        if (every_layer)
            states.push_back(ghost::clone(tape, encoder_, x, x.shape()));
        else if (i + 2 == layers_.size())
            intermediate = ghost::clone(tape, encoder_, x, x.shape());
    }
    if (every_layer) {
        intermediate = ghost::cat(tape, encoder_, states, 1);
        states.clear();
    }
    if (!has_class()) {
        x = norm_out_.forward_strided(tape, x);
        return {x, intermediate};
    }
    // One token of each image: not contiguous where there are several.
    const Shape& s = x.shape();
    const Tensor first = x.view({s[0], s[2]});
    const Tensor pooled =
        s[0] > 1 ? norm_out_.forward_strided(tape, first) : norm_out_.forward(tape, first);
    return {x, intermediate, projection_->forward(tape, pooled)};
}

Result<std::shared_ptr<const ClipVisionNetwork>> build_clip_vision(const ClipVisionConfig& c) {
    const bool sound = within(c.image, 1, kWidthMax) && within(c.patch, 1, c.image) &&
                       within(c.hidden, 1, kWidthMax) && within(c.intermediate, 1, kWidthMax) &&
                       within(c.layers, 2, kDepthMax) && within(c.heads, 1, c.hidden) &&
                       c.hidden % c.heads == 0 && within(c.projection, 0, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a vision transformer of width {} with {} layers and {} heads "
                                "cannot be",
                                c.hidden, c.layers, c.heads));
    return std::make_shared<const ClipVisionNetwork>(c);
}

Walk simulate_image_encode(const ClipVisionNetwork& network, const ClipVisionCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::int64_t side = network.config().image;
    const Tensor pixels =
        tape.input({call.batch, kColours, side, side}, element_type(call.compute));
    const std::vector<Tensor> outputs = network.encode(tape, pixels, call.every_layer);
    return finish_walk(tape, network, call.storage, call.rules);
}

}  // namespace plimsoll::memory
