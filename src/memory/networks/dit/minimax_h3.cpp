// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/minimax_h3.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::MiniMaxH3Config;

namespace {

constexpr std::int64_t kSigmas = 1000;    // of ComfyUI's plain flow schedule
constexpr std::int64_t kModalities = 3;   // text, sound and video have modulations of their own
constexpr std::int64_t kModulations = 6;  // shift, scale and gate around both parts
constexpr std::int64_t kFinalModulations = 2;
constexpr std::int64_t kTimesteps = 2;  // of the video and of the sound; references have another
constexpr std::int64_t kAxes = 3;
constexpr std::int64_t kStereo = 2;

std::int64_t inner(const MiniMaxH3Config& c) {
    return std::int64_t{c.num_attention_heads} * c.attention_head_dim;
}

std::int64_t patch_cells(const MiniMaxH3Config& c) {
    return std::int64_t{c.patch_size[0]} * c.patch_size[1] * c.patch_size[2];
}

// The input and output layers and the time embedder are stored, and run, in fp32.
Linear fp32_linear(Registry& r, Registry& unlisted, Module path, std::int64_t in,
                   std::int64_t out) {
    r.add(path, "Linear", in * out + out, ModuleStorage::Float32);
    return {unlisted, path, in, out};
}

// The projections of time: of a pruned network they are small, and in fp32.
Linear modulation_linear(Registry& r, Registry& unlisted, const MiniMaxH3Config& c, Module path,
                         std::int64_t out) {
    if (c.adaln_curve_grid > 0) return fp32_linear(r, unlisted, path, c.time_embed_dim, out);
    return {r, path, c.time_embed_dim, out};
}

std::vector<MiniMaxBlock> make_blocks(Registry& r, Registry& unlisted, std::string_view name,
                                      int count, const MiniMaxH3Config& c,
                                      MiniMaxBlock::Modulated modulated) {
    std::vector<MiniMaxBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, unlisted, fmt::format("{}.{}", name, i), c, modulated);
    return blocks;
}

// A layer that may be stored in int8.
Linear block_linear(Registry& r, Registry& unlisted, bool int8, Module path, std::int64_t in,
                    std::int64_t out) {
    if (!int8) return {r, path, in, out, Bias::No};
    r.add_int8_linear(path, in, out, Bias::No);
    return {unlisted, path, in, out, Bias::No};
}

// Cells of a latent as patches; its sides are padded to whole ones.
std::int64_t patches_of(const Shape& latent, const MiniMaxH3Config& c) {
    std::int64_t patches = 1;
    for (std::size_t i = 0; i < c.patch_size.size(); ++i)
        patches *= (latent[i + 2] + c.patch_size[i] - 1) / c.patch_size[i];
    return patches;
}

Tensor stretch_of(const Tensor& x, std::int64_t tokens) {
    return x.view(x.shape().with(0, tokens));
}

}  // namespace

MiniMaxBlock::MiniMaxBlock(Registry& r, Registry& unlisted, std::string_view path,
                           const MiniMaxH3Config& c, Modulated modulated)
    : path_(r.path(path, "")),
      config_(c),
      int8_(c.int8_blocks && modulated == Modulated::Yes),
      norm1_(r, r.path(path, "norm1"), c.hidden_size),
      norm2_(r, r.path(path, "norm2"), c.hidden_size),
      attn_(r.path(path, "attn")),
      qkv_(block_linear(r, unlisted, int8_, r.path(path, "attn.qkv_proj"), c.hidden_size,
                        3 * inner(c))),
      q_norm_(r, r.path(path, "attn.q_norm"), c.attention_head_dim),
      k_norm_(r, r.path(path, "attn.k_norm"), c.attention_head_dim),
      out_(
          block_linear(r, unlisted, int8_, r.path(path, "attn.out_proj"), inner(c), c.hidden_size)),
      mlp_(r.path(path, "mlp")),
      fc1_(block_linear(r, unlisted, int8_, r.path(path, "mlp.fc1"), c.hidden_size,
                        2 * std::int64_t{c.ffn_hidden_size})),
      fc2_(block_linear(r, unlisted, int8_, r.path(path, "mlp.fc2"), c.ffn_hidden_size,
                        c.hidden_size)),
      adaln_(r.path(path, "adaln_proj")) {
    if (modulated == Modulated::Yes)
        adaln_linear_.push_back(modulation_linear(r, unlisted, c, r.path(path, "adaln_proj.linear"),
                                                  kModulations * kModalities * c.hidden_size));
}

