// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_controlnet.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kPatch = 2;
constexpr std::int64_t kHeadDim = 64;         // of Stable Diffusion 3's heads
constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kLatentChannels = 16;
constexpr std::int64_t kMlpRatio = 4;

std::int64_t tokens_along(std::int64_t cells) {
    return (cells + kPatch - 1) / kPatch;
}

std::vector<Linear> make_outs(Registry& r, int layers, std::int64_t hidden) {
    std::vector<Linear> outs;
    outs.reserve(static_cast<std::size_t>(layers));
    for (int i = 0; i < layers; ++i)
        outs.emplace_back(r, r.path("controlnet_blocks", std::to_string(i)), hidden, hidden);
    return outs;
}

std::vector<ControlNetNetwork::Output> token_outputs(std::size_t layers, std::int64_t batch,
                                                     std::int64_t height, std::int64_t width,
                                                     std::int64_t hidden) {
    const Shape tokens{batch, tokens_along(height) * tokens_along(width), hidden};
    return std::vector<ControlNetNetwork::Output>(layers, {tokens, false});
}

StepInputs qwen_inputs(Tape& tape, const StepCall& call, std::int64_t text) {
    const ElementType f32 = ElementType::Float32;
    StepInputs in;
    in.x = tape.input({call.batch, kLatentChannels, 1, call.latent_height, call.latent_width}, f32);
    in.timesteps = tape.input({call.batch}, f32);
    in.context = tape.input({call.batch, call.tokens, text}, f32);
    return in;
}

}  // namespace

QwenControlNet::QwenControlNet(const modelfile::QwenControlConfig& c)
    : config_(c),
      base_(c.base()),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim},
      trunk_(registry_, widths_, c.num_layers, c.in_channels, c.joint_attention_dim),
      outs_(make_outs(registry_, c.num_layers, widths_.hidden)),
      hint_in_(registry_, registry_.path("controlnet_x_embedder", ""),
               std::int64_t{c.in_channels} + c.extra_condition_channels, widths_.hidden) {}

std::vector<ControlNetNetwork::Output> QwenControlNet::output_shapes(std::int64_t batch,
                                                                     std::int64_t height,
                                                                     std::int64_t width) const {
    return token_outputs(outs_.size(), batch, height, width, widths_.hidden);
}

StepInputs QwenControlNet::make_inputs(Tape& tape, const StepCall& call) const {
    return qwen_inputs(tape, call, config_.joint_attention_dim);
}

// Repeated to the whole batch before the network sees it.
Tensor QwenControlNet::make_hint(Tape& tape, const StepCall& call, std::int64_t /*batch*/) const {
    const std::int64_t channels =
        (std::int64_t{config_.in_channels} + config_.extra_condition_channels) / (kPatch * kPatch);
    return tape.input({call.batch, channels, 1, call.latent_height, call.latent_width},
                      tape.compute());
}

ControlTensors QwenControlNet::forward(Tape& tape, const ControlInputs& in) const {
    const Module root = trunk_.root;
    QwenTrunk::Tokens image = trunk_.tokens_of(tape, in.x, kPatch);
    const QwenTrunk::Tokens hint = trunk_.tokens_of(tape, in.hint, kPatch);
    QwenCondition condition;
    condition.own = image.tokens.shape()[1];
    condition.table =
        trunk_.position_table(tape, in.context, image.ids, base_.axes_dims_rope, in.x.type());
    image.ids = {};
    Tensor img = [&] {
        const Tensor own = trunk_.img_in.forward(tape, image.tokens);
        const Tensor added = hint_in_.forward(tape, hint.tokens);
        return ghost::binary(tape, "add", root, own, added);
    }();
    image = {};
    Tensor txt = trunk_.embed_text(tape, in.context);
    condition.timestep = trunk_.embed_time(tape, in.timesteps, in.x.type());
    ControlTensors control;
    for (std::size_t i = 0; i < outs_.size(); ++i) {
        trunk_.blocks[i].forward(tape, img, txt, condition);
        control.output.push_back(outs_[i].forward(tape, img));
    }
    return control;
}

