// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltxv.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kSets = 6;        // shift, scale, gate of attention and feed-forward
constexpr std::int64_t kSetsFinal = 2;   // shift, scale
constexpr std::int64_t kSigmas = 10000;  // of ComfyUI's flow schedule with a shift of its own

std::int64_t hidden_width(const modelfile::LtxvConfig& c) {
    return std::int64_t{c.num_attention_heads} * c.attention_head_dim;
}

LtxAttentionShape attention_shape(const modelfile::LtxvConfig& c, std::int64_t context_width) {
    return {.query_width = hidden_width(c),
            .context_width = context_width,
            .heads = c.num_attention_heads,
            .head_dim = c.attention_head_dim,
            .gated = false};
}

}  // namespace

LtxvBlock::LtxvBlock(Registry& r, std::string_view path, const modelfile::LtxvConfig& c)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "BasicTransformerBlock", kSets * hidden_width(c),
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      attn1_(r, *r.path(path, "attn1"), attention_shape(c, hidden_width(c))),
      ff_(r, *r.path(path, "ff"), hidden_width(c)),
      attn2_(r, *r.path(path, "attn2"), attention_shape(c, c.cross_attention_dim)) {}

void LtxvBlock::forward(Tape& tape, const Tensor& x, const LtxvCondition& given) const {
    const Tensor sum = ltx_table_sum(tape, path_, given.timestep, kSets);
    const Tensor part = ltx_part(sum);
    const auto add_gated = [&](const Tensor& update) {
        const Tensor gated =
            ghost::combine(tape, "mul", path_, {&update, &part}, update.shape(), update.type());
        ghost::binary_in_place(tape, "add_", path_, x, gated);
    };
    Tensor in = ltx_modulated(tape, path_, x, part, part);
    {
        const Tensor update = attn1_.forward(tape, in, {.rope = &given.rope});
        if (!since_033(tape)) in = {};
        add_gated(update);
    }
    {
        const Tensor update =
            attn2_.forward(tape, x, {.context = &given.context, .mask = &given.mask});
        ghost::binary_in_place(tape, "add_", path_, x, update);
    }
    if (!since_033(tape)) {
        const Tensor modulated = ltx_modulated(tape, path_, x, part, part);
        add_gated(ff_.forward(tape, modulated));
        return;
    }
    const Tensor modulated = [&] {
        const Tensor normal = rms_norm(tape, path_, x, Affine::No);
        return ghost::combine(tape, "addcmul", path_, {&normal, &normal, &part}, x.shape(),
                              x.type());
    }();
    ghost::binary_in_place(tape, "add_", path_, modulated, part);
    const Tensor update = ff_.forward(tape, modulated);
    ghost::combine_in_place(tape, "addcmul_", path_, x, {&update, &part});
}

LtxvNetwork::LtxvNetwork(const modelfile::LtxvConfig& c)
    : config_(c),
      hidden_(hidden_width(c)),
      root_([&] {
          const Module own = registry_.path("", "");
          registry_.add_own_parameters(own, "LTXVModel", kSetsFinal * hidden_width(c),
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      patchify_proj_(registry_, registry_.path("patchify_proj", ""), c.in_channels, hidden_),
      adaln_single_(registry_, "adaln_single", hidden_, kSets),
      caption_projection_(registry_, "caption_projection", c.caption_channels, hidden_),
      blocks_([&] {
          std::vector<LtxvBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer_blocks.{}", i), c);
          return blocks;
      }()),
      head_(registry_, registry_.path("norm_out", ""), registry_.path("proj_out", ""), hidden_,
            c.in_channels) {}

StepInputs LtxvNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const std::int64_t cells =
        std::int64_t{call.latent_frames} * call.latent_height * call.latent_width;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_frames, call.latent_height,
                       call.latent_width},
                      wish.type);
    in.timesteps =
        tape.input(call.timestep_per_token ? Shape{wish.batch, cells} : Shape{wish.batch},
                   ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.caption_channels}, wish.type);
    // Which text tokens are padding, as the tokenizer counts them.
    in.more.push_back(tape.input({wish.cond_batch, call.tokens}, ElementType::Int64));
    return in;
}

