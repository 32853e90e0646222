// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltxav.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::LtxavConfig;

namespace {

constexpr std::int64_t kAudioChannels = 8;  // of a sound's latent
constexpr std::int64_t kAudioBins = 16;     // frequencies of it
constexpr std::int64_t kCrossSets = 4;
constexpr std::int64_t kPromptSets = 2;
constexpr std::int64_t kSetsFinal = 2;
constexpr std::int64_t kSigmas = 10000;  // of ComfyUI's flow schedule with a shift of its own

std::int64_t video_width(const LtxavConfig& c) {
    return std::int64_t{c.num_attention_heads} * c.attention_head_dim;
}
std::int64_t audio_width(const LtxavConfig& c) {
    return std::int64_t{c.audio_num_attention_heads} * c.audio_attention_head_dim;
}
std::int64_t timestep_sets(const LtxavConfig& c) {
    return c.cross_attention_adaln ? 9 : 6;
}

LtxConnectorShape connector_shape(const LtxavConfig& c, int heads, int head_dim) {
    return {.heads = heads > 0 ? heads : c.connector_num_attention_heads,
            .head_dim = head_dim > 0 ? head_dim : c.connector_attention_head_dim,
            .layers = c.connector_num_layers,
            .gated = c.connector_apply_gated_attention,
            .split_rope = c.rope_type == "split"};
}

// Rows of all tokens kept as rows of frames, where the cells of a frame share theirs.
LtxRows compress(Tape& tape, Module module, const Tensor& rows, std::int64_t batch,
                 std::int64_t patches) {
    const std::int64_t width = rows.shape().last();
    const std::int64_t each = rows.elements() / width / batch;
    const Tensor all = rows.view({batch, each, width});
    if (each < patches || each % patches != 0) return {all, 1};
    if (patches == 1) return {all, 1};
    return {ghost::clone(tape, module, all.view({batch, each / patches, width}),
                         {batch, each / patches, width}),
            patches};
}

}  // namespace

LtxavNetwork::LtxavNetwork(const LtxavConfig& c)
    : config_(c),
      video_(video_width(c)),
      audio_(audio_width(c)),
      sets_(timestep_sets(c)),
      root_([&] {
          const Module own = registry_.path("", "");
          const std::int64_t mark = c.use_keyframes_abs_pos_embedding ? video_ : 0;
          registry_.add_own_parameters(own, "LTXAVModel", kSetsFinal * (video_ + audio_) + mark,
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      patchify_proj_(registry_, registry_.path("patchify_proj", ""), c.in_channels, video_),
      adaln_single_(registry_, "adaln_single", video_, sets_),
      prompt_adaln_single_(c.cross_attention_adaln ? std::optional<LtxTimestep>(
                                                         std::in_place, registry_,
                                                         "prompt_adaln_single", video_, kPromptSets)
                                                   : std::nullopt),
      caption_projection_(!c.caption_proj_before_connector
                              ? std::optional<LtxCaption>(std::in_place, registry_,
                                                          "caption_projection", c.caption_channels,
                                                          video_)
                              : std::nullopt),
      audio_patchify_proj_(registry_, registry_.path("audio_patchify_proj", ""),
                           c.audio_in_channels, audio_),
      audio_adaln_single_(registry_, "audio_adaln_single", audio_, sets_),
      audio_prompt_adaln_single_(c.cross_attention_adaln
                                     ? std::optional<LtxTimestep>(std::in_place, registry_,
                                                                  "audio_prompt_adaln_single",
                                                                  audio_, kPromptSets)
                                     : std::nullopt),
      video_scale_shift_(registry_, "av_ca_video_scale_shift_adaln_single", video_, kCrossSets),
      video_gate_(registry_, "av_ca_a2v_gate_adaln_single", video_, 1),
      audio_scale_shift_(registry_, "av_ca_audio_scale_shift_adaln_single", audio_, kCrossSets),
      audio_gate_(registry_, "av_ca_v2a_gate_adaln_single", audio_, 1),
      audio_caption_projection_(!c.caption_proj_before_connector
                                    ? std::optional<LtxCaption>(std::in_place, registry_,
                                                                "audio_caption_projection",
                                                                c.caption_channels, audio_)
                                    : std::nullopt),
      audio_connector_(registry_, "audio_embeddings_connector",
                       connector_shape(c, c.audio_connector_num_attention_heads,
                                       c.audio_connector_attention_head_dim)),
      video_connector_(registry_, "video_embeddings_connector", connector_shape(c, 0, 0)),
      blocks_([&] {
          std::vector<LtxavBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer_blocks.{}", i), c);
          return blocks;
      }()),
      head_(registry_, registry_.path("norm_out", ""), registry_.path("proj_out", ""), video_,
            c.in_channels),
      audio_head_(registry_, registry_.path("audio_norm_out", ""),
                  registry_.path("audio_proj_out", ""), audio_, c.audio_in_channels) {}

std::int64_t LtxavNetwork::raw_text_width() const {
    return config_.caption_proj_before_connector
               ? std::int64_t{config_.cross_attention_dim} + config_.audio_cross_attention_dim
               : config_.caption_channels;
}

std::int64_t LtxavNetwork::context_width() const {
    return config_.caption_proj_before_connector ? video_ + audio_
                                                 : 2 * std::int64_t{config_.caption_channels};
}

StepInputs LtxavNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const std::int64_t cells =
        std::int64_t{call.latent_frames} * call.latent_height * call.latent_width;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_frames, call.latent_height,
                       call.latent_width},
                      wish.type);
    in.more.push_back(
        tape.input({wish.batch, kAudioChannels, call.audio_latents, kAudioBins}, wish.type));
    in.timesteps =
        tape.input(call.timestep_per_token ? Shape{wish.batch, cells} : Shape{wish.batch},
                   ElementType::Float32);
    // Without timesteps of their own, sound and video share one.
    if (call.timestep_per_token) in.more.push_back(tape.input({wish.batch}, ElementType::Float32));
    in.context = tape.input({wish.cond_batch, call.tokens, context_width()}, wish.type);
    return in;
}