QwenFunControlNet::QwenFunControlNet(const modelfile::QwenFunControlConfig& c)
    : config_(c),
      base_config_(c.base()),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim},
      root_(registry_.path("", "")),
      base_(base_registry_, widths_, 0, base_config_.in_channels, base_config_.joint_attention_dim),
      hint_in_(registry_, registry_.path("control_img_in", ""), c.hint_channels, widths_.hidden) {
    blocks_.reserve(static_cast<std::size_t>(c.num_blocks));
    for (int i = 0; i < c.num_blocks; ++i) {
        const std::string path = fmt::format("control_blocks.{}", i);
        const QwenBlock block(registry_, path, widths_);
        std::optional<Linear> before;
        if (i == 0)
            before.emplace(registry_, registry_.path(path, "before_proj"), widths_.hidden,
                           widths_.hidden);
        const Linear after(registry_, registry_.path(path, "after_proj"), widths_.hidden,
                           widths_.hidden);
        blocks_.push_back({registry_.path(path, ""), block, before, after});
    }
}

std::vector<ControlNetNetwork::Output> QwenFunControlNet::output_shapes(std::int64_t batch,
                                                                        std::int64_t height,
                                                                        std::int64_t width) const {
    return token_outputs(blocks_.size(), batch, height, width, widths_.hidden);
}

StepInputs QwenFunControlNet::make_inputs(Tape& tape, const StepCall& call) const {
    return qwen_inputs(tape, call, base_config_.joint_attention_dim);
}

Tensor QwenFunControlNet::make_hint(Tape& tape, const StepCall& call,
                                    std::int64_t /*batch*/) const {
    return tape.input({call.batch, kLatentChannels, 1, call.latent_height, call.latent_width},
                      tape.compute());
}

Tensor QwenFunControlNet::hint_tokens(Tape& tape, const Tensor& hint) const {
    const Shape& s = hint.shape();
    const std::int64_t channels = config_.hint_channels / (kPatch * kPatch);
    Tensor latent = hint;
    if (channels > s[1]) {
        const Tensor rest =
            ghost::create(tape, "zeros_like", root_, s.with(1, channels - s[1]), hint.type());
        latent = ghost::cat(tape, root_, std::array<Tensor, 2>{hint, rest}, 1);
    }
    const Tensor padded =
        pad_to_patches(tape, root_, latent.view({s[0], channels, s[3], s[4]}), kPatch);
    return to_tokens(tape, root_, padded, kPatch);
}

// The results stand in one tensor with the tokens that the next block takes, which each block makes
// anew: the controlled network is handed views of the last.
ControlTensors QwenFunControlNet::forward(Tape& tape, const ControlInputs& in) const {
    QwenTrunk::Tokens image = base_.tokens_of(tape, in.x, kPatch);
    const Tensor hint = hint_tokens(tape, in.hint);
    QwenCondition condition;
    condition.own = image.tokens.shape()[1];
    condition.table =
        base_.position_table(tape, in.context, image.ids, base_config_.axes_dims_rope, in.x.type());
    image.tokens = base_.img_in.forward(tape, image.tokens);
    Tensor txt = base_.embed_text(tape, in.context);
    condition.timestep = base_.embed_time(tape, in.timesteps, in.x.type());
    const Tensor c = hint_in_.forward(tape, hint);
    const Shape tokens = image.tokens.shape();
    Tensor stacked;
    Tensor into;
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        const Block& block = blocks_[i];
        if (block.before) {
            const Tensor before = block.before->forward(tape, c);
            into = ghost::binary(tape, "add", root_, before, image.tokens);
        } else {
            into = stacked.view(tokens);
        }
        Tensor out = into;
        block.block.forward(tape, out, txt, condition);
        const Tensor skip = [&] {
            const Tensor projected = block.after.forward(tape, out);
            return ghost::unary(tape, "mul", root_, projected);
        }();
        const auto count = static_cast<std::int64_t>(i);
        Tensor next =
            tape.make({count + 2, tokens[0], tokens[1], tokens[2]}, out.type(), "stack", root_);
        tape.charge(OpClass::Copy, "stack", root_, 0, 2 * next.bytes());
        stacked = std::move(next);
    }
    ControlTensors control;
    control.output.assign(blocks_.size(), stacked.view(tokens));
    control.once = true;
    return control;
}

