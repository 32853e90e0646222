// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/flux.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 10'000;      // of ComfyUI's shifted flow schedule
constexpr std::int64_t kSigmasPlain = 1000;   // of its plain one
}  // namespace

FluxTrunk::FluxTrunk(Registry& r, const modelfile::FluxConfig& c)
    : widths{.hidden = c.hidden_size,
             .heads = c.num_heads,
             .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
             .qkv_bias = c.qkv_bias ? Bias::Yes : Bias::No,
             .bias = c.ops_bias ? Bias::Yes : Bias::No,
             .mlp_kind = c.yak_mlp        ? FluxMlp::SplitSilu
                         : c.mlp_silu_act ? FluxMlp::GatedSilu
                                          : FluxMlp::Gelu,
             .modulated = c.global_modulation ? Modulated::FromOutside : Modulated::ByTheBlock},
      root(r.path("", "")),
      pe(r.path("pe_embedder", "")),
      img_in(r, r.path("img_in", ""), std::int64_t{c.in_channels} * c.patch_size * c.patch_size,
             c.hidden_size, widths.bias),
      time_in(r, "time_in", kTimestepWidth, c.hidden_size, widths.bias),
      vector_in(c.vec_in_dim > 0
                    ? std::optional<MlpEmbedder>(std::in_place, r, "vector_in", c.vec_in_dim,
                                                 c.hidden_size, widths.bias)
                    : std::nullopt),
      guidance_in(c.guidance_embed
                      ? std::optional<MlpEmbedder>(std::in_place, r, "guidance_in", kTimestepWidth,
                                                   c.hidden_size, widths.bias)
                      : std::nullopt),
      txt_norm(c.txt_norm ? std::optional<RmsNorm>(std::in_place, r, r.path("txt_norm", ""),
                                                   c.context_in_dim)
                          : std::nullopt),
      txt_in(r, r.path("txt_in", ""), c.context_in_dim, c.hidden_size, widths.bias),
      double_blocks(make_flux_blocks<FluxDoubleBlock>(r, "double_blocks", c.depth, widths)),
      single_blocks(
          make_flux_blocks<FluxSingleBlock>(r, "single_blocks", c.depth_single_blocks, widths)) {}

Tensor FluxTrunk::embed_condition(Tape& tape, const Tensor& timesteps, const Tensor& guidance,
                                  const Tensor& y, ElementType type) const {
    const auto embed = [&](const MlpEmbedder& embedder, const Tensor& t) {
        Tensor waves = [&] {
            const Tensor scaled = ghost::unary(tape, "mul", root, t);
            return timestep_embedding(tape, root, scaled, kTimestepWidth, t.type());
        }();
        waves = ghost::to_type(tape, root, waves, type);
        return embedder.forward(tape, waves);
    };
    Tensor vec = embed(time_in, timesteps);
    if (guidance_in && guidance.defined()) {
        const Tensor guided = embed(*guidance_in, guidance);
        vec = ghost::binary(tape, "add", root, vec, guided);
    }
    if (vector_in) vec = ghost::binary(tape, "add", root, vec, vector_in->forward(tape, y));
    return vec;
}

FluxNetwork::FluxNetwork(const modelfile::FluxConfig& c)
    : config_(c),
      trunk_(registry_, c),
      final_layer_(registry_, "final_layer", trunk_.widths,
                   std::int64_t{c.out_channels} * c.patch_size * c.patch_size,
                   Modulated::ByTheBlock) {
    if (!c.global_modulation) return;
    const auto shared = [&](std::string_view path, int sets) {
        return FluxModulation(registry_, path, c.hidden_size, sets, trunk_.widths.bias);
    };
    modulation_ = {.img = shared("double_stream_modulation_img", 2),
                   .txt = shared("double_stream_modulation_txt", 2),
                   .single = shared("single_stream_modulation", 1)};
}

StepInputs FluxNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    // Beyond the latent: a mask and what it hides (Fill), or a control image.
    const std::int64_t latent = config_.out_channels;
    const std::int64_t more = config_.in_channels - latent;
    StepInputs in;
    in.x = tape.input(
        {wish.batch, wish.joined ? latent + more : latent, call.latent_height, call.latent_width},
        wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    if (trunk_.vector_in) in.y = tape.input({wish.cond_batch, config_.vec_in_dim}, wish.type);
    if (trunk_.guidance_in) in.guidance = tape.input({wish.cond_batch}, wish.type);
    if (more > 0 && !wish.joined)
        in.concat =
            tape.input({wish.batch, more, call.latent_height, call.latent_width}, wish.type);
    for (const LatentExtent& reference : call.references)
        in.references.push_back(
            tape.input({wish.cond_batch, latent, reference.height, reference.width}, wish.type));
    return in;
}

