// SPDX-License-Identifier: Apache-2.0
//
// Flux and its descendants: Flux 2, LongCat-Image, Chroma, Chroma Radiance.
#include "modelfile/detect_numbers.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::modelfile {
namespace {

// Rotary axes and numbered text axes are the networks' published constants: no tensor shows them.
const std::vector<int> kFluxAxes = {16, 56, 56};
const std::vector<int> kFlux2Axes = {32, 32, 32, 32};

// Newer files call the norms' scales weights.
std::string_view norm_name(const TensorView& view) {
    constexpr std::string_view kOld = "double_blocks.0.img_attn.norm.key_norm.scale";
    return view.has(kOld) ? kOld : "double_blocks.0.img_attn.norm.key_norm.weight";
}

}  // namespace

Family family_of(const FluxConfig& c) {
    constexpr int kFillChannels = 96;  // latent, masked latent, mask of 8 x 8 pixels: 16 + 16 + 64
    if (c.global_modulation) return Family::Flux2;
    // LongCat-Image: no pooled text, the text encoder is Qwen 2.5 7B.
    if (c.yak_mlp) return Family::Flux;  // Ovis-Image, which ComfyUI runs as one
    if (c.vec_in_dim == 0) return c.context_in_dim == 3584 ? Family::LongCatImage : Family::Unknown;
    return c.in_channels == kFillChannels ? Family::FluxFill : Family::Flux;
}

std::optional<DetectedDenoiser> detect_flux(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Flux");
    FluxConfig c;
    c.yak_mlp = view.has("double_blocks.0.img_mlp.gate_proj.weight");
    c.txt_norm = view.has("txt_norm.weight");
    c.global_modulation = view.has("double_stream_modulation_img.lin.weight");
    c.mlp_silu_act = c.global_modulation;  // Flux 2 alone has either, and no biases
    c.ops_bias = view.has("img_in.bias");
    c.qkv_bias = view.has("double_blocks.0.img_attn.qkv.bias");
    c.patch_size = c.global_modulation ? 1 : 2;  // Flux 2's latent is folded already
    const int cells = c.patch_size * c.patch_size;
    c.hidden_size = read.length("img_in.weight", 0, 2);
    c.in_channels = read.quotient(read.length("img_in.weight", 1, 2), cells, "channels of a patch");
    c.out_channels =
        read.quotient(read.length("final_layer.linear.weight", 0, 2), cells, "channels of a patch");
    c.num_heads = read.quotient(c.hidden_size, read.length(norm_name(view), 0, 1), "heads");
    const int gates = c.mlp_silu_act ? 2 : 1;
    c.mlp_ratio =
        read.ratio(read.quotient(read.length(c.yak_mlp ? "double_blocks.0.img_mlp.gate_proj.weight"
                                                       : "double_blocks.0.img_mlp.0.weight",
                                             0, 2),
                                 gates, "gated width"),
                   c.hidden_size);
    c.depth = read.blocks("double_blocks.{}.", "double blocks");
    c.depth_single_blocks = read.blocks("single_blocks.{}.", "single blocks");
    c.context_in_dim = read.length("txt_in.weight", 1, 2);
    c.vec_in_dim = read.length_if_any("vector_in.in_layer.weight", 1, 2);
    c.guidance_embed = view.has("guidance_in.in_layer.weight");
    c.axes_dim = c.global_modulation ? kFlux2Axes : kFluxAxes;
    const Family family = family_of(c);
    if (family == Family::Flux2) c.txt_ids_dims = {3};
    if (family == Family::LongCatImage || c.yak_mlp) c.txt_ids_dims = {1, 2};
    if (!read.sound(notes)) return std::nullopt;
    if (family == Family::Unknown)
        return not_modelled(notes, "a network like Flux without pooled text");
    return DetectedDenoiser{std::move(c), family};
}

