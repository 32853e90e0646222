// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/flux_controlnet.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <span>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kPatch = 2;
constexpr std::int64_t kPixelsPerCell = 8;
constexpr std::int64_t kPixelChannels = 3;
constexpr std::int64_t kStemChannels = 16;
constexpr std::int64_t kUnionModesMax = 1 << 10;  // chosen: published ones have 10

std::int64_t tokens_along(std::int64_t cells) {
    return (cells + kPatch - 1) / kPatch;
}

constexpr ConvShape kDown{3, 2, 1};
constexpr std::array<ConvShape, 8> kXLabsStem = {kConv3, kConv3, kDown, kConv3,
                                                 kDown,  kConv3, kDown, kConv3};
constexpr std::array<ConvShape, 10> kMistoLineStem = {kConv3, kConv1, kConv3, kDown,  kConv3,
                                                      kDown,  kConv3, kDown,  kConv1, kConv3};

}  // namespace

std::vector<FluxControlNet::Out> FluxControlNet::make_outs(Registry& r, std::string_view name,
                                                           int count,
                                                           const modelfile::FluxControlConfig& c) {
    std::vector<Out> outs;
    outs.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        const std::string path = fmt::format("{}.{}", name, i);
        const Module layer = c.mistoline ? r.path(path, "linear") : r.path(path, "");
        const Linear linear(r, layer, c.hidden_size, c.hidden_size);
        outs.push_back({linear, c.mistoline ? r.path(path, "act") : nullptr});
    }
    return outs;
}

FluxControlNet::Stem FluxControlNet::make_stem(Registry& r, const modelfile::FluxControlConfig& c) {
    Stem stem;
    if (!c.pixel_hint) return stem;
    const std::string_view name = c.mistoline ? "input_cond_block.encoder" : "input_hint_block";
    const std::span<const ConvShape> shapes =
        c.mistoline ? std::span<const ConvShape>(kMistoLineStem) : kXLabsStem;
    std::int64_t channels = kPixelChannels;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        stem.convs.emplace_back(r, r.path(name, std::to_string(2 * i)), channels, kStemChannels,
                                shapes[i]);
        if (i + 1 < shapes.size()) stem.acts.push_back(r.path(name, std::to_string(2 * i + 1)));
        channels = kStemChannels;
    }
    return stem;
}

Tensor FluxControlNet::Out::forward(Tape& tape, const Tensor& tokens, bool slice) const {
    const Tensor out = slice ? linear.forward_slice(tape, tokens) : linear.forward(tape, tokens);
    return act != nullptr ? ghost::unary(tape, "silu", act, out) : out;
}

FluxControlNet::FluxControlNet(const modelfile::FluxControlConfig& c)
    : config_(c),
      base_(c.base()),
      trunk_(registry_, base_),
      outs_(make_outs(registry_, "controlnet_blocks", c.depth, c)),
      single_outs_(make_outs(registry_, "controlnet_single_blocks", c.depth_single_blocks, c)),
      mode_embedder_([&]() -> Module {
          if (c.union_modes == 0) return nullptr;
          const Module path = registry_.path("controlnet_mode_embedder", "");
          registry_.add(path, "Embedding", std::int64_t{c.union_modes} * c.hidden_size);
          return path;
      }()),
      hint_in_(registry_, registry_.path("pos_embed_input", ""), c.hint_channels * kPatch * kPatch,
               c.hidden_size),
      stem_(make_stem(registry_, c)) {}

std::vector<ControlNetNetwork::Output> FluxControlNet::output_shapes(std::int64_t batch,
                                                                     std::int64_t height,
                                                                     std::int64_t width) const {
    const Shape tokens{batch, tokens_along(height) * tokens_along(width), config_.hidden_size};
    std::vector<Output> outputs(outs_.size(), {.shape = tokens});
    outputs.insert(outputs.end(), single_outs_.size(), {.shape = tokens, .single = true});
    return outputs;
}

StepInputs FluxControlNet::make_inputs(Tape& tape, const StepCall& call) const {
    const ElementType f32 = ElementType::Float32;
    StepInputs in;
    in.x = tape.input({call.batch, base_.in_channels, call.latent_height, call.latent_width}, f32);
    in.timesteps = tape.input({call.batch}, f32);
    in.context = tape.input({call.batch, call.tokens, base_.context_in_dim}, f32);
    in.y = tape.input({call.batch, base_.vec_in_dim}, f32);
    if (base_.guidance_embed) in.guidance = tape.input({call.batch}, f32);
    return in;
}

// Repeated to the whole batch before the network sees it.
Tensor FluxControlNet::make_hint(Tape& tape, const StepCall& call, std::int64_t /*batch*/) const {
    const std::int64_t each = config_.pixel_hint ? kPixelsPerCell : 1;
    const std::int64_t channels = config_.pixel_hint ? kPixelChannels : config_.hint_channels;
    return tape.input({call.batch, channels, call.latent_height * each, call.latent_width * each},
                      tape.compute());
}