std::vector<ModuleEntry> LtxvNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

LtxRope LtxvNetwork::embed_positions(Tape& tape, const Tensor& seconds, ElementType type) const {
    return ltx_rope(tape, root_, seconds,
                    {.heads = config_.num_attention_heads,
                     .hidden = hidden_,
                     .middle = config_.use_middle_indices_grid},
                    type);
}

// 0 where a token counts, the type's least number where not.
Tensor LtxvNetwork::attention_mask(Tape& tape, const Tensor& given, ElementType type) const {
    const Shape& s = given.shape();
    const Tensor cast = [&] {
        const Tensor less = ghost::unary(tape, "sub", root_, given);
        return ghost::to_type(tape, root_, less, type);
    }();
    return ghost::unary(tape, "mul", root_, cast).view({s[0], 1, 1, s[1]});
}

LtxTimestep::Rows LtxvNetwork::embed_time(Tape& tape, const Tensor& timesteps, std::int64_t batch,
                                          ElementType type) const {
    LtxTimestep::Rows rows = adaln_single_.forward(tape, timesteps, type);
    const std::int64_t each = timesteps.elements() / batch;
    rows.projected = rows.projected.view({batch, each, kSets * hidden_});
    rows.embedded = rows.embedded.view({batch, each, hidden_});
    return rows;
}

Tensor LtxvNetwork::forward(Tape& tape, const StepInputs& in) const {
    const bool newer = since_033(tape);
    const Shape& s = in.x.shape();
    const std::int64_t batch = s[0];
    const ElementType type = in.x.type();
    LtxCoordinates coordinates =
        ltx_coordinates(tape, root_, batch, {s[2], s[3], s[4]},
                        config_.causal_temporal_positioning ? CausalTime::Yes : CausalTime::No);
    Tensor seconds;
    if (!newer) seconds = ltx_fractional(tape, root_, coordinates.pixel);
    const Tensor cells = in.x.view({batch, s[2] * s[3] * s[4], s[1]});
    Tensor x = patchify_proj_.forward_transposed(tape, cells);
    if (newer) coordinates.latent = {};

    LtxvCondition given;
    LtxTimestep::Rows time;
    const auto embed_text = [&] { given.context = caption_projection_.forward(tape, in.context); };
    {
        const Tensor scaled = ghost::unary(tape, "mul", root_, in.timesteps);
        if (!newer) {
            given.mask = attention_mask(tape, in.more.front(), type);
            given.rope = embed_positions(tape, seconds, type);
        }
        time = embed_time(tape, scaled, batch, type);
    }
    embed_text();
    if (newer) {
        given.mask = attention_mask(tape, in.more.front(), type);
        given.rope = embed_positions(tape, ltx_fractional(tape, root_, coordinates.pixel), type);
    }
    given.timestep = time.projected;
    time.projected = {};
    for (const LtxvBlock& block : blocks_) block.forward(tape, x, given);
    return head_.forward(tape, root_, std::move(x), time.embedded).view(s);
}

Result<std::shared_ptr<const Denoiser>> build_ltxv(const modelfile::LtxvConfig& c) {
    const bool plain = !c.cross_attention_adaln && !c.apply_gated_attention && c.ff_bias &&
                       !c.caption_proj_before_connector && !c.use_keyframes_abs_pos_embedding &&
                       c.rope_type == "interleaved" && c.frequencies_precision == "float32";
    const bool sound =
        plain && within(c.in_channels, 1, kWidthMax) && within(c.num_layers, 0, kDepthMax) &&
        within(c.attention_head_dim, 2, kWidthMax) && c.attention_head_dim % 2 == 0 &&
        within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
        hidden_width(c) >= 6 && c.cross_attention_dim == hidden_width(c) &&
        within(c.caption_channels, 1, kWidthMax) && c.positional_embedding_max_pos.size() == 3;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("LTX-Video with {} blocks, {} heads of {}, {} channels and text of "
                                "{} cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim,
                                c.in_channels, c.cross_attention_dim));
    return std::make_shared<const LtxvNetwork>(c);
}

}  // namespace plimsoll::memory