std::vector<ModuleEntry> LtxavNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// When each latent of the sound starts and ends, in seconds: [N, 1, latents, 2].
Tensor LtxavNetwork::audio_coordinates(Tape& tape, std::int64_t batch, std::int64_t latents) const {
    const auto seconds = [&] {
        Tensor t = ghost::create(tape, "arange", root_, {latents}, ElementType::Float32);
        for (const std::string_view op : {"mul", "add", "sub", "clamp", "mul", "div"})
            t = ghost::unary(tape, op, root_, t);
        return t;
    };
    const Tensor starts = seconds();
    const Tensor ends = seconds();
    return ghost::combine(tape, "stack", root_, {&starts, &ends}, {batch, 1, latents, 2},
                          ElementType::Float32);
}

// The timestep's projections; those of the video as rows of frames where it can be.
LtxavNetwork::Embedded LtxavNetwork::embed_time(Tape& tape, const StepInputs& in,
                                                std::int64_t patches, LtxavGiven& given) const {
    const ElementType type = in.x.type();
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t each = in.timesteps.elements() / batch;
    const Tensor scaled = ghost::unary(tape, "mul", root_, in.timesteps);
    Embedded out;
    const bool per_frame = each % patches == 0;
    {
        Tensor rows = scaled;
        if (per_frame) {
            const Tensor frames = in.timesteps.view({batch, each / patches});
            rows = ghost::unary(tape, "mul", root_, frames);
        }
        const LtxTimestep::Rows time = adaln_single_.forward(tape, rows, type);
        const std::int64_t count = rows.elements() / batch;
        const std::int64_t repeats = per_frame ? patches : 1;
        given.video.timestep = {time.projected.view({batch, count, sets_ * video_}), repeats};
        out.video = {time.embedded.view({batch, count, video_}), repeats};
    }
    const auto prompt = [&](const LtxTimestep& adaln, const Tensor& timesteps, std::int64_t width) {
        const Tensor most = ghost::produce(tape, OpClass::Normalization, "max", root_, timesteps,
                                           {batch, 1}, timesteps.type());
        {  // and where it was found
            const Tensor place = tape.make({batch, 1}, ElementType::Int64, "max", root_);
            tape.charge(OpClass::Normalization, "max", root_, 0, place.bytes(), 0);
        }
        return adaln.forward(tape, most, type).projected.view({batch, 1, kPromptSets * width});
    };
    if (prompt_adaln_single_)
        given.video.prompt_timestep = prompt(*prompt_adaln_single_, scaled, video_);

    const Tensor own = in.more.size() > 1 ? in.more.back() : in.timesteps;
    const Tensor audio_scaled = ghost::unary(tape, "mul", root_, own);
    const LtxTimestep::Rows audio_ss = audio_scale_shift_.forward(tape, audio_scaled, type);
    const LtxTimestep::Rows video_ss = video_scale_shift_.forward(tape, scaled, type);
    // The gates follow the other stream's timestep.
    const auto other = [&](const Tensor& from, const Tensor& like) {
        const Tensor most =
            ghost::produce(tape, OpClass::Normalization, "max", root_, from, {1}, from.type());
        return ghost::combine(tape, "mul", root_, {&most}, {like.elements()}, from.type());
    };
    const LtxTimestep::Rows video_gate = [&] {
        const Tensor timesteps = other(audio_scaled, scaled);
        return video_gate_.forward(tape, timesteps, type);
    }();
    const LtxTimestep::Rows audio_gate = [&] {
        const Tensor timesteps = other(scaled, audio_scaled);
        return audio_gate_.forward(tape, timesteps, type);
    }();
    const std::int64_t audio_each = audio_scaled.elements() / batch;
    const auto rows_of = [&](const Tensor& rows, std::int64_t width) {
        return rows.view({batch, audio_each, width});
    };
    given.audio.cross_timestep = {rows_of(audio_ss.projected, kCrossSets * audio_), 1};
    given.video.cross_timestep = compress(tape, root_, video_ss.projected, batch, patches);
    given.video.cross_gate = compress(tape, root_, video_gate.projected, batch, patches);
    given.audio.cross_gate = {rows_of(audio_gate.projected, audio_), 1};
    const LtxTimestep::Rows audio = audio_adaln_single_.forward(tape, audio_scaled, type);
    given.audio.timestep = {rows_of(audio.projected, sets_ * audio_), 1};
    out.audio = rows_of(audio.embedded, audio_);
    if (audio_prompt_adaln_single_)
        given.audio.prompt_timestep = prompt(*audio_prompt_adaln_single_, audio_scaled, audio_);
    return out;
}

