// SPDX-License-Identifier: Apache-2.0
//
// Networks that make sound: Stable Audio Open, ACE-Step and ACE-Step 1.5.
#include "modelfile/detect_numbers.h"

#include <algorithm>

namespace plimsoll::modelfile {

namespace {

std::optional<DetectedDenoiser> detect_stable_audio_3(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Stable Audio 3");
    StableAudio3Config c;
    const std::string layer = "transformer.layers.0.";
    c.io_channels = read.length("postprocess_conv.weight", 0, 3);
    c.embed_dim = read.length("to_timestep_embed.0.weight", 0, 2);
    c.cond_token_dim = read.length("to_cond_embed.0.weight", 1, 2);
    c.global_cond_dim = read.length("to_global_embed.0.weight", 1, 2);
    c.local_add_cond_dim = read.length(layer + "to_local_embed.0.weight", 1, 2);
    c.num_memory_tokens = read.length("transformer.memory_tokens", 0, 2);
    c.depth = read.blocks("transformer.layers.{}.", "layers");
    c.num_heads =
        read.quotient(c.embed_dim, read.length(layer + "self_attn.q_norm.gamma", 0, 1), "heads");
    constexpr int kSets = 5;  // of an attention that is the difference of two
    read.expect(read.length(layer + "self_attn.to_qkv.weight", 0, 2) == kSets * c.embed_dim &&
                    read.length("to_cond_embed.0.weight", 0, 2) == c.embed_dim,
                "it is another one than the medium");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{c, Family::StableAudio3};
}

}  // namespace

std::optional<DetectedDenoiser> detect_stable_audio(const TensorView& view, Notes& notes) {
    if (view.has("transformer.global_cond_embedder.0.weight"))
        return detect_stable_audio_3(view, notes);
    NumberReader read(view, "Stable Audio");
    StableAudioConfig c;
    c.io_channels = read.length("transformer.project_in.weight", 1, 2);
    c.embed_dim = read.length("transformer.project_in.weight", 0, 2);
    c.cond_token_dim = read.length("to_cond_embed.0.weight", 1, 2);
    c.global_cond_dim = read.length("to_global_embed.0.weight", 1, 2);
    c.depth = read.blocks("transformer.layers.{}.", "layers");
    // Half of a head's channels are rotated, in pairs.
    constexpr int kOfFrequency = 4;
    const int frequencies = read.length("transformer.rotary_pos_emb.inv_freq", 0, 1);
    constexpr int kFrequenciesMax = 1 << 16;
    read.expect(frequencies <= kFrequenciesMax, "its heads are too wide");
    if (!read.sound(notes)) return std::nullopt;
    c.num_heads = read.quotient(c.embed_dim, kOfFrequency * frequencies, "heads");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{c, Family::StableAudio};
}

std::optional<DetectedDenoiser> detect_ace_step(const TensorView& view, Notes& notes) {
    constexpr int kHeadWidth = 128;  // as published
    NumberReader read(view, "ACE-Step");
    AceStepConfig c;
    const int hidden = read.length("genre_embedder.weight", 0, 2);
    c.text_embedding_dim = read.length("genre_embedder.weight", 1, 2);
    c.attention_head_dim = kHeadWidth;
    c.num_attention_heads = read.quotient(hidden, kHeadWidth, "heads");
    c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
    c.in_channels = read.length("proj_in.early_conv_layers.0.weight", 1, 4);
    c.patch_size = {read.length("proj_in.early_conv_layers.0.weight", 2, 4),
                    read.length("proj_in.early_conv_layers.0.weight", 3, 4)};
    constexpr int kPatchMax = 64;
    read.expect(c.patch_size[0] <= kPatchMax && c.patch_size[1] <= kPatchMax,
                "its patches are too large");
    if (!read.sound(notes)) return std::nullopt;
    c.out_channels = read.quotient(read.length("final_layer.linear.weight", 0, 2),
                                   c.patch_size[0] * c.patch_size[1], "channels of a patch");
    c.mlp_ratio =
        read.ratio(read.length("transformer_blocks.0.ff.point_conv.conv.weight", 1, 3), hidden);
    c.speaker_embedding_dim = read.length("speaker_embedder.weight", 1, 2);
    c.lyric_encoder_vocab_size = read.length("lyric_embs.weight", 0, 2);
    c.lyric_hidden_size = read.length("lyric_embs.weight", 1, 2);
    c.ssl_latent_dims.clear();
    constexpr int kProjectorsMax = 16;
    const int projectors = std::min(view.count("projectors.{}."), kProjectorsMax);
    for (int i = 0; i < projectors; ++i)
        c.ssl_latent_dims.push_back(read.length(fmt::format("projectors.{}.4.weight", i), 0, 2));
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::AceStep};
}