Sd35ControlNet::Sd35ControlNet(const modelfile::Sd35ControlConfig& c)
    : config_(c),
      widths_{.hidden = kHeadDim * c.depth,
              .heads = c.depth,
              .mlp = kMlpRatio * kHeadDim * c.depth,
              .qk_norm = false},
      root_(registry_.path("", "")),
      x_embedder_(registry_.path("x_embedder", "")),
      x_proj_(registry_, registry_.path("x_embedder", "proj"), c.in_channels, widths_.hidden,
              {.kernel = kPatch, .stride = kPatch, .padding = 0}),
      t_embedder_(registry_, "t_embedder", kTimestepWidth, widths_.hidden, Bias::Yes,
                  kSequentialMlp),
      orig_y_embedder_(registry_, "orig_y_embedder", c.adm_in_channels, widths_.hidden, Bias::Yes,
                       kSequentialMlp),
      y_embedder_(registry_, "y_embedder", widths_.hidden, widths_.hidden, Bias::Yes,
                  kSequentialMlp),
      blocks_([&] {
          std::vector<Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i) {
              const std::string path = fmt::format("transformer_blocks.{}", i);
              blocks.push_back(
                  {registry_.path(path, ""),
                   MmditStream(registry_, path, widths_,
                               {.alone = true, .layout = MmditLayout::ChannelsFirst})});
          }
          return blocks;
      }()),
      outs_(make_outs(registry_, c.num_layers, widths_.hidden)),
      hint_embedder_(registry_.path("pos_embed_input", "")),
      hint_proj_(registry_, registry_.path("pos_embed_input", "proj"), c.in_channels,
                 widths_.hidden, {.kernel = kPatch, .stride = kPatch, .padding = 0}) {}

std::vector<ControlNetNetwork::Output> Sd35ControlNet::output_shapes(std::int64_t batch,
                                                                     std::int64_t height,
                                                                     std::int64_t width) const {
    return token_outputs(outs_.size(), batch, height, width, widths_.hidden);
}

StepInputs Sd35ControlNet::make_inputs(Tape& tape, const StepCall& call) const {
    constexpr std::int64_t kTextWidth = 4096;  // handed in, though the network has no use for it
    const ElementType f32 = ElementType::Float32;
    StepInputs in;
    in.x =
        tape.input({call.batch, config_.in_channels, call.latent_height, call.latent_width}, f32);
    in.timesteps = tape.input({call.batch}, f32);
    in.context = tape.input({call.batch, call.tokens, kTextWidth}, f32);
    in.y = tape.input({call.batch, config_.adm_in_channels}, f32);
    return in;
}

Tensor Sd35ControlNet::make_hint(Tape& tape, const StepCall& call, std::int64_t /*batch*/) const {
    return tape.input({call.batch, config_.in_channels, call.latent_height, call.latent_width},
                      tape.compute());
}

Tensor Sd35ControlNet::embed(Tape& tape, Module module, const Conv2d& proj,
                             const Tensor& latent) const {
    const Tensor patches = [&] {
        const Tensor padded = pad_to_patches(tape, module, latent, kPatch);
        return proj.forward(tape, padded);
    }();
    const Shape& s = patches.shape();
    return patches.view({s[0], s[2] * s[3], widths_.hidden});
}

