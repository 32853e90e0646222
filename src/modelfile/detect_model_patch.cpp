// SPDX-License-Identifier: Apache-2.0
//
// Model patches: DiffSynth's for Qwen-Image, Fun's for Z-Image, LLLite for Anima.
#include "modelfile/detect_numbers.h"
#include "modelfile/detect_parts.h"

#include <fmt/format.h>

namespace plimsoll::modelfile {
namespace {

std::optional<PatchConfig> detect_qwen_patch(const TensorView& view, Notes& notes) {
    NumberReader read(view, "a model patch of Qwen-Image");
    QwenPatchConfig c;
    c.num_layers = read.blocks("controlnet_blocks.{}.", "blocks");
    c.dim = read.length("img_in.weight", 0, 2);
    c.hint_channels = read.length("img_in.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<PatchConfig> detect_z_image_patch(const TensorView& view, Notes& notes) {
    constexpr int kCells = 4;  // of a patch
    NumberReader read(view, "a model patch of Z-Image");
    ZImagePatchConfig c;
    c.n_control_layers = read.blocks("control_layers.{}.", "blocks");
    c.hint_channels = read.quotient(read.length("control_all_x_embedder.2-1.weight", 1, 2), kCells,
                                    "channels of a patch");
    c.refiner_control = view.has("control_noise_refiner.0.after_proj.weight");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<PatchConfig> detect_anima_patch(const TensorView& view, Notes& notes) {
    constexpr int kBlocksMax = 256;  // chosen: no network is as deep
    NumberReader read(view, "LLLite of Anima");
    AnimaPatchConfig c;
    c.cond_in_channels = read.length("lllite_conditioning1.conv1.weight", 1, 4);
    c.cond_dim = read.length("lllite_conditioning1.conv3.weight", 0, 4);
    c.cond_emb_dim = read.length("lllite_conditioning1.proj.weight", 0, 4);
    c.cond_resblocks = view.has("lllite_conditioning1.resblocks.0.conv1.weight")
                           ? read.blocks("lllite_conditioning1.resblocks.{}.", "blocks")
                           : 0;
    // Their dilations are in the file's metadata; these are the usual ones.
    if (view.has_any("lllite_conditioning1.aspp.")) c.aspp_dilations = {1, 2, 4, 8};
    const auto has = [&](int block, std::string_view target) {
        return view.has(fmt::format("lllite_dit_blocks_{}_{}.down.weight", block, target));
    };
    c.self_attention = has(0, "self_attn_q_proj");
    c.cross_attention = has(0, "cross_attn_q_proj");
    c.mlp = has(0, "mlp_layer1");
    const std::string_view target = c.self_attention    ? "self_attn_q_proj"
                                    : c.cross_attention ? "cross_attn_q_proj"
                                                        : "mlp_layer1";
    c.num_blocks = 0;
    while (c.num_blocks < kBlocksMax && has(c.num_blocks, target)) ++c.num_blocks;
    const std::string first = fmt::format("lllite_dit_blocks_0_{}.down.weight", target);
    c.mlp_dim = read.length(first, 0, 2);
    c.model_dim = read.length(first, 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace

std::optional<PatchConfig> detect_model_patch(const TensorView& view, Notes& notes) {
    if (view.has("lllite_conditioning1.conv1.weight")) return detect_anima_patch(view, notes);
    if (view.has("controlnet_blocks.0.y_rms.weight")) return detect_qwen_patch(view, notes);
    if (view.has("control_all_x_embedder.2-1.weight")) return detect_z_image_patch(view, notes);
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
