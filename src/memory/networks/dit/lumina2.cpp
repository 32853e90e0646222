// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/lumina2.h"

#include "memory/networks/limits.h"
#include "memory/networks/model_patch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Lumina2Config;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's plain flow schedule

std::vector<LuminaBlock> make_blocks(Registry& r, std::string_view name, int count,
                                     const Lumina2Config& c, LuminaBlock::Modulated modulated) {
    std::vector<LuminaBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}", name, i), c, modulated);
    return blocks;
}

}  // namespace

Lumina2Network::Lumina2Network(const Lumina2Config& c)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          if (c.pad_tokens_multiple > 0)  // a token that pads images and one that pads text
              registry_.add_own_parameters(root, "NextDiT", 2 * std::int64_t{c.dim},
                                           ModuleStorage::AsNetwork);
          return root;
      }()),
      rope_(registry_.path("rope_embedder", "")),
      x_embedder_(registry_, registry_.path("x_embedder", ""),
                  std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.dim),
      noise_refiner_(make_blocks(registry_, "noise_refiner", c.n_refiner_layers, c,
                                 LuminaBlock::Modulated::Yes)),
      context_refiner_(make_blocks(registry_, "context_refiner", c.n_refiner_layers, c,
                                   LuminaBlock::Modulated::No)),
      time_(registry_.path("t_embedder", "")),
      time_in_(registry_, registry_.path("t_embedder", "mlp.0"), kTimestepWidth,
               lumina_time_hidden(c)),
      time_act_(registry_.path("t_embedder", "mlp.1")),
      time_out_(registry_, registry_.path("t_embedder", "mlp.2"), lumina_time_hidden(c),
                lumina_time_width(c)),
      text_norm_(registry_, registry_.path("cap_embedder", "0"), c.cap_feat_dim),
      text_in_(registry_, registry_.path("cap_embedder", "1"), c.cap_feat_dim, c.dim),
      layers_([&] {
          std::vector<LuminaBlock> blocks =
              make_blocks(registry_, "layers", c.n_layers, c, LuminaBlock::Modulated::Yes);
          if (c.unused_norm_final)
              registry_.add(registry_.path("norm_final", ""), "RMSNorm", c.dim);
          return blocks;
      }()),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), c.dim, Affine::No),
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.dim,
                    std::int64_t{c.in_channels} * c.patch_size * c.patch_size),
      final_act_(registry_.path("final_layer", "adaLN_modulation.0")),
      final_modulation_(registry_, registry_.path("final_layer", "adaLN_modulation.1"),
                        lumina_time_width(c), c.dim) {}

StepInputs Lumina2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.cap_feat_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> Lumina2Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor Lumina2Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor time = since_033(tape) ? ghost::unary(tape, "mul", root_, timesteps) : timesteps;
    const Tensor waves = [&] {
        const Tensor wide = timestep_embedding(tape, time_, time, kTimestepWidth);
        return ghost::to_type(tape, time_, wide, type);
    }();
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

Tensor Lumina2Network::embed_text(Tape& tape, const Tensor& context) const {
    const Tensor normal = text_norm_.forward(tape, context);
    return text_in_.forward(tape, normal);
}

namespace {

void write(Tape& tape, Module module, const Tensor& into, const Tensor& from) {
    tape.charge(OpClass::Copy, "copy_", module, 0, into.bytes() + from.bytes());
}

// One number written to every token.
void fill(Tape& tape, Module module, const Tensor& into) {
    const Tensor number = ghost::create(tape, "scalar_tensor", module, {1}, into.type());
    write(tape, module, into, number);
}

// [rows, patch, columns, patch, channels] of one or more images as tokens: one copy.
Tensor patchify(Tape& tape, Module module, const Tensor& x, std::int64_t patch) {
    const Shape& s = x.shape();
    const std::int64_t tokens = (s[2] / patch) * (s[3] / patch);
    return ghost::clone(tape, module, x, {s[0], s[2] / patch, s[3] / patch, patch, patch, s[1]})
        .view({s[0], tokens, patch * patch * s[1]});
}

}  // namespace