// Layers in int8 multiply a copy of what they are given in int8, with a scale for each token.
Tensor MiniMaxBlock::project(Tape& tape, const Linear& layer, const Tensor& x) const {
    if (!int8_) return layer.forward(tape, x);
    const std::int64_t rows = x.elements() / x.shape().last();
    const Tensor copy = ghost::produce(tape, OpClass::Copy, "quantize", layer.path(), x, x.shape(),
                                       ElementType::Opaque);
    const Tensor scales =
        ghost::create(tape, "quantize", layer.path(), {rows, 1}, ElementType::Float32);
    return layer.forward(tape, x);
}

// Heads are rotated in part: what is rotated, by halves, is joined with the rest.
Tensor MiniMaxBlock::normalise_and_rotate(Tape& tape, const Tensor& x, const Tensor& table) const {
    const Tensor normal = rms_norm(tape, attn_, x, Affine::Yes);
    const Shape rotated_shape = x.shape().with_last(2 * kAxes * config_.rope_inv_freq_len);
    const Tensor part = normal.view(rotated_shape);
    const Tensor rotated = [&] {
        const Tensor sum = [&] {
            const Tensor column = table.view({table.elements() / 2});
            const Tensor half = part.view({part.elements() / 2});
            const auto product = [&] {
                return ghost::combine(tape, "mul", attn_, {&column, &half}, rotated_shape,
                                      x.type());
            };
            const Tensor first = product();
            const Tensor second = product();
            return ghost::binary(tape, "add", attn_, first, second);
        }();
        return ghost::clone(tape, attn_, sum, rotated_shape);
    }();
    const Tensor rest = normal.view(x.shape().with_last(x.shape().last() - rotated_shape.last()));
    return ghost::cat(tape, attn_, std::array<Tensor, 2>{rotated, rest}, 3);
}

Tensor MiniMaxBlock::attend(Tape& tape, const Tensor& x, const Tensor& table) const {
    const std::int64_t tokens = x.shape()[0];
    const std::int64_t heads = config_.num_attention_heads;
    // Query, key and value are views of one tensor, in which both are rotated.
    const Tensor qkv =
        project(tape, qkv_, x).view({1, tokens, heads, std::int64_t{config_.attention_head_dim}});
    if (tape.options().fused_rope) {
        for (int i = 0; i < 2; ++i) ghost::binary_in_place(tape, "rope", attn_, qkv, table);
    } else {
        const Tensor q = normalise_and_rotate(tape, qkv, table);
        const Tensor k = normalise_and_rotate(tape, qkv, table);
        for (const Tensor* rotated : {&q, &k})
            ghost::binary_in_place(tape, "copy_", attn_, qkv, *rotated);
    }
    const Tensor attended = ghost::attention(tape, attn_, qkv, qkv, qkv,
                                             {.batch = 1,
                                              .heads = heads,
                                              .queries = tokens,
                                              .keys = tokens,
                                              .head_dim = config_.attention_head_dim});
    return project(tape, out_, attended.view({tokens, inner(config_)}));
}

// The first layer's output lives on beside its gated half.
Tensor MiniMaxBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor both = project(tape, fc1_, x);
    const Tensor half = both.view(both.shape().with_last(config_.ffn_hidden_size));
    const Tensor active = ghost::unary(tape, "silu", mlp_, half);
    ghost::binary_in_place(tape, "mul_", mlp_, active, half);
    return project(tape, fc2_, active);
}