// Pixels from -1 to 1 through the convolutions, or a latent; then patches.
Tensor FluxControlNet::hint_tokens(Tape& tape, const Tensor& hint) const {
    const Module root = trunk_.root;
    Tensor x = hint;
    if (config_.pixel_hint) {
        const Tensor doubled = ghost::unary(tape, "mul", root, hint);
        x = ghost::unary(tape, "sub", root, doubled);
    } else {
        x = pad_to_patches(tape, root, hint, kPatch);
    }
    // The forward's own variable keeps what the first convolution takes until the last is done.
    const Tensor callers = x;
    for (std::size_t i = 0; i < stem_.convs.size(); ++i) {
        x = stem_.convs[i].forward(tape, x);
        if (i < stem_.acts.size()) x = ghost::unary(tape, "silu", stem_.acts[i], x);
    }
    return to_tokens(tape, root, x, kPatch);
}

ControlTensors FluxControlNet::forward(Tape& tape, const ControlInputs& in) const {
    const Module root = trunk_.root;
    const std::int64_t batch = in.x.shape()[0];
    // Local variables of the forward until its end: both tokens, positions, the condition.
    const Tensor hint = hint_tokens(tape, in.hint);
    const Tensor padded = pad_to_patches(tape, root, in.x, kPatch);
    const Tensor patches = to_tokens(tape, root, padded, kPatch);
    const PositionIds positions{.axes = static_cast<std::int64_t>(base_.axes_dim.size()),
                                .type = in.x.type()};
    const Tensor img_ids = image_ids(tape, root, batch, padded.shape()[2] / kPatch,
                                     padded.shape()[3] / kPatch, positions, ImageIndex::LeftZero);
    Tensor txt_ids = text_ids(tape, root, batch, in.context.shape()[1], positions, 0);

    Tensor img = trunk_.img_in.forward(tape, patches);
    const Tensor added = hint_in_.forward(tape, hint);
    img = ghost::binary(tape, "add", root, img, added);
    const Tensor vec = trunk_.embed_condition(tape, in.timesteps, in.guidance, in.y, in.x.type());
    Tensor txt = trunk_.txt_in.forward(tape, in.context);
    Tensor mode;
    if (mode_embedder_ != nullptr && in.control_types > 0) {
        const std::int64_t types = in.control_types;
        const Tensor index = ghost::create(tape, "lift_fresh", root, {types}, ElementType::Int64);
        const Tensor row = ghost::produce(tape, OpClass::Copy, "embedding", mode_embedder_, index,
                                          {types, config_.hidden_size}, txt.type());
        mode = ghost::produce(tape, OpClass::Copy, "repeat", root, row,
                              {batch, types, config_.hidden_size}, txt.type());
        txt = ghost::cat(tape, root, std::array<Tensor, 2>{mode, txt}, 1);
        const Tensor first = txt_ids.view({batch, 1, positions.axes});
        txt_ids = ghost::cat(tape, root, std::array<Tensor, 2>{first, txt_ids}, 1);
    }
    const Tensor ids = ghost::cat(tape, root, std::array<Tensor, 2>{txt_ids, img_ids}, 1);
    const Tensor pe = rope_table(tape, trunk_.pe, ids, base_.axes_dim);

    ControlTensors control;
    const Shape own = img.shape();
    for (std::size_t i = 0; i < outs_.size(); ++i) {
        trunk_.double_blocks[i].forward(tape, img, txt, {vec, vec}, pe);
        control.output.push_back(outs_[i].forward(tape, img, false));
    }
    {
        const std::array<Tensor, 2> both = {txt, std::move(img)};
        img = ghost::cat(tape, root, both, 1);
    }
    for (std::size_t i = 0; i < single_outs_.size(); ++i) {
        trunk_.single_blocks[i].forward(tape, img, vec, pe);
        control.single.push_back(single_outs_[i].forward(tape, img.view(own), true));
    }
    return control;
}

Result<std::shared_ptr<const ControlNetNetwork>> build_flux_controlnet(
    const modelfile::FluxControlConfig& c) {
    const bool sound =
        sound_flux(c.base()) && c.depth >= 1 && within(c.vec_in_dim, 1, kWidthMax) &&
        within(c.hint_channels, 1, kWidthMax) && within(c.union_modes, 0, kUnionModesMax) &&
        (!c.pixel_hint || c.hint_channels == kStemChannels) && (!c.mistoline || c.pixel_hint);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a ControlNet of Flux of width {} with {} heads, {} + {} blocks, "
                                "{} types and hints of {} cannot be",
                                c.hidden_size, c.num_heads, c.depth, c.depth_single_blocks,
                                c.union_modes, c.hint_channels));
    return std::make_shared<const FluxControlNet>(c);
}

}  // namespace plimsoll::memory