// Up to 0.3.64 tensors for the longest of the batch are filled image by image.
LuminaTokens Lumina2Network::refine_3064(Tape& tape, const Tensor& x, const Tensor& text,
                                         const Tensor& time) const {
    const ElementType type = x.type();
    const std::int64_t patch = config_.patch_size;
    const std::int64_t batch = x.shape()[0];
    const std::int64_t rows = x.shape()[2] / patch;
    const std::int64_t columns = x.shape()[3] / patch;
    const std::int64_t image_tokens = rows * columns;
    const std::int64_t text_tokens = text.shape()[1];
    const std::int64_t all_tokens = text_tokens + image_tokens;

    const Tensor ids =
        ghost::create(tape, "zeros", root_, {batch, all_tokens, 3}, ElementType::Int32);
    Tensor row_ids;
    Tensor column_ids;
    const auto count = [&](std::int64_t length) {
        return ghost::create(tape, "arange", root_, {length}, ids.type());
    };
    const auto grid_ids = [&](std::int64_t length) {
        const Tensor steps = count(length);
        return ghost::produce(tape, OpClass::Copy, "repeat", root_, steps, {rows, columns},
                              ids.type());
    };
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, ids.view({text_tokens}), count(text_tokens));
        fill(tape, root_, ids.view({image_tokens}));
        row_ids = grid_ids(rows);
        column_ids = grid_ids(columns);
        write(tape, root_, row_ids, row_ids);
        write(tape, root_, column_ids, column_ids);
    }
    LuminaTokens joined;
    {
        const Tensor wide = rope_table(tape, rope_, ids, config_.axes_dims);
        joined.table = ghost::to_type(tape, root_, wide, type);
    }
    const auto table_for = [&](std::int64_t tokens) {
        return ghost::create(tape, "zeros", root_, joined.table.shape().with(1, tokens), type);
    };
    const Tensor text_table = table_for(text_tokens);
    const Tensor image_table = table_for(image_tokens);
    const auto one = [](const Tensor& t) { return t.view(t.shape().with(0, 1)); };
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(text_table), one(text_table));
        write(tape, root_, one(image_table), one(image_table));
    }

    Tensor refined_text = text;
    for (const LuminaBlock& block : context_refiner_)
        refined_text = block.forward(tape, refined_text, text_table, {}, {});

    std::vector<Tensor> patches;
    patches.reserve(static_cast<std::size_t>(batch));
    for (std::int64_t i = 0; i < batch; ++i)
        patches.push_back(patchify(tape, root_, one(x), patch));
    Tensor image = ghost::create(tape, "zeros", root_,
                                 {batch, image_tokens, patches.front().shape().last()}, type);
    const Tensor mask = ghost::create(tape, "zeros", root_, {batch, image_tokens}, type);
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(image), one(image));
        fill(tape, root_, mask.view({0}));  // the tokens beyond an image's own: none here
    }
    image = x_embedder_.forward(tape, image);
    for (const LuminaBlock& block : noise_refiner_)
        image = block.forward(tape, image, image_table, mask, time);

    joined.tokens = ghost::create(tape, "zeros", root_, {batch, all_tokens, config_.dim}, type);
    for (std::int64_t i = 0; i < batch; ++i) {
        write(tape, root_, one(refined_text), one(refined_text));
        write(tape, root_, one(image), one(image));
    }
    return joined;
}

Lumina2Network::Padded Lumina2Network::pad_tokens(Tape& tape, const Tensor& tokens) const {
    const std::int64_t multiple = config_.pad_tokens_multiple;
    if (multiple == 0) return {tokens, 0};
    const Shape& s = tokens.shape();
    const std::int64_t added = (multiple - s[1] % multiple) % multiple;
    const Tensor padding = [&] {
        const Tensor token =
            ghost::create(tape, "_to_copy", root_, {1, config_.dim}, tokens.type());
        return ghost::produce(tape, OpClass::Copy, "repeat", root_, token, s.with(1, added),
                              tokens.type());
    }();
    return {ghost::cat(tape, root_, std::array<Tensor, 2>{tokens, padding}, 1), added};
}