std::optional<DetectedDenoiser> detect_chroma(const TensorView& view, Notes& notes) {
    if (view.has_any("nerf_blocks.") || view.has("img_in_patch.weight"))
        return detect_chroma_radiance(view, notes);
    NumberReader read(view, "Chroma");
    ChromaConfig c;
    c.in_channels = read.length("img_in.weight", 1, 2);
    c.out_channels = read.length("final_layer.linear.weight", 0, 2);
    c.hidden_size = read.length("img_in.weight", 0, 2);
    c.num_heads = read.quotient(c.hidden_size, read.length(norm_name(view), 0, 1), "heads");
    c.mlp_ratio = read.ratio(read.length("double_blocks.0.img_mlp.0.weight", 0, 2), c.hidden_size);
    c.depth = read.blocks("double_blocks.{}.", "double blocks");
    c.depth_single_blocks = read.blocks("single_blocks.{}.", "single blocks");
    c.context_in_dim = read.length("txt_in.weight", 1, 2);
    c.qkv_bias = view.has("double_blocks.0.img_attn.qkv.bias");
    c.hidden_dim = read.length("distilled_guidance_layer.in_proj.weight", 0, 2);
    c.in_dim = read.length("distilled_guidance_layer.in_proj.weight", 1, 2);
    c.out_dim = read.length("distilled_guidance_layer.out_proj.weight", 0, 2);
    c.n_layers = read.blocks("distilled_guidance_layer.layers.{}.", "guidance layers");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Chroma};
}

std::optional<DetectedDenoiser> detect_chroma_radiance(const TensorView& view, Notes& notes) {
    if (!view.has("nerf_final_layer_conv.conv.weight"))
        return not_modelled(notes, "Chroma Radiance without a last convolution");
    NumberReader read(view, "Chroma Radiance");
    ChromaRadianceConfig c;
    c.use_x0 = view.has("__x0__");
    c.hidden_size = read.length("img_in_patch.weight", 0, 4);
    c.in_channels = read.length("img_in_patch.weight", 1, 4);
    c.patch_size = read.length("img_in_patch.weight", 2, 4);
    c.out_channels = read.length("nerf_final_layer_conv.conv.weight", 0, 4);
    c.num_heads = read.quotient(c.hidden_size, read.length(norm_name(view), 0, 1), "heads");
    c.mlp_ratio = read.ratio(read.length("double_blocks.0.img_mlp.0.weight", 0, 2), c.hidden_size);
    c.depth = read.blocks("double_blocks.{}.", "double blocks");
    c.depth_single_blocks = read.blocks("single_blocks.{}.", "single blocks");
    c.context_in_dim = read.length("txt_in.weight", 1, 2);
    c.qkv_bias = view.has("double_blocks.0.img_attn.qkv.bias");
    c.hidden_dim = read.length("distilled_guidance_layer.in_proj.weight", 0, 2);
    c.in_dim = read.length("distilled_guidance_layer.in_proj.weight", 1, 2);
    c.out_dim = read.length("distilled_guidance_layer.out_proj.weight", 0, 2);
    c.n_layers = read.blocks("distilled_guidance_layer.layers.{}.", "guidance layers");
    c.nerf_depth = read.blocks("nerf_blocks.{}.", "pixel blocks");
    c.nerf_hidden_size = read.length("nerf_image_embedder.embedder.0.weight", 0, 2);
    // A pixel's channels, then the cosines of its place: all pairs of frequencies.
    const int waves = read.length("nerf_image_embedder.embedder.0.weight", 1, 2) - c.in_channels;
    c.nerf_max_freqs = static_cast<int>(std::lround(std::sqrt(std::max(waves, 0))));
    read.expect(c.nerf_max_freqs * c.nerf_max_freqs == waves,
                "its frequencies of places are no square");
    // One generator makes a gate, a value and an output projection for every patch.
    const int generated = read.length("nerf_blocks.0.param_generator.weight", 0, 2);
    constexpr int kProjections = 3;
    c.nerf_mlp_ratio =
        read.quotient(read.quotient(generated, kProjections * c.nerf_hidden_size, "pixel widths"),
                      c.nerf_hidden_size, "pixel widths");
    c.nerf_embedder_dtype = "torch.float32";  // as ComfyUI chooses it
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::ChromaRadiance};
}

}  // namespace plimsoll::modelfile