void MiniMaxBlock::forward(Tape& tape, const Tensor& x, const Tensor& time, const Tensor& table,
                           const MiniMaxSegments& segments) const {
    const Tensor modulation = [&] {
        if (config_.adaln_curve_grid > 0) return adaln_linear_.front().forward(tape, time);
        const Tensor active = ghost::unary(tape, "silu", adaln_, time);
        return adaln_linear_.front().forward(tape, active);
    }();
    const Tensor row = modulation.view({std::int64_t{config_.hidden_size}});
    const auto scale_and_shift = [&](const Tensor& h) {
        for (const std::int64_t tokens : segments) {
            const Tensor stretch = stretch_of(h, tokens);
            const Tensor factor = ghost::unary(tape, "add", path_, row);
            ghost::binary_in_place(tape, "mul_", path_, stretch, factor);
            ghost::binary_in_place(tape, "add_", path_, stretch, row);
        }
    };
    const auto add_gated = [&](const Tensor& update) {
        for (const std::int64_t tokens : segments) {
            const Tensor own = stretch_of(update, tokens);
            ghost::combine_in_place(tape, "addcmul_", path_, stretch_of(x, tokens), {&own, &row});
        }
    };
    Tensor h = norm1_.forward(tape, x);
    scale_and_shift(h);
    add_gated(attend(tape, h, table));
    h = norm2_.forward(tape, x);
    scale_and_shift(h);
    add_gated(feed_forward(tape, h));
}

MiniMaxH3Network::MiniMaxH3Network(const MiniMaxH3Config& c)
    : config_(c),
      root_([&] {
          const Module own = registry_.path("", "");
          if (c.int8_blocks) registry_.stay_in_16_bit();
          if (c.adaln_curve_grid > 0)
              registry_.add_buffer(own, "MiniMaxH3Model",
                                   std::int64_t{c.adaln_curve_grid} * c.time_embed_dim,
                                   ModuleStorage::Float32, Saved::Yes);
          return own;
      }()),
      video_in_(fp32_linear(registry_, unlisted_, registry_.path("video_patch_proj", ""),
                            patch_cells(c) * c.latents_dim, c.hidden_size)),
      audio_in_(fp32_linear(registry_, unlisted_, registry_.path("audio_patch_proj", ""),
                            c.audio_latents_dim, c.hidden_size)),
      condition_(registry_, registry_.path("condition_proj", ""), c.text_dim, c.hidden_size),
      time_(registry_.path("time_embedder", "")),
      time_mlp_([&] {
          std::vector<Linear> layers;
          if (c.adaln_curve_grid > 0) return layers;
          const auto add = [&](std::string_view name, std::int64_t in, std::int64_t out) {
              layers.push_back(fp32_linear(registry_, unlisted_,
                                           registry_.path("time_embedder", name), in, out));
          };
          add("proj_in", c.timestep_input_dim, c.time_embed_hidden_size);
          add("proj_out", c.time_embed_hidden_size, c.time_embed_dim);
          return layers;
      }()),
      refiner_([&] {
          registry_.add_buffer(registry_.path("rope", ""), "Module", c.rope_inv_freq_len,
                               ModuleStorage::Float32, Saved::Yes);
          return make_blocks(registry_, unlisted_, "token_refiner.blocks",
                             c.token_refiner_num_layers, c, MiniMaxBlock::Modulated::No);
      }()),
      refiner_norm_(registry_, registry_.path("token_refiner", "final_norm"), c.hidden_size),
      blocks_(make_blocks(registry_, unlisted_, "blocks", c.num_layers, c,
                          MiniMaxBlock::Modulated::Yes)),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm"), c.hidden_size),
      final_adaln_(registry_.path("final_layer", "adaln_proj")),
      final_modulation_(modulation_linear(registry_, unlisted_, c,
                                          registry_.path("final_layer", "adaln_proj.linear"),
                                          kFinalModulations * c.hidden_size)),
      video_out_(fp32_linear(registry_, unlisted_, registry_.path("final_layer", "video_out"),
                             c.hidden_size, patch_cells(c) * c.latents_dim)),
      audio_out_(fp32_linear(registry_, unlisted_, registry_.path("final_layer", "audio_out"),
                             c.hidden_size, c.audio_latents_dim)) {}

