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
constexpr std::int64_t kTimesteps = 2;  // of the video and of the sound
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

std::vector<MiniMaxBlock> make_blocks(Registry& r, std::string_view name, int count,
                                      const MiniMaxH3Config& c, MiniMaxBlock::Modulated modulated) {
    std::vector<MiniMaxBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}", name, i), c, modulated);
    return blocks;
}

Tensor stretch_of(const Tensor& x, std::int64_t tokens) {
    return x.view(x.shape().with(0, tokens));
}

}  // namespace

MiniMaxBlock::MiniMaxBlock(Registry& r, std::string_view path, const MiniMaxH3Config& c,
                           Modulated modulated)
    : path_(r.path(path, "")),
      config_(c),
      norm1_(r, r.path(path, "norm1"), c.hidden_size),
      norm2_(r, r.path(path, "norm2"), c.hidden_size),
      attn_(r.path(path, "attn")),
      qkv_(r, r.path(path, "attn.qkv_proj"), c.hidden_size, 3 * inner(c), Bias::No),
      q_norm_(r, r.path(path, "attn.q_norm"), c.attention_head_dim),
      k_norm_(r, r.path(path, "attn.k_norm"), c.attention_head_dim),
      out_(r, r.path(path, "attn.out_proj"), inner(c), c.hidden_size, Bias::No),
      mlp_(r.path(path, "mlp")),
      fc1_(r, r.path(path, "mlp.fc1"), c.hidden_size, 2 * std::int64_t{c.ffn_hidden_size},
           Bias::No),
      fc2_(r, r.path(path, "mlp.fc2"), c.ffn_hidden_size, c.hidden_size, Bias::No),
      adaln_(r.path(path, "adaln_proj")) {
    if (modulated == Modulated::Yes)
        adaln_linear_.emplace_back(r, r.path(path, "adaln_proj.linear"), c.time_embed_dim,
                                   kModulations * kModalities * c.hidden_size);
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
        qkv_.forward(tape, x).view({1, tokens, heads, std::int64_t{config_.attention_head_dim}});
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
    return out_.forward(tape, attended.view({tokens, inner(config_)}));
}

// The first layer's output lives on beside its gated half.
Tensor MiniMaxBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor both = fc1_.forward(tape, x);
    const Tensor half = both.view(both.shape().with_last(config_.ffn_hidden_size));
    const Tensor active = ghost::unary(tape, "silu", mlp_, half);
    ghost::binary_in_place(tape, "mul_", mlp_, active, half);
    return fc2_.forward(tape, active);
}

void MiniMaxBlock::forward(Tape& tape, const Tensor& x, const Tensor& time, const Tensor& table,
                           const MiniMaxSegments& segments) const {
    const Tensor modulation = [&] {
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
      root_(registry_.path("", "")),
      video_in_(fp32_linear(registry_, unlisted_, registry_.path("video_patch_proj", ""),
                            patch_cells(c) * c.latents_dim, c.hidden_size)),
      audio_in_(fp32_linear(registry_, unlisted_, registry_.path("audio_patch_proj", ""),
                            c.audio_latents_dim, c.hidden_size)),
      condition_(registry_, registry_.path("condition_proj", ""), c.text_dim, c.hidden_size),
      time_(registry_.path("time_embedder", "")),
      time_in_(fp32_linear(registry_, unlisted_, registry_.path("time_embedder", "proj_in"),
                           c.timestep_input_dim, c.time_embed_hidden_size)),
      time_out_(fp32_linear(registry_, unlisted_, registry_.path("time_embedder", "proj_out"),
                            c.time_embed_hidden_size, c.time_embed_dim)),
      refiner_([&] {
          registry_.add_buffer(registry_.path("rope", ""), "Module", c.rope_inv_freq_len,
                               ModuleStorage::Float32, Saved::Yes);
          return make_blocks(registry_, "token_refiner.blocks", c.token_refiner_num_layers, c,
                             MiniMaxBlock::Modulated::No);
      }()),
      refiner_norm_(registry_, registry_.path("token_refiner", "final_norm"), c.hidden_size),
      blocks_(make_blocks(registry_, "blocks", c.num_layers, c, MiniMaxBlock::Modulated::Yes)),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm"), c.hidden_size),
      final_adaln_(registry_.path("final_layer", "adaln_proj")),
      final_modulation_(registry_, registry_.path("final_layer", "adaln_proj.linear"),
                        c.time_embed_dim, kFinalModulations * c.hidden_size),
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
    return in;
}

std::vector<ModuleEntry> MiniMaxH3Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor MiniMaxH3Network::embed_time(Tape& tape, ElementType type) const {
    const std::int64_t half = config_.timestep_input_dim / 2;
    const ElementType f32 = ElementType::Float32;
    const Tensor timesteps = ghost::create(tape, "_to_copy", root_, {kTimesteps}, f32);
    Tensor waves = [&] {
        Tensor frequencies = ghost::create(tape, "arange", time_, {half}, f32);
        for (const std::string_view op : {"mul", "div", "exp"})
            frequencies = ghost::unary(tape, op, time_, frequencies);
        const Tensor angles =
            ghost::combine(tape, "mul", time_, {&timesteps, &frequencies}, {kTimesteps, half}, f32);
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", time_, angles),
                                            ghost::unary(tape, "sin", time_, angles)};
        return ghost::cat(tape, time_, both, 1);
    }();
    const Tensor wide = [&] {
        const Tensor hidden = [&] {
            const Tensor first = time_in_.forward(tape, waves);
            return ghost::unary(tape, "silu", time_, first);
        }();
        return time_out_.forward(tape, hidden);
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
    const MiniMaxSegments segments = {in.context.shape()[1], kStereo * audio.shape().last(),
                                      video_tokens};
    const std::int64_t tokens = segments[0] + segments[1] + segments[2];

    // The timestep that is read back, and which tokens are whose.
    const Tensor sigma = ghost::create(tape, "clamp", root_, {1}, f32);
    const Tensor video_mask =
        ghost::create(tape, "_to_copy", root_, {video_tokens}, ElementType::Bool);
    const Tensor audio_mask =
        ghost::create(tape, "_to_copy", root_, {segments[1]}, ElementType::Bool);
    const auto rows_of = [&](const Tensor& latent, std::int64_t rows) {
        const Tensor wide = ghost::to_type(tape, root_, latent, f32);
        return ghost::clone(tape, root_, wide, {rows, latent.elements() / rows});
    };
    const Tensor video_rows = rows_of(video, video_tokens);
    const Tensor audio_rows = rows_of(audio, segments[1]);
    const auto embed = [&](const Linear& linear, const Tensor& rows) {
        const Tensor wide = linear.forward(tape, rows);
        return ghost::to_type(tape, root_, wide, type);
    };
    const Tensor video_embed = embed(video_in_, video_rows);
    const Tensor audio_embed = embed(audio_in_, audio_rows);

    const Tensor x = tape.make({tokens, width}, type, "empty", root_);
    for (const Tensor* part : {&in.context, &audio_embed, &video_embed})
        ghost::binary_in_place(tape, "copy_", root_, *part, *part);
    const Tensor time = embed_time(tape, type);
    const Tensor table = position_table(tape, tokens, type);
    for (const MiniMaxBlock& block : blocks_) block.forward(tape, x, time, table, segments);

    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_adaln_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({1, width});
    const Tensor video_out = forward_final(tape, video_out_, stretch_of(x, video_tokens), part);
    const Tensor audio_out = forward_final(tape, audio_out_, stretch_of(x, segments[1]), part);
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
        within(c.rope_inv_freq_len, 1, kWidthMax) &&
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
