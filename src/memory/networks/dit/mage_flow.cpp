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

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
constexpr std::int64_t kAxes = 3;

}  // namespace

MageFlowNetwork::MageFlowNetwork(const MageFlowConfig& c)
    : config_(c),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim},
      trunk_(registry_, widths_, c.num_layers, c.in_channels, c.joint_attention_dim),
      head_(registry_, widths_.hidden, c.out_channels) {}

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
    const Tensor ids = ghost::create(tape, "zeros", trunk_.root, {rows, columns, kAxes}, f32);
    const Tensor axis = ids.view({rows, columns});
    const auto write = [&](const Tensor& positions) {
        ghost::binary_in_place(tape, "copy_", trunk_.root, axis, positions);
    };
    write(ghost::create(tape, "scalar_tensor", trunk_.root, {1}, f32));  // which image it is
    for (const std::int64_t length : {rows, columns}) {
        Tensor positions = [&] {
            const Tensor steps =
                ghost::create(tape, "arange", trunk_.root, {length}, ElementType::Int64);
            return ghost::combine(tape, "add", trunk_.root, {&axis, &steps}, axis.shape(), f32);
        }();
        positions = ghost::unary(tape, "sub", trunk_.root, positions);
        write(positions);
    }
    return ids.view({batch, rows * columns, kAxes});  // expanded over the batch, not copied
}

Tensor MageFlowNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t text = in.context.shape()[1];
    Tensor ids = image_positions(tape, s[0], s[2], s[3]);
    Tensor text_ids =
        ghost::create(tape, "zeros", trunk_.root, {s[0], text, kAxes}, ElementType::Float32);
    // Tokens are the latent's cells, whose channels lie far apart.
    Tensor img = trunk_.img_in.forward_batched(tape, in.x.view({s[0], s[2] * s[3], s[1]}));
    Tensor txt = trunk_.embed_text(tape, in.context);
    QwenCondition condition;
    condition.timestep = trunk_.embed_time(tape, in.timesteps, in.x.type());
    ids = ghost::cat(tape, trunk_.root, std::array<Tensor, 2>{text_ids, ids}, 1);
    condition.table = rope_table(tape, trunk_.pe, ids, config_.axes_dims_rope);
    ids = text_ids = {};
    for (const QwenBlock& block : trunk_.blocks) block.forward(tape, img, txt, condition);
    img = head_.forward(tape, std::move(img), condition.timestep);
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