std::vector<ModuleEntry> FluxNetwork::model_buffers() const {
    return {sigma_table(plain_schedule() ? kSigmasPlain : kSigmas)};
}

Tensor FluxNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Module root = trunk_.root;
    const std::int64_t patch = config_.patch_size;
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t rows = (in.x.shape()[2] + patch - 1) / patch;
    const std::int64_t columns = (in.x.shape()[3] + patch - 1) / patch;
    const std::int64_t own_tokens = rows * columns;

    const PositionIds positions{.axes = static_cast<std::int64_t>(config_.axes_dim.size()),
                                .type = since_033(tape) ? ElementType::Float32 : in.x.type()};
    struct Tokens {
        Tensor tokens;
        Tensor ids;
    };
    const auto process = [&](const Tensor& latent) -> Tokens {
        const Tensor padded = pad_to_patches(tape, root, latent, patch);
        Tensor tokens = to_tokens(tape, root, padded, patch);
        return {std::move(tokens),
                image_ids(tape, root, batch, padded.shape()[2] / patch, padded.shape()[3] / patch,
                          positions, ImageIndex::Written)};
    };
    auto [img, img_ids] = process(in.x);
    Tokens last;  // the loop's variables outlive it
    for (const Tensor& reference : in.references) {
        last = process(reference);
        img = ghost::cat(tape, root, std::array<Tensor, 2>{img, last.tokens}, 1);
        img_ids = ghost::cat(tape, root, std::array<Tensor, 2>{img_ids, last.ids}, 1);
    }
    const Tensor txt_ids =
        text_ids(tape, root, batch, in.context.shape()[1], positions, config_.txt_ids_dims.size());
    const Tensor out = forward_tokens(tape, in, img, img_ids, txt_ids);
    return from_tokens(tape, root, out.view({batch, own_tokens, out.shape().last()}),
                       config_.out_channels, rows, columns, patch);
}

// Between patches and patches: all of [N, image and reference tokens, channels]. The patches live
// on in the caller's frame.
Tensor FluxNetwork::forward_tokens(Tape& tape, const StepInputs& in, const Tensor& patches,
                                   const Tensor& img_ids, const Tensor& txt_ids) const {
    const Module root = trunk_.root;
    // Patches of one cell are a view of the latent, joined with references a tensor of their own.
    const bool strided = config_.patch_size == 1 && in.references.empty();
    Tensor img = strided ? trunk_.img_in.forward_batched(tape, patches)
                         : trunk_.img_in.forward(tape, patches);
    const Tensor vec = trunk_.embed_condition(tape, in.timesteps, in.guidance, in.y, in.x.type());
    Tensor txt = in.context;
    if (trunk_.txt_norm) txt = trunk_.txt_norm->forward(tape, txt);
    txt = trunk_.txt_in.forward(tape, txt);
    FluxCondition condition{vec, vec};
    if (modulation_)
        condition = {modulation_->img.forward(tape, vec), modulation_->txt.forward(tape, vec)};
    const Tensor ids = ghost::cat(tape, root, std::array<Tensor, 2>{txt_ids, img_ids}, 1);
    const Tensor pe = rope_table(tape, trunk_.pe, ids, config_.axes_dim);
    const std::size_t doubles = trunk_.double_blocks.size();
    for (std::size_t i = 0; i < doubles; ++i) {
        trunk_.double_blocks[i].forward(tape, img, txt, condition, pe);
        add_control(tape, root, in.control, i, doubles, img);
    }
    {
        const std::array<Tensor, 2> both = {txt, std::move(img)};
        img = ghost::cat(tape, root, both, 1);
    }
    if (modulation_) condition = {modulation_->single.forward(tape, vec), {}};
    const std::size_t singles = trunk_.single_blocks.size();
    for (std::size_t i = 0; i < singles; ++i) {
        trunk_.single_blocks[i].forward(tape, img, condition.img, pe);
        add_control_to_single(tape, root, in.control, i, singles, img);
    }
    return final_layer_.forward(
        tape, img.view({img.shape()[0], patches.shape()[1], config_.hidden_size}), vec);
}

Result<std::shared_ptr<const Denoiser>> build_flux(const modelfile::FluxConfig& c) {
    const bool sound = sound_flux(c) && within(c.vec_in_dim, 0, kWidthMax) &&
                       c.txt_ids_dims.size() <= c.axes_dim.size() && !(c.yak_mlp && c.mlp_silu_act);
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("Flux of width {} with {} heads, {} + {} blocks and patches of {} "
                        "cannot be",
                        c.hidden_size, c.num_heads, c.depth, c.depth_single_blocks, c.patch_size));
    return std::make_shared<const FluxNetwork>(c);
}

}  // namespace plimsoll::memory
