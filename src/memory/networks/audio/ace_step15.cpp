// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/ace_step15.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's discrete flow schedule
constexpr int kModulations = 6;
constexpr int kDetokenizerLayers = 2;
constexpr std::int64_t kCodesMax = 1 << 24;  // of the codebook; chosen

AceWidths widths_of(const modelfile::AceStep15Config& c) {
    return {.hidden = c.hidden_size,
            .heads = c.num_heads,
            .kv_heads = c.num_kv_heads,
            .head_dim = c.head_dim,
            .mlp = c.intermediate_size};
}

// Of the tokenizer's and detokenizer's layers, whatever the rest has.
AceWidths coder_widths(const modelfile::AceStep15Config& c) {
    return {.hidden = c.hidden_size,
            .heads = 16,
            .kv_heads = 8,
            .head_dim = c.head_dim,
            .mlp = 3 * std::int64_t{c.hidden_size}};
}

Module with_own_parameters(Registry& r, std::string_view path, std::string_view class_name,
                           std::int64_t parameters) {
    const Module own = r.path(path, "");
    r.add_own_parameters(own, class_name, parameters, ModuleStorage::AsNetwork);
    return own;
}

Tensor run_layers(Tape& tape, const std::vector<AceEncoderLayer>& layers, Tensor x) {
    for (const AceEncoderLayer& layer : layers) x = layer.forward(tape, x);
    return x;
}

}  // namespace

AceTimestep::AceTimestep(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      width_(width),
      in_(r, r.path(path, "linear_1"), kTimestepWidth, width),
      out_(r, r.path(path, "linear_2"), width, width),
      modulation_(r, r.path(path, "time_proj"), width, kModulations * width) {}

AceTimestep::Embedded AceTimestep::forward(Tape& tape, const Tensor& timesteps,
                                           ElementType type) const {
    const Tensor waves = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", path_, timesteps);
        return timestep_embedding(tape, path_, scaled, kTimestepWidth);
    }();
    Embedded embedded;
    Tensor& vector = embedded.vector;
    vector = in_.forward(tape, ghost::to_type(tape, path_, waves, type));
    vector = ghost::unary(tape, "silu", path_, vector);
    vector = out_.forward(tape, vector);
    const Tensor active = ghost::unary(tape, "silu", path_, vector);
    embedded.modulation =
        modulation_.forward(tape, active).view({timesteps.elements(), kModulations, width_});
    return embedded;
}

AceDecoder::AceDecoder(Registry& r, const modelfile::AceStep15Config& c)
    : config_(c),
      path_([&] {
          const Module own =
              with_own_parameters(r, "decoder", "AceStepDiTModel", 2 * std::int64_t{c.hidden_size});
          add_ace_rotary_table(r, "decoder", c.head_dim);
          return own;
      }()),
      proj_in_(r, r.path("decoder", "proj_in.1"), c.in_channels, c.hidden_size,
               {.kernel = c.patch_size, .stride = c.patch_size}),
      time_(r, "decoder.time_embed", c.hidden_size),
      time_r_(r, "decoder.time_embed_r", c.hidden_size),
      condition_(r, r.path("decoder", "condition_embedder"), c.hidden_size, c.hidden_size),
      layers_([&] {
          std::vector<AceDecoderLayer> layers;
          layers.reserve(static_cast<std::size_t>(c.num_dit_layers));
          for (int i = 0; i < c.num_dit_layers; ++i)
              layers.emplace_back(r, fmt::format("decoder.layers.{}", i), widths_of(c),
                                  i % 2 == 0 ? c.sliding_window : 0);
          return layers;
      }()),
      norm_out_(r, r.path("decoder", "norm_out"), c.hidden_size),
      proj_out_(r, r.path("decoder", "proj_out.1"), c.hidden_size, c.audio_acoustic_hidden_dim,
                {.kernel = c.patch_size, .stride = c.patch_size},
                {.direction = Direction1d::Transposed}) {}