StepInputs MiniMaxH3Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.latents_dim, call.latent_frames, call.latent_height,
                       call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.hidden_size}, wish.type);
    in.more.push_back(tape.input(
        {wish.batch, config_.audio_latents_dim, kStereo, call.audio_latents}, wish.type));
    for (const LatentExtent& reference : call.references)
        in.references.push_back(tape.input(
            {1, config_.latents_dim, reference.frames, reference.height, reference.width},
            wish.type));
    return in;
}

std::vector<ModuleEntry> MiniMaxH3Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// Between two rows of the table that a pruned network has instead of its embedding.
Tensor MiniMaxH3Network::look_up_time(Tape& tape, const Tensor& timesteps) const {
    const Shape rows{timesteps.elements(), config_.time_embed_dim};
    Tensor place = ghost::unary(tape, "clamp", root_, timesteps);
    place = ghost::unary(tape, "mul", root_, place);
    Tensor below = ghost::unary(tape, "floor", root_, place);
    below = ghost::to_type(tape, root_, below, ElementType::Int64);
    below = ghost::unary(tape, "clamp", root_, below);
    const auto row = [&](const Tensor& index) {
        return ghost::produce(tape, OpClass::Copy, "index", root_, index, rows,
                              ElementType::Float32);
    };
    const Tensor low = row(below);
    const Tensor high = row(ghost::unary(tape, "add", root_, below));
    const Tensor weight = ghost::binary(tape, "sub", root_, place, below);
    return ghost::combine(tape, "lerp", root_, {&low, &high, &weight}, rows, ElementType::Float32);
}

Tensor MiniMaxH3Network::embed_time(Tape& tape, std::int64_t times, ElementType type) const {
    const std::int64_t half = config_.timestep_input_dim / 2;
    const ElementType f32 = ElementType::Float32;
    const Tensor timesteps = ghost::create(tape, "_to_copy", root_, {times}, f32);
    if (config_.adaln_curve_grid > 0) {
        tape.keep(timesteps);
        return look_up_time(tape, timesteps);
    }
    Tensor waves = [&] {
        Tensor frequencies = ghost::create(tape, "arange", time_, {half}, f32);
        for (const std::string_view op : {"mul", "div", "exp"})
            frequencies = ghost::unary(tape, op, time_, frequencies);
        const Tensor angles =
            ghost::combine(tape, "mul", time_, {&timesteps, &frequencies}, {times, half}, f32);
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", time_, angles),
                                            ghost::unary(tape, "sin", time_, angles)};
        return ghost::cat(tape, time_, both, 1);
    }();
    const Tensor wide = [&] {
        const Tensor hidden = [&] {
            const Tensor first = time_mlp_[0].forward(tape, waves);
            return ghost::unary(tape, "silu", time_, first);
        }();
        return time_mlp_[1].forward(tape, hidden);
    }();
    tape.keep(timesteps);
    return ghost::to_type(tape, root_, wide, type);
}