LuminaTokens Lumina2Network::embed_caption(Tape& tape, const Tensor& context) const {
    LuminaTokens caption;
    caption.tokens = embed_text(tape, context);
    caption.tokens = pad_tokens(tape, caption.tokens).tokens;
    const std::int64_t tokens = caption.tokens.shape()[1];
    const Tensor ids = ghost::create(tape, "zeros", root_, {1, tokens, 3}, ElementType::Float32);
    {
        Tensor steps = ghost::create(tape, "arange", root_, {tokens}, ids.type());
        for (int i = 0; i < 2; ++i) steps = ghost::unary(tape, "add", root_, steps);
        write(tape, root_, steps, steps);
    }
    caption.table = rope_table(tape, rope_, ids, config_.axes_dims);
    return caption;
}

LuminaTokens Lumina2Network::embed_image(Tape& tape, const Tensor& x) const {
    const std::int64_t patch = config_.patch_size;
    const std::int64_t rows = x.shape()[2] / patch;
    const std::int64_t columns = x.shape()[3] / patch;
    LuminaTokens image;
    image.tokens = [&] {
        const Tensor patches = patchify(tape, root_, x, patch);
        return x_embedder_.forward(tape, patches);
    }();
    Tensor ids = [&] {
        Tensor zeros =
            ghost::create(tape, "zeros", root_, {1, rows * columns, 3}, ElementType::Float32);
        fill(tape, root_, zeros.view({rows * columns}));
        for (const std::int64_t length : {rows, columns}) {
            const Tensor plane = [&] {
                Tensor steps = ghost::create(tape, "arange", root_, {length}, zeros.type());
                steps = ghost::unary(tape, "mul", root_, steps);
                steps = ghost::unary(tape, "add", root_, steps);
                return ghost::produce(tape, OpClass::Copy, "repeat", root_, steps, {rows, columns},
                                      steps.type());
            }();
            write(tape, root_, plane, plane);
        }
        return zeros;
    }();
    if (config_.pad_tokens_multiple > 0) {
        Padded padded = pad_tokens(tape, image.tokens);
        image.tokens = std::move(padded.tokens);
        ids = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", root_, ids,
                             ids.shape().with(1, ids.shape()[1] + padded.added), ids.type());
    }
    image.table = rope_table(tape, rope_, ids, config_.axes_dims);
    return image;
}

// Since 0.33.0 lists of embeddings are joined, one of each here; what they list lives until all is
// refined, and so does the image as it came to the refiner.
LuminaTokens Lumina2Network::refine_33000(Tape& tape, const Tensor& x, const Tensor& context,
                                          const Tensor& time, PatchRun* patch) const {
    const LuminaTokens embedded_text = embed_caption(tape, context);
    const LuminaTokens embedded_image = embed_image(tape, x);
    const auto joined_list = [&](const Tensor& only) {
        return ghost::cat(tape, root_, std::array<Tensor, 1>{only}, 1);
    };
    LuminaTokens text;
    text.tokens = joined_list(embedded_text.tokens);
    text.table = joined_list(embedded_text.table);
    for (const LuminaBlock& block : context_refiner_)
        text.tokens = block.forward(tape, text.tokens, text.table, {}, {});
    LuminaTokens image;
    image.tokens = joined_list(embedded_image.tokens);
    image.table = joined_list(embedded_image.table);
    const Tensor refiner_input = image.tokens;
    for (std::size_t i = 0; i < noise_refiner_.size(); ++i) {
        const Tensor input = patch != nullptr ? image.tokens : Tensor();
        image.tokens = noise_refiner_[i].forward(tape, image.tokens, image.table, {}, time);
        if (patch != nullptr)
            patch->after_block({.stage = PatchedBlock::Stage::Refiner,
                                .index = i,
                                .input = input,
                                .tokens = image.tokens,
                                .table = image.table,
                                .time = time});
    }
    LuminaTokens joined;
    joined.tokens = ghost::cat(tape, root_, std::array<Tensor, 2>{text.tokens, image.tokens}, 1);
    joined.table = ghost::cat(tape, root_, std::array<Tensor, 2>{text.table, image.table}, 1);
    return joined;
}

