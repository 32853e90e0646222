// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/ace_step.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's discrete flow schedule
constexpr std::int64_t kLatentHeight = 16;    // bands of the spectrogram's latent
constexpr std::int64_t kPatchChannels = 256;  // for each channel of the latent
constexpr std::int64_t kProjectorRatio = 2;   // of the projectors that only training uses
constexpr int kModulations = 6;
constexpr int kModulationsFinal = 2;
constexpr MlpNames kDiffusersMlp{"linear_1", "act", "linear_2"};

}  // namespace

AceStepAttention::AceStepAttention(Registry& r, std::string_view path, const AceStepWidths& w,
                                   Source source)
    : path_(r.path(path, "")),
      widths_(w),
      q_(r, r.path(path, "to_q"), w.hidden, w.hidden),
      k_(r, r.path(path, "to_k"), w.hidden, w.hidden),
      v_(r, r.path(path, "to_v"), w.hidden, w.hidden),
      out_(r, r.path(path, "to_out.0"), w.hidden, w.hidden) {
    if (source == Source::Itself) return;
    for (const std::string_view unused : {"add_k_proj", "add_v_proj", "add_q_proj", "to_add_out"})
        const Linear registered(r, r.path(path, unused), w.hidden, w.hidden);
}

// Pairs rotated in fp32, back in the type they had.
Tensor AceStepAttention::rotate(Tape& tape, const Tensor& x) const {
    const Tensor turned = [&] {
        const Tensor half = x.view(x.shape().with_last(x.shape().last() / 2));
        const Tensor negated = ghost::unary(tape, "neg", path_, half);
        return ghost::combine(tape, "stack", path_, {&negated, &half}, x.shape(), x.type());
    }();
    const auto product = [&](const Tensor& t) {
        const Tensor wide = ghost::to_type(tape, path_, t, ElementType::Float32);
        return ghost::unary(tape, "mul", path_, wide);
    };
    const Tensor sum = [&] {
        const Tensor straight = product(x);
        const Tensor crossed = product(turned);
        return ghost::binary(tape, "add", path_, straight, crossed);
    }();
    return ghost::to_type(tape, path_, sum, x.type());
}

Tensor AceStepAttention::forward_linear(Tape& tape, const Tensor& x, AceStepLayout layout) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const auto project = [&](const Linear& linear) {
        const Tensor out = layout == AceStepLayout::Transposed ? linear.forward_batched(tape, x)
                                                               : linear.forward(tape, x);
        return out.view({batch, widths_.heads, tokens, widths_.head_dim});
    };
    Tensor q = project(q_);
    Tensor k = project(k_);
    Tensor v = project(v_);
    q = rotate(tape, q);
    k = rotate(tape, k);
    q = ghost::unary(tape, "relu", path_, q);
    k = ghost::unary(tape, "relu", path_, k);
    {
        const auto widen = [&](const Tensor& t) {
            return ghost::to_type(tape, path_, t, ElementType::Float32);
        };
        Tensor wide_q = widen(q);
        Tensor wide_k = widen(k);
        Tensor wide_v = widen(v);
        q = std::move(wide_q);
        k = std::move(wide_k);
        v = std::move(wide_v);
    }
    // A row of ones, whose products are the sums to divide by.
    const std::int64_t rows = widths_.head_dim + 1;
    v = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, v,
                       {batch, widths_.heads, rows, tokens}, v.type());
    const Tensor products =
        multiply_by_heads(tape, path_, {v, HeadLayout::Dense}, {k},
                          {batch, widths_.heads, rows, widths_.head_dim}, tokens);
    Tensor h = multiply_by_heads(tape, path_, {products, HeadLayout::Dense}, {q},
                                 {batch, widths_.heads, rows, tokens}, widths_.head_dim);
    h = [&] {
        const Tensor sums = h.view({batch, widths_.heads, 1, tokens});
        const Tensor above_zero = ghost::unary(tape, "add", path_, sums);
        const Tensor weighted = h.view({batch, widths_.heads, widths_.head_dim, tokens});
        return ghost::combine(tape, "div", path_, {&weighted, &above_zero}, weighted.shape(),
                              h.type());
    }();
    h = ghost::to_type(tape, path_, h.view(x.shape()), x.type());
    return out_.forward_strided(tape, h);
}