Tensor AceDecoder::patches(Tape& tape, const Tensor& x, const Tensor& context) const {
    Tensor joined = ghost::cat(tape, path_, std::array<Tensor, 2>{context, x}, 2);
    const std::int64_t patch = config_.patch_size;
    const Shape s = joined.shape();
    if (s[1] % patch != 0)
        joined = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, joined,
                                s.with(1, (s[1] + patch - 1) / patch * patch), joined.type());
    const Shape padded = joined.shape();
    const Tensor out =
        proj_in_.forward_strided(tape, joined.view({padded[0], padded[2], padded[1]}));
    return out.view({padded[0], out.shape()[2], config_.hidden_size});
}

Tensor AceDecoder::forward(Tape& tape, const Tensor& x, const Tensor& timesteps,
                           const Tensor& encoded, const Tensor& context) const {
    const ElementType type = x.type();
    const AceTimestep::Embedded of_time = time_.forward(tape, timesteps, type);
    const AceTimestep::Embedded of_rest = [&] {
        const Tensor rest = ghost::binary(tape, "sub", path_, timesteps, timesteps);
        return time_r_.forward(tape, rest, type);
    }();
    const Tensor vector = ghost::binary(tape, "add", path_, of_time.vector, of_rest.vector);
    const Tensor modulation =
        ghost::binary(tape, "add", path_, of_time.modulation, of_rest.modulation);
    Tensor h = patches(tape, x, context);
    const Tensor condition = condition_.forward(tape, encoded);
    for (const AceDecoderLayer& layer : layers_) h = layer.forward(tape, h, modulation, condition);

    const std::int64_t batch = h.shape()[0];
    const Tensor both =
        ghost::combine(tape, "add", path_, {&vector}, {batch, 2, config_.hidden_size}, type);
    const Tensor part = both.view({batch, 1, config_.hidden_size});
    h = [&] {
        const Tensor product = [&] {
            const Tensor normal = norm_out_.forward(tape, h);
            const Tensor factor = ghost::unary(tape, "add", path_, part);
            return ghost::binary(tape, "mul", path_, normal, factor);
        }();
        return ghost::binary(tape, "add", path_, product, part);
    }();
    const Tensor out =
        proj_out_.forward_strided(tape, h.view({batch, config_.hidden_size, h.shape()[1]}));
    return out.view({batch, x.shape()[1], config_.audio_acoustic_hidden_dim});
}

AceEncoder::AceEncoder(Registry& r, std::string_view path, std::int64_t in, int layers,
                       const AceWidths& w)
    : in_(r, r.path(path, "embed_tokens"), in, w.hidden),
      norm_([&] {
          RmsNorm norm(r, r.path(path, "norm"), w.hidden);
          add_ace_rotary_table(r, path, w.head_dim);
          return norm;
      }()),
      layers_(make_ace_encoder_layers(r, path, layers, w)) {}

Tensor AceEncoder::forward(Tape& tape, Tensor embedded) const {
    const Tensor encoded = run_layers(tape, layers_, std::move(embedded));
    return norm_.forward(tape, encoded);
}

AceConditionEncoder::AceConditionEncoder(Registry& r, const modelfile::AceStep15Config& c)
    : path_(r.path("encoder", "")),
      text_(r, r.path("encoder", "text_projector"), c.text_hidden_dim, c.hidden_size, Bias::No),
      lyrics_(r, "encoder.lyric_encoder", c.text_hidden_dim, c.num_lyric_layers, widths_of(c)),
      timbre_path_(
          with_own_parameters(r, "encoder.timbre_encoder", "AceStepTimbreEncoder", c.hidden_size)),
      timbre_(r, "encoder.timbre_encoder", c.timbre_hidden_dim, c.num_timbre_layers, widths_of(c)) {
}