// Both streams' texts lie side by side.
void LtxavNetwork::embed_text(Tape& tape, const Tensor& context, LtxavGiven& given) const {
    const auto part = [&](std::int64_t width) {
        return context.view(context.shape().with_last(width));
    };
    if (!caption_projection_) {
        given.video.context = part(video_);
        given.audio.context = part(audio_);
        return;
    }
    given.video.context =
        caption_projection_->forward_strided(tape, part(config_.caption_channels));
    given.audio.context =
        audio_caption_projection_->forward_strided(tape, part(config_.caption_channels));
}

void LtxavNetwork::embed_positions(Tape& tape, const Coordinates& coordinates, ElementType type,
                                   LtxavGiven& given) const {
    const bool split = config_.rope_type == "split";
    const bool precomputed = config_.frequencies_precision == "float64";
    const LtxRopeShape cross{.heads = config_.audio_num_attention_heads,
                             .hidden = config_.audio_cross_attention_dim,
                             .middle = true,
                             .split = split,
                             .precomputed = precomputed};
    given.video.rope = [&] {
        const Tensor seconds = ltx_fractional(tape, root_, coordinates.video);
        return ltx_rope(tape, root_, seconds,
                        {.heads = config_.num_attention_heads,
                         .hidden = video_,
                         .middle = config_.use_middle_indices_grid,
                         .split = split,
                         .precomputed = precomputed},
                        type);
    }();
    given.audio.rope = ltx_rope(tape, root_, coordinates.audio,
                                {.heads = config_.audio_num_attention_heads,
                                 .hidden = audio_,
                                 .middle = config_.use_middle_indices_grid,
                                 .split = split,
                                 .precomputed = precomputed},
                                type);
    const Tensor seconds = ltx_fractional(tape, root_, coordinates.video);
    const Shape& s = seconds.shape();
    given.video.cross_rope =
        ltx_rope(tape, root_, seconds.view({s[0], 1, s[2], s[3]}), cross, type);
    given.audio.cross_rope = ltx_rope(tape, root_, coordinates.audio, cross, type);
}