Tensor AceStepAttention::forward_cross(Tape& tape, const Tensor& x, const Tensor& text) const {
    const Shape& s = x.shape();
    const std::int64_t keys = text.shape()[1];
    const Shape heads{s[0], s[1], widths_.heads, widths_.head_dim};
    Tensor q = q_.forward(tape, x).view(heads);
    Tensor k = k_.forward(tape, text).view(heads.with(1, keys));
    const Tensor v = v_.forward(tape, text).view(heads.with(1, keys));
    q = rotate(tape, q);
    k = rotate(tape, k);
    Tensor h = ghost::attention(tape, path_, q, k, v,
                                {.batch = s[0],
                                 .heads = widths_.heads,
                                 .queries = s[1],
                                 .keys = keys,
                                 .head_dim = widths_.head_dim})
                   .view(s);
    h = out_.forward(tape, h);
    return ghost::unary(tape, "div", path_, h);  // by one
}

AceStepBlock::AceStepBlock(Registry& r, std::string_view path, const AceStepWidths& w)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "LinearTransformerBlock", kModulations * w.hidden,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      widths_(w),
      norm1_(r.path(path, "norm1")),
      attn_(r, *r.path(path, "attn"), w, AceStepAttention::Source::Itself),
      cross_(r, *r.path(path, "cross_attn"), w, AceStepAttention::Source::Text),
      norm2_(r.path(path, "norm2")),
      ff_(r.path(path, "ff")),
      ff_act_(r.path(path, "ff.glu_act")),
      inverted_(r, r.path(path, "ff.inverted_conv.conv"), w.hidden, 2 * w.mlp, {}),
      inverted_act_(r.path(path, "ff.inverted_conv.act")),
      depth_(r, r.path(path, "ff.depth_conv.conv"), 2 * w.mlp, 2 * w.mlp,
             {.kernel = 3, .padding = 1, .groups = 2 * w.mlp}),
      point_(r, r.path(path, "ff.point_conv.conv"), w.mlp, w.hidden, {}, {.bias = Bias::No}) {}

Tensor AceStepBlock::modulated(Tape& tape, const Tensor& normal, const Tensor& part) const {
    const Tensor product = scaled(tape, path_, normal, part);
    return ghost::binary(tape, "add", path_, product, part);
}

Tensor AceStepBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    Tensor h = inverted_.forward_strided(tape, x.view({s[0], s[2], s[1]}));
    ghost::unary_in_place(tape, "silu_", inverted_act_, h);
    h = depth_.forward(tape, h);
    Tensor gate = h.view({s[0], widths_.mlp, s[1]});
    gate = ghost::unary(tape, "silu", ff_act_, gate);
    h = ghost::binary(tape, "mul", ff_, h.view(gate.shape()), gate);
    return point_.forward(tape, h).view(s);
}

// Every variable lives until it is assigned anew.
Tensor AceStepBlock::forward(Tape& tape, const Tensor& x, const Tensor& time, const Tensor& text,
                             AceStepLayout layout) const {
    const Tensor modulation = ghost::unary(tape, "add", path_, time);
    const Tensor part = modulation.view({x.shape()[0], 1, widths_.hidden});
    Tensor normal = rms_norm(tape, norm1_, x, Affine::No);
    normal = modulated(tape, normal, part);
    Tensor update = attn_.forward_linear(tape, normal, layout);
    update = ghost::binary(tape, "mul", path_, update, part);
    Tensor h = ghost::binary(tape, "add", path_, update, x);
    update = cross_.forward_cross(tape, h, text);
    h = ghost::binary(tape, "add", path_, update, h);
    normal = rms_norm(tape, norm2_, h, Affine::No);
    normal = modulated(tape, normal, part);
    Tensor ff = feed_forward(tape, normal);
    ff = ghost::binary(tape, "mul", path_, ff, part);
    return ghost::binary(tape, "add", path_, h, ff);
}