std::optional<DetectedDenoiser> detect_ace_step15(const TensorView& view, Notes& notes) {
    NumberReader read(view, "ACE-Step 1.5");
    AceStep15Config c;
    c.hidden_size = read.length("decoder.proj_in.1.weight", 0, 3);
    c.in_channels = read.length("decoder.proj_in.1.weight", 1, 3);
    c.patch_size = read.length("decoder.proj_in.1.weight", 2, 3);
    c.text_hidden_dim = read.length("encoder.text_projector.weight", 1, 2);
    c.timbre_hidden_dim = read.length("encoder.timbre_encoder.embed_tokens.weight", 1, 2);
    c.audio_acoustic_hidden_dim = read.length("tokenizer.audio_acoustic_proj.weight", 1, 2);
    c.num_dit_layers = read.blocks("decoder.layers.{}.", "layers");
    c.num_lyric_layers = read.blocks("encoder.lyric_encoder.layers.{}.", "layers for lyrics");
    c.num_timbre_layers = read.blocks("encoder.timbre_encoder.layers.{}.", "layers for timbre");
    c.num_tokenizer_layers =
        read.blocks("tokenizer.attention_pooler.layers.{}.", "layers of its tokenizer");
    c.head_dim = read.length("decoder.layers.0.self_attn.q_norm.weight", 0, 1);
    c.num_heads = read.quotient(read.length("decoder.layers.0.self_attn.q_proj.weight", 0, 2),
                                c.head_dim, "heads");
    c.num_kv_heads = read.quotient(read.length("decoder.layers.0.self_attn.k_proj.weight", 0, 2),
                                   c.head_dim, "heads of keys");
    c.intermediate_size = read.length("decoder.layers.0.mlp.gate_proj.weight", 0, 2);
    c.pool_window_size = read.length("detokenizer.special_tokens", 1, 3);
    c.fsq_dim = read.length("tokenizer.quantizer.project_in.weight", 1, 2);
    // No tensor tells the levels, only how many.
    read.expect(read.length("tokenizer.quantizer.project_in.weight", 0, 2) ==
                    static_cast<int>(c.fsq_levels.size()),
                "its codes have other levels than those published");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::AceStep15};
}

std::optional<DetectedDenoiser> detect_minimax_music3(const TensorView& view, Notes& notes) {
    NumberReader read(view, "MiniMax Music 3");
    MiniMaxMusic3Config c;
    c.context_layers = read.length("cond_layer_logits", 0, 1);
    c.context_width = read.length("latent_conditioners.0.weight", 1, 3);
    c.embed_dim = read.length("latent_conditioners.0.weight", 0, 3);
    c.latent_channels = read.length("diffusion_transformer.postprocess_conv.weight", 0, 3);
    c.depth = read.blocks("diffusion_transformer.transformer.layers.{}.", "layers");
    c.ff_dim = read.length("diffusion_transformer.transformer.layers.0.ff.ff.2.weight", 1, 2);
    constexpr int kHeadWidth = 64;  // as published; twice the rotated channels
    c.num_heads = read.quotient(c.embed_dim, kHeadWidth, "heads");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{c, Family::MiniMaxMusic3};
}