Tensor LtxavNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t batch = s[0];
    Coordinates coordinates;
    coordinates.video =
        ltx_coordinates(tape, root_, batch, {s[2], s[3], s[4]},
                        config_.causal_temporal_positioning ? CausalTime::Yes : CausalTime::No)
            .pixel;
    Tensor video =
        patchify_proj_.forward_transposed(tape, in.x.view({batch, s[2] * s[3] * s[4], s[1]}));
    // A learned mark of the tokens that stand for one frame of pixels (LTX 2.5).
    if (config_.use_keyframes_abs_pos_embedding) {
        const Tensor mark = ghost::produce(tape, OpClass::Elementwise, "mul", root_, video,
                                           video.shape(), video.type());
        video = ghost::binary(tape, "add", root_, video, mark);
    }
    const std::int64_t latents = in.more.front().shape()[2];
    const Tensor audio = [&] {
        const Tensor tokens =
            ghost::clone(tape, root_, in.more.front(), {batch, latents, kAudioChannels, kAudioBins})
                .view({batch, latents, kAudioChannels * kAudioBins});
        coordinates.audio = audio_coordinates(tape, batch, latents);
        return audio_patchify_proj_.forward(tape, tokens);
    }();
    LtxavGiven given;
    Embedded embedded = embed_time(tape, in, s[3] * s[4], given);
    embed_text(tape, in.context, given);
    embed_positions(tape, coordinates, in.x.type(), given);
    for (const LtxavBlock& block : blocks_) block.forward(tape, video, audio, given);
    if (embedded.video.patches > 1) {
        const Shape& rows = embedded.video.data.shape();
        embedded.video.data = ghost::clone(tape, root_, embedded.video.data,
                                           {rows[0], rows[1], embedded.video.patches, rows[2]})
                                  .view({rows[0], rows[1] * embedded.video.patches, rows[2]});
    }
    Tensor out = head_.forward(tape, root_, video, embedded.video.data).view(s);
    tape.keep(audio_head_.forward(tape, root_, audio, embedded.audio));  // returned beside it
    return out;
}

Tensor LtxavNetwork::connect_text(Tape& tape, const Tensor& text) const {
    const auto part = [&](std::int64_t width) {
        return config_.caption_proj_before_connector ? text.view(text.shape().with_last(width))
                                                     : text;
    };
    const Tensor video = video_connector_.forward(tape, part(config_.cross_attention_dim));
    const Tensor audio = audio_connector_.forward(tape, part(config_.audio_cross_attention_dim));
    return ghost::cat(tape, root_, std::array<Tensor, 2>{video, audio}, 2);
}

Result<std::shared_ptr<const LtxavNetwork>> build_ltxav(const LtxavConfig& c) {
    const auto heads = [](std::int64_t count, std::int64_t dim) {
        return within(dim, 2, kWidthMax) && dim % 2 == 0 && within(count, 1, kWidthMax / dim);
    };
    bool sound = heads(c.num_attention_heads, c.attention_head_dim) &&
                 heads(c.audio_num_attention_heads, c.audio_attention_head_dim) &&
                 heads(c.connector_num_attention_heads, c.connector_attention_head_dim) &&
                 within(c.audio_connector_num_attention_heads, 0, kWidthMax) &&
                 within(c.audio_connector_attention_head_dim, 0, kWidthMax) &&
                 within(c.in_channels, 1, kWidthMax) &&
                 c.audio_in_channels == kAudioChannels * kAudioBins &&
                 within(c.caption_channels, 1, kWidthMax) && within(c.num_layers, 0, kDepthMax) &&
                 within(c.connector_num_layers, 0, kDepthMax) &&
                 c.positional_embedding_max_pos.size() == 3 &&
                 c.audio_positional_embedding_max_pos.size() == 1;
    if (sound) {
        const LtxConnectorShape audio = connector_shape(c, c.audio_connector_num_attention_heads,
                                                        c.audio_connector_attention_head_dim);
        const std::int64_t connected =
            std::int64_t{c.connector_num_attention_heads} * c.connector_attention_head_dim;
        const bool before = c.caption_proj_before_connector;
        sound = heads(audio.heads, audio.head_dim) && video_width(c) >= 6 &&
                c.cross_attention_dim == video_width(c) &&
                c.audio_cross_attention_dim == audio_width(c) &&
                connected == (before ? video_width(c) : std::int64_t{c.caption_channels}) &&
                audio.heads * audio.head_dim ==
                    (before ? audio_width(c) : std::int64_t{c.caption_channels});
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("LTX-2 with {} blocks, {} heads of {} and {} of {} for sound "
                                "cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim,
                                c.audio_num_attention_heads, c.audio_attention_head_dim));
    return std::make_shared<const LtxavNetwork>(c);
}

Walk simulate_ltx_connector(const LtxavNetwork& network, const LtxConnectorCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor text =
        tape.input({call.batch, call.tokens, network.raw_text_width()}, element_type(call.compute));
    const Tensor context = network.connect_text(tape, text);
    return finish_walk(tape, network, call.storage, call.rules);
}

}  // namespace plimsoll::memory