Tensor Sd35ControlNet::run_block(Tape& tape, const Block& block, const Tensor& x,
                                 const Tensor& c) const {
    const MmditStream::Prepared prepared = block.stream.before(tape, block.path, x, c);
    const Shape& s = prepared.qkv.v.shape();
    const Tensor attn = ghost::attention(
        tape, block.path, prepared.qkv.q, prepared.qkv.k, prepared.qkv.v,
        {.batch = s[0], .heads = s[2], .queries = s[1], .keys = s[1], .head_dim = s[3]});
    return block.stream.after(tape, block.path, x, attn.view(x.shape()), {}, prepared.modulation);
}

ControlTensors Sd35ControlNet::forward(Tape& tape, const ControlInputs& in) const {
    Tensor x = embed(tape, x_embedder_, x_proj_, in.x);
    Tensor c = [&] {
        Tensor waves = timestep_embedding(tape, t_embedder_.path(), in.timesteps, kTimestepWidth);
        waves = ghost::to_type(tape, t_embedder_.path(), waves, x.type());
        return t_embedder_.forward(tape, waves);
    }();
    const Tensor y = y_embedder_.forward(tape, orig_y_embedder_.forward(tape, in.y));
    c = ghost::binary(tape, "add", root_, c, y);
    const Tensor hint = embed(tape, hint_embedder_, hint_proj_, in.hint);
    x = ghost::binary(tape, "add", root_, x, hint);
    ControlTensors control;
    Tensor out;  // lives until the next block has run
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        out = run_block(tape, blocks_[i], x, c);
        control.output.push_back(outs_[i].forward(tape, out));
    }
    return control;
}

Result<std::shared_ptr<const ControlNetNetwork>> build_qwen_controlnet(
    const modelfile::QwenControlConfig& c) {
    const bool sound = within(c.num_layers, 1, kDepthMax) &&
                       within(c.attention_head_dim, 1, kWidthMax) &&
                       within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
                       within(c.joint_attention_dim, 1, kWidthMax) &&
                       c.in_channels == kLatentChannels * kPatch * kPatch &&
                       within(c.extra_condition_channels, 0, kWidthMax) &&
                       c.extra_condition_channels % (kPatch * kPatch) == 0 &&
                       rotated_channels(c.base().axes_dims_rope) == c.attention_head_dim;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a ControlNet of Qwen-Image with {} blocks, {} heads of {} and "
                                "tokens of {} + {} cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim,
                                c.in_channels, c.extra_condition_channels));
    return std::make_shared<const QwenControlNet>(c);
}

Result<std::shared_ptr<const ControlNetNetwork>> build_qwen_fun_controlnet(
    const modelfile::QwenFunControlConfig& c) {
    const bool sound = within(c.num_blocks, 1, kDepthMax) &&
                       within(c.attention_head_dim, 1, kWidthMax) &&
                       within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
                       within(c.hint_channels, kLatentChannels * kPatch * kPatch, kWidthMax) &&
                       c.hint_channels % (kPatch * kPatch) == 0 &&
                       rotated_channels(c.base().axes_dims_rope) == c.attention_head_dim;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a Fun ControlNet of Qwen-Image with {} blocks, {} heads of {} and "
                                "hints of {} cannot be",
                                c.num_blocks, c.num_attention_heads, c.attention_head_dim,
                                c.hint_channels));
    return std::make_shared<const QwenFunControlNet>(c);
}

Result<std::shared_ptr<const ControlNetNetwork>> build_sd35_controlnet(
    const modelfile::Sd35ControlConfig& c) {
    const bool sound = within(c.num_layers, 1, kDepthMax) && within(c.depth, 1, kDepthMax) &&
                       within(c.in_channels, 1, kWidthMax) &&
                       within(c.adm_in_channels, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a ControlNet of Stable Diffusion 3.5 with {} blocks for {} "
                                "cannot be",
                                c.num_layers, c.depth));
    return std::make_shared<const Sd35ControlNet>(c);
}

}  // namespace plimsoll::memory
