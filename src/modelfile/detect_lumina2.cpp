// SPDX-License-Identifier: Apache-2.0
//
// Lumina Image 2.0, Z-Image, OmniGen2 and Boogu-Image: single streams of text and image, refined
// apart first.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {
namespace {

// Published constants that no tensor shows.
constexpr int kMultipleOf = 256;
constexpr int kTokensMultiple = 32;
constexpr int kPatch = 2;

}  // namespace

std::optional<DetectedDenoiser> detect_lumina2(const TensorView& view, Notes& notes) {
    if (view.has("dec_net.cond_embed.weight"))
        return not_modelled(notes, "Z-Image that draws pixels");
    if (view.has_any("clip_text_pooled_proj.")) return not_modelled(notes, "NewBie");
    if (view.has_any("siglip_embedder.")) return not_modelled(notes, "Z-Image Omni");
    if (view.has("layers.0.attention.to_q.weight"))
        return not_modelled(notes, "Lumina 2 or Z-Image under diffusers' names");
    NumberReader read(view, "Lumina 2 or Z-Image");
    Lumina2Config c;
    c.z_image_modulation = view.has("layers.0.adaLN_modulation.0.weight");
    c.patch_size = kPatch;
    c.dim = read.length("x_embedder.weight", 0, 2);
    c.in_channels = read.quotient(read.length("x_embedder.weight", 1, 2), kPatch * kPatch,
                                  "channels of a patch");
    c.n_layers = read.blocks("layers.{}.", "layers");
    c.n_refiner_layers = read.blocks("noise_refiner.{}.", "refiner layers");
    read.expect(c.n_refiner_layers == view.count("context_refiner.{}."),
                "text and image are refined by different numbers of layers");
    const int head = read.length("layers.0.attention.q_norm.weight", 0, 1);
    c.n_heads = read.quotient(c.dim, head, "heads");
    // Queries of all heads, keys and values of fewer.
    const int all =
        read.quotient(read.length("layers.0.attention.qkv.weight", 0, 2), head, "heads");
    c.n_kv_heads = read.quotient(all - c.n_heads, 2, "heads of keys");
    c.multiple_of = kMultipleOf;
    const int ffn = read.length("layers.0.feed_forward.w1.weight", 0, 2);
    read.expect(ffn % kMultipleOf == 0, "its feed-forward width is no multiple of 256");
    c.ffn_dim_multiplier = read.ratio(ffn, c.dim);
    c.cap_feat_dim = read.length("cap_embedder.1.weight", 1, 2);
    c.axes_dims = c.z_image_modulation ? std::vector{32, 48, 48} : std::vector{32, 32, 32};
    c.pad_tokens_multiple = view.has("cap_pad_token") ? kTokensMultiple : 0;
    c.unused_norm_final = view.has("norm_final.weight");
    if (!read.sound(notes)) return std::nullopt;
    const Family family = c.z_image_modulation ? Family::ZImage : Family::Lumina2;
    return DetectedDenoiser{std::move(c), family};
}

std::optional<DetectedDenoiser> detect_omnigen2(const TensorView& view, Notes& notes) {
    NumberReader read(view, "OmniGen 2");
    OmniGen2Config c;
    c.patch_size = kPatch;
    c.hidden_size = read.length("x_embedder.weight", 0, 2);
    c.in_channels = read.quotient(read.length("x_embedder.weight", 1, 2), kPatch * kPatch,
                                  "channels of a patch");
    c.num_layers = read.blocks("layers.{}.", "layers");
    c.num_refiner_layers = read.blocks("noise_refiner.{}.", "refiner layers");
    for (const int others :
         {view.count("ref_image_refiner.{}."), view.count("context_refiner.{}.")})
        read.expect(c.num_refiner_layers == others,
                    "its refiners have different numbers of layers");
    const int head = read.length("layers.0.attn.norm_q.weight", 0, 1);
    c.num_attention_heads = read.quotient(c.hidden_size, head, "heads");
    c.num_kv_heads =
        read.quotient(read.length("layers.0.attn.to_k.weight", 0, 2), head, "heads of keys");
    c.multiple_of = kMultipleOf;
    c.text_feat_dim = read.length("time_caption_embed.caption_embedder.1.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::OmniGen2};
}

std::optional<DetectedDenoiser> detect_boogu(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Boogu");
    BooguConfig c;
    c.patch_size = kPatch;
    c.hidden_size = read.length("x_embedder.weight", 0, 2);
    c.in_channels = read.quotient(read.length("x_embedder.weight", 1, 2), kPatch * kPatch,
                                  "channels of a patch");
    c.num_layers = read.blocks("single_stream_layers.{}.", "layers");
    c.num_double_stream_layers = read.blocks("double_stream_layers.{}.", "layers of two streams");
    c.num_refiner_layers = read.blocks("noise_refiner.{}.", "refiner layers");
    for (const int others :
         {view.count("ref_image_refiner.{}."), view.count("context_refiner.{}.")})
        read.expect(c.num_refiner_layers == others,
                    "its refiners have different numbers of layers");
    const int head = read.length("single_stream_layers.0.attn.norm_q.weight", 0, 1);
    c.num_attention_heads = read.quotient(c.hidden_size, head, "heads");
    c.num_kv_heads = read.quotient(read.length("single_stream_layers.0.attn.to_k.weight", 0, 2),
                                   head, "heads of keys");
    c.multiple_of = kMultipleOf;
    c.instruction_feat_dim = read.length("time_caption_embed.caption_embedder.1.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Boogu};
}

}  // namespace plimsoll::modelfile