// The first token of each reference, one reference for each item of the batch.
Tensor AceConditionEncoder::encode_timbre(Tape& tape, const Tensor& reference) const {
    const Tensor encoded =
        timbre_.forward(tape, timbre_.embedding().forward_batched(tape, reference));
    const Shape& s = encoded.shape();
    const Tensor first = encoded.view({s[0], s[2]});
    const Tensor chosen = ghost::create(tape, "one_hot", timbre_path_, {s[0], s[0]}, first.type());
    const Tensor unpacked = tape.make({s[0], s[2]}, first.type(), "mm", timbre_path_);
    tape.charge(OpClass::MatMul, "mm", timbre_path_,
                ghost::saturating_product({2, s[0], s[0], s[2]}),
                chosen.bytes() + first.bytes() + unpacked.bytes());
    return unpacked.view({s[0], 1, s[2]});
}

Tensor AceConditionEncoder::forward(Tape& tape, const Tensor& text, const Tensor& lyrics,
                                    const Tensor& reference) const {
    const Tensor words = text_.forward(tape, text);
    const Tensor sung = lyrics_.forward(tape, lyrics_.embedding().forward(tape, lyrics));
    const Tensor timbre = encode_timbre(tape, reference);
    const Tensor merged = ghost::cat(tape, path_, std::array<Tensor, 2>{sung, timbre}, 1);
    return ghost::cat(tape, path_, std::array<Tensor, 2>{merged, words}, 1);
}

AceTokenizer::AceTokenizer(Registry& r, const modelfile::AceStep15Config& c)
    : config_(c),
      proj_(r, r.path("tokenizer", "audio_acoustic_proj"), c.audio_acoustic_hidden_dim,
            c.hidden_size),
      pooler_(
          with_own_parameters(r, "tokenizer.attention_pooler", "AttentionPooler", c.hidden_size)),
      pooler_in_(r, r.path(*pooler_, "embed_tokens"), c.hidden_size, c.hidden_size),
      pooler_norm_([&] {
          RmsNorm norm(r, r.path(*pooler_, "norm"), c.hidden_size);
          add_ace_rotary_table(r, *pooler_, c.head_dim);
          return norm;
      }()),
      pooler_layers_(make_ace_encoder_layers(r, *pooler_, c.num_tokenizer_layers, coder_widths(c))),
      quantizer_([&] {
          // Scales of the quantizers, and the clamp's.
          const std::int64_t levels = std::ssize(c.fsq_levels);
          const Module own = r.path("tokenizer", "quantizer");
          r.add_buffer(own, "ResidualFSQ", (c.fsq_input_num_quantizers + 1) * levels,
                       ModuleStorage::AsNetwork, Saved::No);
          return own;
      }()),
      quantizer_in_(r, r.path(*quantizer_, "project_in"), c.fsq_dim, std::ssize(c.fsq_levels)),
      quantizer_out_(r, r.path(*quantizer_, "project_out"), std::ssize(c.fsq_levels), c.fsq_dim) {
    const std::int64_t levels = std::ssize(c.fsq_levels);
    std::int64_t codes = 1;
    for (const int level : c.fsq_levels) codes *= level;
    for (int i = 0; i < c.fsq_input_num_quantizers; ++i) {
        const Module own = r.path(*quantizer_, fmt::format("layers.{}", i));
        r.add_buffer(own, "FSQ", codes * levels, ModuleStorage::AsNetwork, Saved::No);
        r.add_buffer(own, "FSQ", levels, ModuleStorage::Float32, Saved::No);  // 32 bits each
        r.add_buffer(own, "FSQ", levels, ModuleStorage::Int64, Saved::No);
    }
}

// [N, windows, latents of a window, width] to one token for each window.
Tensor AceTokenizer::pool(Tape& tape, const Tensor& x) const {
    const Shape s = x.shape();
    Tensor joined = [&] {
        const Tensor embedded = pooler_in_.forward(tape, x);
        const Tensor special = embedded.view(s.with(2, 1));  // for its shape: a parameter
        return ghost::cat(tape, pooler_, std::array<Tensor, 2>{special, embedded}, 2)
            .view({s[0] * s[1], s[2] + 1, s[3]});
    }();
    Tensor h = run_layers(tape, pooler_layers_, std::move(joined));
    h = pooler_norm_.forward(tape, h);
    return h.view({s[0], s[1], s[3]});
}

