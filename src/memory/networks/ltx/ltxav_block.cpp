// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltxav_block.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kCrossSets = 4;   // scale and shift, for both directions
constexpr std::int64_t kPromptSets = 2;  // shift, scale of the text

LtxAttentionShape shape_of(std::int64_t query, std::int64_t context, std::int64_t heads,
                           std::int64_t head_dim, bool gated) {
    return {.query_width = query,
            .context_width = context,
            .heads = heads,
            .head_dim = head_dim,
            .gated = gated};
}

}  // namespace

LtxavBlock::LtxavBlock(Registry& r, std::string_view path, const modelfile::LtxavConfig& c)
    : video_(std::int64_t{c.num_attention_heads} * c.attention_head_dim),
      audio_(std::int64_t{c.audio_num_attention_heads} * c.audio_attention_head_dim),
      sets_(c.cross_attention_adaln ? 9 : 6),
      path_([&] {
          const Module own = r.path(path, "");
          const std::int64_t prompt = c.cross_attention_adaln ? kPromptSets : 0;
          r.add_own_parameters(own, "BasicAVTransformerBlock",
                               (sets_ + prompt + kCrossSets + 1) * (video_ + audio_),
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      attn1_(r, *r.path(path, "attn1"),
             shape_of(video_, video_, c.num_attention_heads, c.attention_head_dim,
                      c.apply_gated_attention)),
      audio_attn1_(r, *r.path(path, "audio_attn1"),
                   shape_of(audio_, audio_, c.audio_num_attention_heads, c.audio_attention_head_dim,
                            c.apply_gated_attention)),
      attn2_(r, *r.path(path, "attn2"),
             shape_of(video_, c.cross_attention_dim, c.num_attention_heads, c.attention_head_dim,
                      c.apply_gated_attention)),
      audio_attn2_(r, *r.path(path, "audio_attn2"),
                   shape_of(audio_, c.audio_cross_attention_dim, c.audio_num_attention_heads,
                            c.audio_attention_head_dim, c.apply_gated_attention)),
      audio_to_video_(r, *r.path(path, "audio_to_video_attn"),
                      shape_of(video_, audio_, c.audio_num_attention_heads,
                               c.audio_attention_head_dim, c.apply_gated_attention)),
      video_to_audio_(r, *r.path(path, "video_to_audio_attn"),
                      shape_of(audio_, video_, c.audio_num_attention_heads,
                               c.audio_attention_head_dim, c.apply_gated_attention)),
      ff_(r, *r.path(path, "ff"), video_, c.ff_bias ? Bias::Yes : Bias::No),
      audio_ff_(r, *r.path(path, "audio_ff"), audio_, c.audio_ff_bias ? Bias::Yes : Bias::No) {}

std::vector<Tensor> LtxavBlock::values(Tape& tape, const LtxRows& rows, std::int64_t count,
                                       std::int64_t width) const {
    const Shape& s = rows.data.shape();
    const Tape::Cast cast = tape.cast_weight({count, width}, path_);
    const Tensor part = rows.data.view({s[0], s[1], count, width});
    const Tensor sum =
        ltx_with_own(tape, "add", path_, part, count * width, {s[0], s[1], count, width});
    std::vector<Tensor> out;
    out.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
        const Tensor one = sum.view({s[0], s[1], width});
        out.push_back(rows.patches == 1
                          ? one
                          : ghost::clone(tape, path_, one, {s[0], s[1], rows.patches, width})
                                .view({s[0], s[1] * rows.patches, width}));
    }
    return out;
}

Tensor LtxavBlock::gate(Tape& tape, const LtxRows& rows, std::int64_t width) const {
    return values(tape, rows, 1, width).front();
}

void LtxavBlock::add_gated(Tape& tape, const Tensor& x, const Tensor& update,
                           const Tensor& gate) const {
    ghost::combine_in_place(tape, "addcmul_", path_, x, {&update, &gate});
}

// normal x (1 + scale) + shift.
Tensor LtxavBlock::modulated(Tape& tape, const Tensor& normal, const Tensor& part) const {
    const Tensor scaled = [&] {
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        return ghost::combine(tape, "mul", path_, {&normal, &factor}, normal.shape(),
                              normal.type());
    }();
    return ghost::combine(tape, "add", path_, {&scaled, &part}, normal.shape(), normal.type());
}

void LtxavBlock::attend(Tape& tape, const Tensor& x, const Stream& stream,
                        const LtxavStreamGiven& given) const {
    {
        Tensor in;
        {
            const auto parts = values(tape, given.timestep, 2, stream.width);
            in = ltx_modulated(tape, path_, x, parts[1], parts[0]);
        }
        const Tensor update = stream.self.forward(tape, in, {.rope = &given.rope});
        in = {};
        add_gated(tape, x, update, gate(tape, given.timestep, stream.width));
    }
    const Tensor update = attend_to_text(tape, x, stream, given);
    ghost::binary_in_place(tape, "add_", path_, x, update);
}

Tensor LtxavBlock::attend_to_text(Tape& tape, const Tensor& x, const Stream& stream,
                                  const LtxavStreamGiven& given) const {
    if (!given.prompt_timestep.defined()) {
        const Tensor normal = rms_norm(tape, path_, x, Affine::No);
        return stream.text.forward(tape, normal, {.context = &given.context});
    }
    const auto parts = values(tape, given.timestep, 3, stream.width);
    const Tensor prompt = ltx_table_sum(tape, path_, given.prompt_timestep, kPromptSets);
    const Tensor in = ltx_modulated(tape, path_, x, parts[1], parts[0]);
    const Tensor text = modulated(tape, given.context, ltx_part(prompt));
    const Tensor update = stream.text.forward(tape, in, {.context = &text});
    return ghost::combine(tape, "mul", path_, {&update, &parts[2]}, update.shape(), update.type());
}

void LtxavBlock::video_from_audio(Tape& tape, const Tensor& video, const Tensor& audio_normal,
                                  const LtxavGiven& given) const {
    const Tensor update = [&] {
        Tensor queries;
        Tensor keys;
        {
            auto audio = values(tape, given.audio.cross_timestep, kCrossSets, audio_);
            audio.resize(2);
            auto parts = values(tape, given.video.cross_timestep, kCrossSets, video_);
            parts.resize(2);
            queries = ltx_modulated(tape, path_, video, parts[0], parts[1]);
            keys = modulated(tape, audio_normal, audio[0]);
        }
        return audio_to_video_.forward(tape, queries,
                                       {.context = &keys,
                                        .rope = &given.video.cross_rope,
                                        .key_rope = &given.audio.cross_rope});
    }();
    add_gated(tape, video, update, gate(tape, given.video.cross_gate, video_));
}

void LtxavBlock::audio_from_video(Tape& tape, const Tensor& video, const Tensor& audio,
                                  const Tensor& audio_normal, const LtxavGiven& given) const {
    const Tensor update = [&] {
        Tensor queries;
        Tensor keys;
        {
            auto own = values(tape, given.audio.cross_timestep, kCrossSets, audio_);
            own.erase(own.begin(), own.begin() + 2);
            auto parts = values(tape, given.video.cross_timestep, kCrossSets, video_);
            parts.erase(parts.begin(), parts.begin() + 2);
            queries = modulated(tape, audio_normal, own[0]);
            keys = ltx_modulated(tape, path_, video, parts[0], parts[1]);
        }
        return video_to_audio_.forward(tape, queries,
                                       {.context = &keys,
                                        .rope = &given.audio.cross_rope,
                                        .key_rope = &given.video.cross_rope});
    }();
    add_gated(tape, audio, update, gate(tape, given.audio.cross_gate, audio_));
}

void LtxavBlock::feed_forward(Tape& tape, const Tensor& x, const Stream& stream,
                              const LtxavStreamGiven& given) const {
    const Tensor update = [&] {
        Tensor in;
        {
            const auto parts = values(tape, given.timestep, 2, stream.width);
            in = ltx_modulated(tape, path_, x, parts[1], parts[0]);
        }
        return stream.ff.forward(tape, in);
    }();
    add_gated(tape, x, update, gate(tape, given.timestep, stream.width));
}

void LtxavBlock::forward(Tape& tape, const Tensor& video, const Tensor& audio,
                         const LtxavGiven& given) const {
    const Stream seen{attn1_, attn2_, ff_, video_};
    const Stream heard{audio_attn1_, audio_attn2_, audio_ff_, audio_};
    attend(tape, video, seen, given.video);
    attend(tape, audio, heard, given.audio);
    // Lives on to the block's end.
    const Tensor audio_normal = rms_norm(tape, path_, audio, Affine::No);
    video_from_audio(tape, video, audio_normal, given);
    audio_from_video(tape, video, audio, audio_normal, given);
    feed_forward(tape, video, seen, given.video);
    feed_forward(tape, audio, heard, given.audio);
}

}  // namespace plimsoll::memory