namespace {

// Weights of normed convolutions go by the name of whoever wrote the file.
std::string normed_weight(const TensorView& view, std::string_view layer) {
    std::string older = fmt::format("{}.weight_v", layer);
    if (view.has(older)) return older;
    return fmt::format("{}.parametrizations.weight.original1", layer);
}

}  // namespace

std::optional<MusicDcaeConfig> detect_music_dcae(const TensorView& view, Notes& notes) {
    if (!view.has("vocoder.backbone.channel_layers.0.0.bias")) return std::nullopt;
    NumberReader read(view, "the VAE of ACE-Step");
    MusicDcaeConfig c;
    c.in_channels = read.length("dcae.encoder.conv_in.weight", 1, 4);
    c.latent_channels = read.length("dcae.decoder.conv_in.weight", 1, 4);
    // Where the rate changes, the width does: all levels but the last end in such a layer.
    const auto level = [&](std::string_view half, std::size_t i) {
        return view.below(fmt::format("dcae.{}.{}.", half, i));
    };
    const auto blocks = [](const TensorView& of) { return of.count("{}."); };
    const std::size_t depth = c.block_out_channels.size();
    for (std::size_t i = 0; i < depth; ++i) {
        const int changes = i + 1 < depth ? 1 : 0;
        const TensorView down = level("encoder.down_blocks", i);
        c.encoder_layers_per_block[i] = blocks(down) - changes;
        c.decoder_layers_per_block[i] = blocks(level("decoder.up_blocks", i)) - changes;
        c.block_out_channels[i] = down.axis(i + 1 < depth ? "0.conv1.weight" : "0.attn.to_q.weight",
                                            0, i + 1 < depth ? 4 : 2);
    }
    read.expect(!view.has_any(fmt::format("dcae.decoder.up_blocks.{}.", depth)),
                "it has more levels than the one published");
    c.attention_head_dim = read.length(
        fmt::format("dcae.decoder.up_blocks.{}.0.attn.to_qkv_multiscale.0.proj_out.weight",
                    depth - 1),
        1, 4);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// The larger one; the small ones' coders look over chunks.
std::optional<SameVaeConfig> detect_same_vae(const TensorView& view, Notes& notes) {
    if (!view.has("decoder.layers.3.transformers.0.pre_norm.alpha")) return std::nullopt;
    constexpr int kMult = 6;  // published: its width over its channels
    constexpr int kLargerDepth = 12;
    NumberReader read(view, "the VAE of Stable Audio 3");
    SameVaeConfig c;
    c.transformer_depths = read.blocks("decoder.layers.3.transformers.{}.", "blocks");
    c.channels = read.quotient(read.length("decoder.layers.1.weight", 0, 2), kMult, "channels");
    read.expect(c.transformer_depths == kLargerDepth, "it is one of the small ones");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<OobleckConfig> detect_oobleck(const TensorView& view, Notes& notes) {
    if (!view.has("decoder.layers.1.layers.0.beta")) return std::nullopt;
    constexpr int kLevelsMax = 16;
    NumberReader read(view, "the VAE of Stable Audio");
    const auto weight = [&](std::string_view layer) { return normed_weight(view, layer); };
    OobleckConfig c;
    c.channels = read.length(weight("encoder.layers.0"), 0, 3);
    c.in_channels = read.length(weight("encoder.layers.0"), 1, 3);
    c.latent_dim = read.length(weight("decoder.layers.0"), 1, 3);
    c.c_mults.clear();
    c.strides.clear();
    // An encoder's level ends in the convolution that changes the rate, twice its stride wide.
    for (int i = 1; i <= kLevelsMax; ++i) {
        const std::string level = weight(fmt::format("encoder.layers.{}.layers.4", i));
        if (!view.has(level)) break;
        c.c_mults.push_back(read.quotient(read.length(level, 0, 3), c.channels, "channels"));
        c.strides.push_back(read.quotient(read.length(level, 2, 3), 2, "samples of a stride"));
    }
    read.expect(!c.strides.empty(), "it has no levels");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace plimsoll::modelfile
