// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/mage_flow.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::MageFlowConfig;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 10'000;      // of ComfyUI's shifted flow schedule
constexpr std::int64_t kAxes = 3;

}  // namespace

MageFlowNetwork::MageFlowNetwork(const MageFlowConfig& c)
    : config_(c),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim},
      root_(registry_.path("", "")),
      pe_(registry_.path("pe_embedder", "")),
      time_(registry_.path("time_text_embed", "")),
      time_proj_(registry_.path("time_text_embed", "time_proj")),
      time_in_(registry_, registry_.path("time_text_embed", "timestep_embedder.linear_1"),
               kTimestepWidth, widths_.hidden),
      time_act_(registry_.path("time_text_embed", "timestep_embedder.act")),
      time_out_(registry_, registry_.path("time_text_embed", "timestep_embedder.linear_2"),
                widths_.hidden, widths_.hidden),
      txt_norm_(registry_, registry_.path("txt_norm", ""), c.joint_attention_dim),
      img_in_(registry_, registry_.path("img_in", ""), c.in_channels, widths_.hidden),
      txt_in_(registry_, registry_.path("txt_in", ""), c.joint_attention_dim, widths_.hidden),
      blocks_([&] {
          std::vector<QwenBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer_blocks.{}", i), widths_);
          return blocks;
      }()),
      final_(registry_.path("norm_out", "")),
      final_act_(registry_.path("norm_out", "silu")),
      final_modulation_(registry_, registry_.path("norm_out", "linear"), widths_.hidden,
                        2 * widths_.hidden),
      final_norm_(registry_, registry_.path("norm_out", "norm"), widths_.hidden, Affine::No),
      proj_out_(registry_, registry_.path("proj_out", ""), widths_.hidden, c.out_channels) {}

StepInputs MageFlowNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.joint_attention_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> MageFlowNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// Around the image's middle, [N, cells, axes], written axis by axis.
Tensor MageFlowNetwork::image_positions(Tape& tape, std::int64_t batch, std::int64_t rows,
                                        std::int64_t columns) const {
    const ElementType f32 = ElementType::Float32;
    const Tensor ids = ghost::create(tape, "zeros", root_, {rows, columns, kAxes}, f32);
    const Tensor axis = ids.view({rows, columns});
    const auto write = [&](const Tensor& positions) {
        ghost::binary_in_place(tape, "copy_", root_, axis, positions);
    };
    write(ghost::create(tape, "scalar_tensor", root_, {1}, f32));  // which image it is
    for (const std::int64_t length : {rows, columns}) {
        Tensor positions = [&] {
            const Tensor steps = ghost::create(tape, "arange", root_, {length}, ElementType::Int64);
            return ghost::combine(tape, "add", root_, {&axis, &steps}, axis.shape(), f32);
        }();
        positions = ghost::unary(tape, "sub", root_, positions);
        write(positions);
    }
    return ids.view({batch, rows * columns, kAxes});  // expanded over the batch, not copied
}

Tensor MageFlowNetwork::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    const Tensor waves = scaled_timestep_embedding(tape, time_proj_, timesteps, kTimestepWidth);
    const Tensor cast = ghost::to_type(tape, time_, waves, type);
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, cast);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

Tensor MageFlowNetwork::forward_final(Tape& tape, const Tensor& img, const Tensor& time) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_act_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor normal = final_norm_.forward(tape, img);
    const Tensor part = modulation.view({img.shape()[0], 1, widths_.hidden});
    return modulate(tape, final_, normal, part, part);
}

Tensor MageFlowNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t text = in.context.shape()[1];
    Tensor ids = image_positions(tape, s[0], s[2], s[3]);
    Tensor text_ids =
        ghost::create(tape, "zeros", root_, {s[0], text, kAxes}, ElementType::Float32);
    // Tokens are the latent's cells, whose channels lie far apart.
    Tensor img = img_in_.forward_batched(tape, in.x.view({s[0], s[2] * s[3], s[1]}));
    Tensor txt = txt_norm_.forward(tape, in.context);
    txt = txt_in_.forward(tape, txt);
    QwenCondition condition;
    condition.timestep = embed_time(tape, in.timesteps, in.x.type());
    ids = ghost::cat(tape, root_, std::array<Tensor, 2>{text_ids, ids}, 1);
    condition.table = rope_table(tape, pe_, ids, config_.axes_dims_rope);
    ids = text_ids = {};
    for (const QwenBlock& block : blocks_) block.forward(tape, img, txt, condition);
    img = forward_final(tape, img, condition.timestep);
    img = proj_out_.forward(tape, img);
    return img.view({s[0], config_.out_channels, s[2], s[3]});
}

Result<std::shared_ptr<const Denoiser>> build_mage_flow(const MageFlowConfig& c) {
    const bool sound =
        within(c.in_channels, 1, kWidthMax) && within(c.out_channels, 1, kWidthMax) &&
        within(c.num_layers, 0, kDepthMax) && within(c.attention_head_dim, 1, kWidthMax) &&
        within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
        within(c.joint_attention_dim, 1, kWidthMax) && c.axes_dims_rope.size() == kAxes &&
        rotated_channels(c.axes_dims_rope) == c.attention_head_dim;
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("Mage-Flow with {} blocks, {} heads of {} and {} channels cannot "
                        "be",
                        c.num_layers, c.num_attention_heads, c.attention_head_dim, c.in_channels));
    return std::make_shared<const MageFlowNetwork>(c);
}

}  // namespace plimsoll::memory