AceStepNetwork::AceStepNetwork(const modelfile::AceStepConfig& c)
    : config_(c),
      widths_{.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
              .heads = c.num_attention_heads,
              .head_dim = c.attention_head_dim,
              .mlp = static_cast<std::int64_t>(
                  static_cast<double>(c.num_attention_heads * c.attention_head_dim) * c.mlp_ratio)},
      root_(registry_.path("", "")),
      rotary_([&] {
          const Module own = registry_.path("rotary_emb", "");
          registry_.add_buffer(
              own, "Qwen2RotaryEmbedding",
              (2 * std::int64_t{c.max_position}) * c.attention_head_dim + c.attention_head_dim / 2,
              ModuleStorage::Float32, Saved::No);
          return own;
      }()),
      blocks_([&] {
          std::vector<AceStepBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer_blocks.{}", i), widths_);
          return blocks;
      }()),
      time_proj_(registry_.path("time_proj", "")),
      time_in_(registry_, "timestep_embedder", kTimestepWidth, widths_.hidden, Bias::Yes,
               kDiffusersMlp),
      time_act_(registry_.path("t_block", "0")),
      time_block_(registry_, registry_.path("t_block", "1"), widths_.hidden,
                  kModulations * widths_.hidden),
      speaker_(registry_, registry_.path("speaker_embedder", ""), c.speaker_embedding_dim,
               widths_.hidden),
      genre_(registry_, registry_.path("genre_embedder", ""), c.text_embedding_dim, widths_.hidden),
      lyrics_(registry_, registry_.path("lyric_embs", ""), c.lyric_encoder_vocab_size,
              c.lyric_hidden_size),
      lyric_encoder_(registry_, "lyric_encoder", c.lyric_hidden_size),
      lyric_proj_(registry_, registry_.path("lyric_proj", ""), kLyricWidth, widths_.hidden),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_.path("final_layer", "norm_final")) {
    const std::int64_t projector = kProjectorRatio * widths_.hidden;
    for (std::size_t i = 0; i < c.ssl_latent_dims.size(); ++i) {
        const std::string path = fmt::format("projectors.{}", i);
        const Linear first(registry_, registry_.path(path, "0"), widths_.hidden, projector);
        const Linear second(registry_, registry_.path(path, "2"), projector, projector);
        const Linear third(registry_, registry_.path(path, "4"), projector, c.ssl_latent_dims[i]);
    }
    const std::int64_t channels = kPatchChannels * c.in_channels;
    const Extent3 patch{1, c.patch_size[0], c.patch_size[1]};
    const auto early = [&](std::string_view name) {
        return registry_.path("proj_in.early_conv_layers", name);
    };
    patch_in_.emplace(registry_, early("0"), c.in_channels, channels,
                      Conv3dShape{.kernel = patch, .stride = patch}, ModuleStorage::AsNetwork,
                      "Conv2d");
    patch_norm_.emplace(registry_, early("1"), channels);
    patch_out_.emplace(registry_, early("2"), channels, widths_.hidden, kConv1);
    registry_.add_own_parameters(final_, "T2IFinalLayer", kModulationsFinal * widths_.hidden,
                                 ModuleStorage::AsNetwork);
    final_linear_.emplace(registry_, registry_.path("final_layer", "linear"), widths_.hidden,
                          std::int64_t{c.patch_size[0]} * c.patch_size[1] * c.out_channels);
}

StepInputs AceStepNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x =
        tape.input({wish.batch, config_.in_channels, kLatentHeight, call.latent_width}, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_embedding_dim}, wish.type);
    in.more.push_back(tape.input({wish.cond_batch, config_.speaker_embedding_dim}, wish.type));
    in.more.push_back(tape.input({wish.cond_batch, std::int64_t{call.lyrics}}, ElementType::Int64));
    return in;
}

std::vector<ModuleEntry> AceStepNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// [N, speaker, text and lyrics, width].
Tensor AceStepNetwork::encode(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.context.shape()[0];
    const Tensor speaker = speaker_.forward(tape, in.more[0]).view({batch, 1, widths_.hidden});
    const Tensor text = genre_.forward(tape, in.context);
    const Tensor sung = [&] {
        const Tensor embedded = lyrics_.forward(tape, in.more[1]);
        const Tensor encoded = lyric_encoder_.forward(tape, embedded);
        return lyric_proj_.forward(tape, encoded);
    }();
    ghost::unary_in_place(tape, "mul_", root_, sung);
    return ghost::cat(tape, root_, std::array<Tensor, 3>{speaker, text, sung}, 1);
}