// Bounded and rounded, one quantizer after the other on what the last one left.
Tensor AceTokenizer::quantise(Tape& tape, const Tensor& x) const {
    const auto step = [&](std::string_view op, const Tensor& t) {
        return ghost::unary(tape, op, quantizer_, t);
    };
    Tensor residual = quantizer_in_.forward_batched(tape, x);
    for (const std::string_view op : {"div", "tanh", "mul"}) residual = step(op, residual);
    Tensor sum;
    for (int i = 0; i < config_.fsq_input_num_quantizers; ++i) {
        Tensor codes = step("div", residual);
        for (const std::string_view op : {"tanh", "add", "mul", "div", "add"})
            codes = step(op, codes);
        const Tensor whole = step("floor", codes);
        codes = ghost::binary(tape, "add", quantizer_, codes,
                              ghost::binary(tape, "sub", quantizer_, whole, codes));
        for (const std::string_view op : {"mul", "sub", "mul"}) codes = step(op, codes);
        residual = ghost::binary(tape, "sub", quantizer_, residual, codes);
        sum = step("add", codes);
    }
    return quantizer_out_.forward(tape, sum);
}

Tensor AceTokenizer::forward(Tape& tape, const Tensor& reference) const {
    const Shape& s = reference.shape();
    const std::int64_t window = config_.pool_window_size;
    Tensor windows = reference;
    std::int64_t latents = s[1];
    if (latents % window != 0) {
        latents = (latents + window - 1) / window * window;
        windows = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", proj_.path(), reference,
                                 s.with(1, latents), reference.type());
    }
    Tensor h = [&] {
        // Transposed items of a batch have no common view by windows.
        const Tensor rows =
            s[0] > 1 ? ghost::clone(tape, proj_.path(), windows, windows.shape()) : windows;
        return proj_.forward_batched(tape, rows.view({s[0], latents / window, window, s[2]}));
    }();
    h = pool(tape, h);
    return quantise(tape, h);
}

AceDetokenizer::AceDetokenizer(Registry& r, const modelfile::AceStep15Config& c)
    : config_(c),
      path_(with_own_parameters(r, "detokenizer", "AudioTokenDetokenizer",
                                std::int64_t{c.pool_window_size} * c.hidden_size)),
      in_(r, r.path("detokenizer", "embed_tokens"), c.hidden_size, c.hidden_size),
      layers_([&] {
          add_ace_rotary_table(r, "detokenizer", c.head_dim);
          return make_ace_encoder_layers(r, "detokenizer", kDetokenizerLayers, coder_widths(c));
      }()),
      norm_(r, r.path("detokenizer", "norm"), c.hidden_size),
      out_(r, r.path("detokenizer", "proj_out"), c.hidden_size, c.audio_acoustic_hidden_dim) {}

Tensor AceDetokenizer::forward(Tape& tape, const Tensor& codes) const {
    const Shape& s = codes.shape();
    const std::int64_t window = config_.pool_window_size;
    Tensor h = in_.forward(tape, codes);
    h = ghost::produce(tape, OpClass::Copy, "repeat", path_, h, {s[0], s[1], window, s[2]},
                       h.type());
    h = ghost::unary(tape, "add", path_, h).view({s[0] * s[1], window, s[2]});
    h = run_layers(tape, layers_, std::move(h));
    h = norm_.forward(tape, h);
    h = out_.forward(tape, h);
    return h.view({s[0], s[1] * window, config_.audio_acoustic_hidden_dim});
}