// Rotations for the pairs of a head that are rotated, in the network's type.
Tensor MiniMaxH3Network::position_table(Tape& tape, std::int64_t tokens, ElementType type) const {
    const ElementType f32 = ElementType::Float32;
    const std::int64_t pairs = kAxes * config_.rope_inv_freq_len;
    const Tensor angles = [&] {
        const Tensor positions = ghost::create(tape, "_to_copy", root_, {tokens, kAxes}, f32);
        const Tensor per_axis =
            ghost::combine(tape, "mul", root_, {&positions}, {tokens, kAxes, pairs / kAxes}, f32);
        const Tensor half = ghost::clone(tape, root_, per_axis, {tokens, pairs});
        return ghost::cat(tape, root_, std::array<Tensor, 2>{half, half}, 1);
    }();
    const Tensor own = angles.view({tokens, pairs});
    const Tensor cos = ghost::unary(tape, "cos", root_, own);
    const Tensor sin = ghost::unary(tape, "sin", root_, own);
    const Tensor wide = [&] {
        const Tensor minus_sin = ghost::unary(tape, "neg", root_, sin);
        return ghost::combine(tape, "stack", root_, {&cos, &minus_sin, &sin, &cos},
                              {tokens, pairs, 2, 2}, f32);
    }();
    return ghost::to_type(tape, root_, wide, type);
}

Tensor MiniMaxH3Network::forward_final(Tape& tape, const Linear& head, const Tensor& stretch,
                                       const Tensor& part) const {
    const Tensor wide = [&] {
        const Tensor modulated = [&] {
            const Tensor product = [&] {
                const Tensor normal = final_norm_.forward(tape, stretch);
                const Tensor factor = ghost::unary(tape, "add", final_, part);
                return ghost::binary(tape, "mul", final_, normal, factor);
            }();
            return ghost::binary(tape, "add", final_, product, part);
        }();
        return ghost::to_type(tape, final_, modulated, ElementType::Float32);
    }();
    return head.forward(tape, wide);
}