Tensor AceStepNetwork::embed_patches(Tape& tape, const Tensor& latent) const {
    const Shape& s = latent.shape();
    Tensor h = patch_in_->forward(tape, latent.view({s[0], s[1], 1, s[2], s[3]}));
    const Shape p = h.shape();
    h = patch_norm_->forward(tape, h.view({p[0], p[1], p[3], p[4]}));
    h = patch_out_->forward(tape, h);
    return h.view({p[0], p[3] * p[4], widths_.hidden});
}

Tensor AceStepNetwork::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const std::int64_t batch = x.shape()[0];
    const Tensor modulation = ghost::combine(tape, "add", final_, {&time},
                                             {batch, kModulationsFinal, widths_.hidden}, x.type());
    const Tensor part = modulation.view({batch, 1, widths_.hidden});
    Tensor h = [&] {
        const Tensor product = [&] {
            const Tensor normal = rms_norm(tape, final_norm_, x, Affine::No);
            return scaled(tape, final_, normal, part);
        }();
        return ghost::binary(tape, "add", final_, product, part);
    }();
    h = final_linear_->forward(tape, h);
    return ghost::clone(tape, final_, h, h.shape());
}

Tensor AceStepNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor text = encode(tape, in);
    const Tensor embedded = [&] {
        const Tensor waves =
            scaled_timestep_embedding(tape, time_proj_, in.timesteps, kTimestepWidth);
        return time_in_.forward(tape, ghost::to_type(tape, root_, waves, type));
    }();
    const Tensor time = [&] {
        const Tensor active = ghost::unary(tape, "silu", time_act_, embedded);
        return time_block_.forward(tape, active);
    }();
    Tensor h = embed_patches(tape, in.x);
    // Tables of cosines and sines in the network's type, for the latents and the text.
    std::vector<Tensor> tables;
    for (const std::int64_t tokens : {h.shape()[1], text.shape()[1]})
        for (int i = 0; i < 2; ++i)
            tables.push_back(ghost::create(tape, "_to_copy", rotary_,
                                           {tokens, config_.attention_head_dim}, type));
    AceStepLayout layout = AceStepLayout::Transposed;
    for (const AceStepBlock& block : blocks_) {
        h = block.forward(tape, h, time, text, layout);
        layout = AceStepLayout::Contiguous;
    }
    return forward_final(tape, h, embedded).view(in.x.shape().with(1, config_.out_channels));
}

Result<std::shared_ptr<const Denoiser>> build_ace_step(const modelfile::AceStepConfig& c) {
    const std::int64_t hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim;
    bool sound = within(c.in_channels, 1, 256) && within(c.out_channels, 1, kWidthMax) &&
                 within(c.num_layers, 1, kDepthMax) && within(c.attention_head_dim, 2, kWidthMax) &&
                 c.attention_head_dim % 2 == 0 && within(c.num_attention_heads, 1, kWidthMax) &&
                 within(hidden, 1, kWidthMax) && c.mlp_ratio > 0 && c.mlp_ratio <= kMlpRatioMax &&
                 within(static_cast<std::int64_t>(static_cast<double>(hidden) * c.mlp_ratio), 1,
                        kWidthMax) &&
                 within(c.max_position, 1, kVocabularyMax) && c.patch_size.size() == 2 &&
                 c.patch_size[0] == kLatentHeight && c.patch_size[1] == 1 &&
                 within(c.speaker_embedding_dim, 1, kWidthMax) &&
                 within(c.text_embedding_dim, 1, kWidthMax) &&
                 within(c.lyric_encoder_vocab_size, 1, kVocabularyMax) &&
                 within(c.lyric_hidden_size, 1, kWidthMax) &&
                 c.ssl_latent_dims.size() <= kModulations;
    for (const int width : c.ssl_latent_dims) sound = sound && within(width, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("ACE-Step with {} blocks and {} heads of {} cannot be",
                                c.num_layers, c.num_attention_heads, c.attention_head_dim));
    return std::make_shared<const AceStepNetwork>(c);
}

}  // namespace plimsoll::memory