AceStep15Network::AceStep15Network(const modelfile::AceStep15Config& c)
    : config_(c),
      root_(with_own_parameters(registry_, "", "AceStepConditionGenerationModel", c.hidden_size)),
      decoder_(registry_, c),
      encoder_(registry_, c),
      tokenizer_(registry_, c),
      detokenizer_(registry_, c) {}

StepInputs AceStep15Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const Shape latent{wish.batch, config_.audio_acoustic_hidden_dim, call.latent_width};
    StepInputs in;
    in.x = tape.input(latent, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_hidden_dim}, wish.type);
    in.more.push_back(
        tape.input({wish.cond_batch, call.lyrics, config_.text_hidden_dim}, wish.type));
    in.more.push_back(tape.input(latent.with(1, config_.timbre_hidden_dim), wish.type));
    return in;
}

std::vector<ModuleEntry> AceStep15Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor AceStep15Network::forward(Tape& tape, const StepInputs& in) const {
    const auto by_time = [](const Tensor& t) {
        return t.view({t.shape()[0], t.shape()[2], t.shape()[1]});
    };
    const Tensor reference = by_time(in.more[1]);
    const Tensor x = by_time(in.x);
    const Tensor order = ghost::create(tape, "zeros", root_, {x.shape()[0]}, ElementType::Int64);
    const Tensor mask = ghost::create_like(tape, "ones_like", root_, x);
    const Tensor encoded = encoder_.forward(tape, in.context, in.more[0], reference);
    const Tensor context = [&] {
        const Tensor codes = tokenizer_.forward(tape, reference);
        const Tensor hints = detokenizer_.forward(tape, codes);
        return ghost::cat(tape, root_, std::array<Tensor, 2>{hints.view(x.shape()), mask}, 2);
    }();
    const Tensor out = decoder_.forward(tape, x, in.timesteps, encoded, context);
    return out.view(in.x.shape());
}

Result<std::shared_ptr<const Denoiser>> build_ace_step15(const modelfile::AceStep15Config& c) {
    const AceWidths coder = coder_widths(c);
    const auto layers = [](int n) { return within(n, 1, kDepthMax); };
    bool sound = within(c.hidden_size, 1, kWidthMax) && within(c.text_hidden_dim, 1, kWidthMax) &&
                 within(c.timbre_hidden_dim, 1, kWidthMax) &&
                 c.timbre_hidden_dim == c.audio_acoustic_hidden_dim &&
                 c.in_channels == 3 * c.audio_acoustic_hidden_dim && layers(c.num_dit_layers) &&
                 layers(c.num_lyric_layers) && layers(c.num_timbre_layers) &&
                 layers(c.num_tokenizer_layers) && within(c.head_dim, 2, kWidthMax) &&
                 c.head_dim % 2 == 0 && within(c.num_kv_heads, 1, c.num_heads) &&
                 within(c.num_heads, 1, kWidthMax) && c.num_heads % c.num_kv_heads == 0 &&
                 within(std::int64_t{c.num_heads} * c.head_dim, 1, kWidthMax) &&
                 within(coder.heads * coder.head_dim, 1, kWidthMax) &&
                 within(c.intermediate_size, 1, kWidthMax) && within(c.patch_size, 1, kPatchMax) &&
                 within(c.pool_window_size, 1, kPatchMax) &&
                 within(c.sliding_window, 1, kVocabularyMax) && c.fsq_dim == c.hidden_size &&
                 within(std::ssize(c.fsq_levels), 1, 64) &&
                 within(c.fsq_input_num_quantizers, 1, 64);
    std::int64_t codes = 1;
    for (const int level : c.fsq_levels) {
        sound = sound && within(level, 2, kWidthMax);
        if (sound) codes *= level;
        sound = sound && codes <= kCodesMax;
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("ACE-Step 1.5 of width {} with {} layers and {} heads of {} "
                                "cannot be",
                                c.hidden_size, c.num_dit_layers, c.num_heads, c.head_dim));
    return std::make_shared<const AceStep15Network>(c);
}

}  // namespace plimsoll::memory