Tensor MiniMaxH3Network::forward(Tape& tape, const StepInputs& in) const {
    const ElementType f32 = ElementType::Float32;
    const ElementType type = in.context.type();
    const std::int64_t width = config_.hidden_size;
    const Tensor video = [&] {
        Shape padded = in.x.shape();
        for (std::size_t i = 0; i < config_.patch_size.size(); ++i) {
            const std::int64_t patch = config_.patch_size[i];
            padded = padded.with(i + 2, (padded[i + 2] + patch - 1) / patch * patch);
        }
        Tensor out = tape.make(padded, type, "new_empty", root_);
        tape.charge(OpClass::Copy, "new_empty", root_, 0, 0, 0);
        ghost::binary_in_place(tape, "copy_", root_, in.x, in.x);
        return out;
    }();
    const Tensor& audio = in.more.front();
    const std::int64_t video_tokens =
        video.elements() / (patch_cells(config_) * config_.latents_dim);
    const std::int64_t sound_tokens = kStereo * audio.shape().last();
    MiniMaxSegments segments = {in.context.shape()[1]};
    std::int64_t referred = 0;
    for (const Tensor& reference : in.references) {
        segments.push_back(patches_of(reference.shape(), config_));
        referred += segments.back();
    }
    segments.push_back(sound_tokens);
    segments.push_back(video_tokens);
    const std::int64_t seen = referred + video_tokens;
    const std::int64_t tokens = segments.front() + sound_tokens + seen;

    // The timestep that is read back, and which tokens are whose.
    const Tensor sigma = ghost::create(tape, "clamp", root_, {1}, f32);
    const Tensor video_mask = ghost::create(tape, "_to_copy", root_, {seen}, ElementType::Bool);
    const Tensor audio_mask =
        ghost::create(tape, "_to_copy", root_, {sound_tokens}, ElementType::Bool);
    const auto rows_of = [&](const Tensor& latent, std::int64_t rows) {
        const Tensor wide = ghost::to_type(tape, root_, latent, f32);
        const std::int64_t width_of_row = latent.shape()[1] == config_.audio_latents_dim
                                              ? config_.audio_latents_dim
                                              : patch_cells(config_) * config_.latents_dim;
        return ghost::clone(tape, root_, wide, {rows, width_of_row});
    };
    const Tensor video_rows = rows_of(video, video_tokens);
    const Tensor audio_rows = rows_of(audio, sound_tokens);
    const Tensor referred_rows = [&] {
        std::vector<Tensor> rows;
        for (std::size_t i = 0; i < in.references.size(); ++i)
            rows.push_back(rows_of(in.references[i], segments[i + 1]));
        return rows.empty() ? Tensor() : ghost::cat(tape, root_, rows, 0);
    }();
    const Tensor all_rows = [&] {
        if (!referred_rows.defined()) return video_rows;
        Tensor all = ghost::create(tape, "empty", root_, {seen, video_rows.shape().last()}, f32);
        ghost::binary_in_place(tape, "index_put_", root_, all, all);
        return all;
    }();
    const auto embed = [&](const Linear& linear, const Tensor& rows) {
        const Tensor wide = linear.forward(tape, rows);
        return ghost::to_type(tape, root_, wide, type);
    };
    const Tensor video_embed = embed(video_in_, all_rows);
    const Tensor audio_embed = embed(audio_in_, audio_rows);

    const Tensor x = tape.make({tokens, width}, type, "empty", root_);
    for (const Tensor* part : {&in.context, &audio_embed, &video_embed})
        ghost::binary_in_place(tape, "copy_", root_, *part, *part);
    const Tensor time = embed_time(tape, kTimesteps + (referred > 0 ? 1 : 0), type);
    const Tensor table = position_table(tape, tokens, type);
    for (const MiniMaxBlock& block : blocks_) block.forward(tape, x, time, table, segments);

    const Tensor modulation = [&] {
        if (config_.adaln_curve_grid > 0) return final_modulation_.forward(tape, time);
        const Tensor active = ghost::unary(tape, "silu", final_adaln_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({1, width});
    const Tensor video_out = forward_final(tape, video_out_, stretch_of(x, video_tokens), part);
    const Tensor audio_out = forward_final(tape, audio_out_, stretch_of(x, sound_tokens), part);
    const Tensor cells = ghost::clone(tape, root_, video_out, video.shape());
    const auto negated = [&](const Tensor& out) {
        const Tensor narrow = ghost::to_type(tape, root_, out, type);
        return ghost::unary(tape, "neg", root_, narrow);
    };
    Tensor result = negated(cells.view(in.x.shape()));
    tape.keep(negated(audio_out));  // the second half of what is returned
    return result;
}

Result<std::shared_ptr<const Denoiser>> build_minimax_h3(const MiniMaxH3Config& c) {
    const auto sound_patch = [&] {
        if (c.patch_size.size() != kAxes) return false;
        for (const int side : c.patch_size)
            if (!within(side, 1, kPatchMax)) return false;
        return true;
    };
    const bool sound =
        sound_patch() && within(c.hidden_size, 1, kWidthMax) &&
        within(c.num_layers, 0, kDepthMax) && within(c.token_refiner_num_layers, 0, kDepthMax) &&
        within(c.attention_head_dim, 2, kWidthMax) &&
        within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
        within(c.ffn_hidden_size, 1, kWidthMax) && within(c.latents_dim, 1, kWidthMax) &&
        within(c.audio_latents_dim, 1, kWidthMax) && within(c.text_dim, 1, kWidthMax) &&
        within(c.timestep_input_dim, 2, kWidthMax) && c.timestep_input_dim % 2 == 0 &&
        within(c.time_embed_hidden_size, 1, kWidthMax) && within(c.time_embed_dim, 1, kWidthMax) &&
        within(c.rope_inv_freq_len, 1, kWidthMax) && within(c.adaln_curve_grid, 0, 1 << 20) &&
        2 * kAxes * c.rope_inv_freq_len < c.attention_head_dim && !c.gate_compress;
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("MiniMax H3 of width {} with {} heads of {} and {} blocks cannot "
                        "be",
                        c.hidden_size, c.num_attention_heads, c.attention_head_dim, c.num_layers));
    return std::make_shared<const MiniMaxH3Network>(c);
}

}  // namespace plimsoll::memory