Tensor Lumina2Network::forward(Tape& tape, const StepInputs& in) const {
    const bool newer = since_033(tape);
    Tensor time = ghost::unary(tape, "rsub", root_, in.timesteps);
    Tensor padded = pad_to_patches(tape, root_, in.x, config_.patch_size);
    time = embed_time(tape, time, in.x.type());
    const std::unique_ptr<PatchRun> patch = newer ? begin_patch(tape, in) : nullptr;
    Tensor text;
    LuminaTokens tokens;
    if (newer) {
        tokens = refine_33000(tape, padded, in.context, time, patch.get());
    } else {
        text = embed_text(tape, in.context);
        tokens = refine_3064(tape, padded, text, time);
        padded = {};
    }
    const Tensor layers_input = newer ? tokens.tokens : Tensor();
    const std::int64_t patch_side = config_.patch_size;
    const std::int64_t image_tokens =
        padded.defined() ? padded.shape()[2] / patch_side * (padded.shape()[3] / patch_side) : 0;
    Tensor input;  // of the layer that ran last, where a patch reads it
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        if (patch) input = tokens.tokens;
        tokens.tokens = layers_[i].forward(tape, tokens.tokens, tokens.table, {}, time);
        if (!patch) continue;
        const auto of_image = [&](const Tensor& t) {
            return t.view(t.shape().with(1, image_tokens));
        };
        patch->after_block({.index = i,
                            .input = of_image(input),
                            .tokens = of_image(tokens.tokens),
                            .table = of_image(tokens.table),
                            .time = time});
    }
    tokens.tokens = forward_final(tape, tokens.tokens, time);
    const Tensor image = unpatchify(tape, tokens.tokens, in.x);
    tokens.tokens = {};
    return ghost::unary(tape, "neg", root_, image.view(in.x.shape()));
}

Tensor Lumina2Network::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_act_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor modulated = [&] {
        const Tensor normal = final_norm_.forward(tape, x);
        return scaled(tape, final_, normal, modulation.view({x.shape()[0], 1, config_.dim}));
    }();
    return final_linear_.forward(tape, modulated);
}

// Image by image, then stacked.
Tensor Lumina2Network::unpatchify(Tape& tape, const Tensor& tokens, const Tensor& like) const {
    const std::int64_t patch = config_.patch_size;
    const Shape& s = like.shape();
    const std::int64_t rows = (s[2] + patch - 1) / patch;
    const std::int64_t columns = (s[3] + patch - 1) / patch;
    const Tensor own = tokens.view({1, rows * columns, tokens.shape().last()});
    std::vector<Tensor> images;
    images.reserve(static_cast<std::size_t>(s[0]));
    for (std::int64_t i = 0; i < s[0]; ++i)
        images.push_back(from_tokens(tape, root_, own, config_.in_channels, rows, columns, patch));
    const Shape stacked{s[0], config_.in_channels, rows * patch, columns * patch};
    Tensor out = tape.make(stacked, tokens.type(), "stack", root_);
    tape.charge(OpClass::Copy, "stack", root_, 0, 2 * out.bytes());
    return out;
}

Result<std::shared_ptr<const Denoiser>> build_lumina2(const Lumina2Config& c) {
    const bool sound = within(c.patch_size, 1, kPatchMax) && within(c.in_channels, 1, kWidthMax) &&
                       within(c.dim, 1, kWidthMax) && within(c.n_layers, 0, kDepthMax) &&
                       within(c.n_refiner_layers, 0, kDepthMax) && within(c.n_heads, 1, c.dim) &&
                       c.dim % c.n_heads == 0 && within(c.n_kv_heads, 1, c.n_heads) &&
                       c.n_heads % c.n_kv_heads == 0 && within(c.multiple_of, 1, kWidthMax) &&
                       c.ffn_dim_multiplier > 0 && c.ffn_dim_multiplier <= kMlpRatioMax &&
                       within(c.cap_feat_dim, 1, kWidthMax) && c.axes_dims.size() == 3 &&
                       rotated_channels(c.axes_dims) == c.dim / c.n_heads &&
                       within(c.pad_tokens_multiple, 0, kWidthMax) && c.clip_text_dim == 0 &&
                       c.siglip_feat_dim == 0;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Lumina 2 of width {} with {} heads over {}, {} layers and patches "
                                "of {} cannot be",
                                c.dim, c.n_heads, c.n_kv_heads, c.n_layers, c.patch_size));
    return std::make_shared<const Lumina2Network>(c);
}

}  // namespace plimsoll::memory
