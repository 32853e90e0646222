// SPDX-License-Identifier: Apache-2.0
//
// HunyuanVideo with HunyuanImage 2.1, and Wan 2.1 and 2.2.
#include "modelfile/detect_numbers.h"

#include <algorithm>
#include <array>

namespace plimsoll::modelfile {
namespace {

Family family_of(const HunyuanVideoConfig& c) {
    if (c.vision_in_dim != 0) return Family::HunyuanVideo15;
    if (c.vec_in_dim != 0) return Family::HunyuanVideo;
    return c.patch_size.size() == 3 ? Family::HunyuanImage21Refiner : Family::HunyuanImage21;
}

// A tensor under ComfyUI's name, an older one of ComfyUI's, and Tencent's.
struct HunyuanName {
    std::array<std::string_view, 3> names;

    [[nodiscard]] std::string in(const TensorView& view, std::string_view block) const {
        for (const std::string_view name : names)
            if (view.has(std::string(block) + std::string(name)))
                return std::string(block) + std::string(name);
        return std::string(block) + std::string(names.front());
    }
};
constexpr HunyuanName kKeyNorm{
    {"img_attn.norm.key_norm.weight", "img_attn.norm.key_norm.scale", "img_attn_k_norm.weight"}};
constexpr HunyuanName kFeedForward{
    {"img_mlp.0.weight", "img_mlp.fc1.weight", "img_mlp.fc1.weight"}};
constexpr HunyuanName kQkvBias{{"img_attn.qkv.bias", "img_attn_qkv.bias", "img_attn_qkv.bias"}};

// Relatives of Wan, by a tensor that only they have.
struct WanRelative {
    std::string_view start;
    std::string_view name;
    std::string_view model_type = {};  // empty: not modelled
};
constexpr std::array kWanRelatives = std::to_array<WanRelative>({
    {"casual_audio_encoder.", "Wan 2.2 S2V", "s2v"},
    {"audio_proj.audio_proj_glob_1.", "Wan HuMo", "humo"},
    {"audio_proj.", "another Wan that listens to sound"},
    {"face_adapter.", "Wan 2.2 Animate", "animate"},
    {"pose_patch_embedding.", "Wan 2.2 Animate", "animate"},
    {"patch_embedding_mask.", "Wan SCAIL 2"},
    {"patch_embedding_pose.", "Wan SCAIL", "scail"},
    {"patch_embedding_global.", "WanDancer"},
    {"img_emb.emb_pos", "Wan from first and last frame"},
});

Family family_of(const WanConfig& c) {
    if (c.model_type == "vace") return Family::WanVace;
    return c.model_type == "animate" ? Family::WanAnimate : Family::Wan;
}

}  // namespace

std::optional<DetectedDenoiser> detect_hunyuan_video(const TensorView& view, Notes& notes) {
    NumberReader read(view, "HunyuanVideo");
    HunyuanVideoConfig c;
    const std::size_t rank = view.rank("img_in.proj.weight");  // a convolution over 2 or 3 axes
    read.expect(rank == 4 || rank == 5, "its first layer is no convolution of an image or a video");
    if (!read.sound(notes)) return std::nullopt;
    c.hidden_size = read.length("img_in.proj.weight", 0, rank);
    c.in_channels = read.length("img_in.proj.weight", 1, rank);
    c.patch_size.clear();
    std::int64_t cells = 1;
    for (std::size_t axis = 2; axis < rank; ++axis) {
        c.patch_size.push_back(read.length("img_in.proj.weight", axis, rank));
        constexpr int kPatchMax = 64;
        read.expect(c.patch_size.back() <= kPatchMax, "its patches are too large");
        cells *= std::min(c.patch_size.back(), kPatchMax);
    }
    c.out_channels = read.quotient(read.length("final_layer.linear.weight", 0, 2),
                                   static_cast<int>(cells), "channels of a patch");
    const auto block = [&](const HunyuanName& name) { return name.in(view, "double_blocks.0."); };
    c.num_heads = read.quotient(c.hidden_size, read.length(block(kKeyNorm), 0, 1), "heads");
    c.mlp_ratio = read.ratio(read.length(block(kFeedForward), 0, 2), c.hidden_size);
    c.depth = read.blocks("double_blocks.{}.", "double blocks");
    c.vision_in_dim = read.length_if_any("vision_in.proj.0.weight", 0, 1);
    const bool is_15 = c.vision_in_dim != 0;  // which has no blocks of the second kind
    c.depth_single_blocks = is_15 ? 0 : read.blocks("single_blocks.{}.", "single blocks");
    c.context_in_dim = read.length("txt_in.input_embedder.weight", 1, 2);
    c.vec_in_dim = read.length_if_any("vector_in.in_layer.weight", 1, 2);
    c.qkv_bias = view.has(block(kQkvBias));
    c.guidance_embed = view.has_any("guidance_in.");
    c.axes_dim = rank == 4 ? std::vector{64, 64} : std::vector{16, 56, 56};  // as published
    c.byt5 = view.has("byt5_in.fc1.weight");
    c.meanflow = view.has_any("time_r_in.");
    c.meanflow_sum = is_15;
    c.use_cond_type_embedding = view.has("cond_type_embedding.weight");
    if (!read.sound(notes)) return std::nullopt;
    const Family family = family_of(c);
    return DetectedDenoiser{std::move(c), family};
}

std::optional<DetectedDenoiser> detect_wan(const TensorView& view, Notes& notes) {
    const auto* relative = std::ranges::find_if(
        kWanRelatives, [&](const WanRelative& r) { return view.has_any(r.start); });
    const bool is_relative = relative != kWanRelatives.end();
    if (is_relative && relative->model_type.empty()) return not_modelled(notes, relative->name);
    constexpr int kHeadWidth = 128;  // of all that were published
    NumberReader read(view, "Wan");
    WanConfig c;
    const bool has_image = view.has("img_emb.proj.0.bias");
    if (is_relative) {
        c.model_type = relative->model_type;
    } else if (view.has("vace_patch_embedding.weight")) {
        if (has_image) return not_modelled(notes, "Wan VACE with an image encoder");
        c.model_type = "vace";
        c.vace_layers = read.blocks("vace_blocks.{}.", "control blocks");
        c.vace_in_dim = read.length("vace_patch_embedding.weight", 1, 5);
    } else if (view.has("control_adapter.conv.weight")) {
        constexpr int kFolded = 64;  // pixels of a cell
        c.model_type = has_image ? "camera" : "camera_2.2";
        c.in_dim_control_adapter = read.quotient(read.length("control_adapter.conv.weight", 1, 4),
                                                 kFolded, "channels of the camera's path");
    } else {
        c.model_type = has_image ? "i2v" : "t2v";
    }
    c.dim = read.length("head.modulation", 2, 3);
    c.ffn_dim = read.length("blocks.0.ffn.0.weight", 0, 2);
    c.num_heads = read.quotient(c.dim, kHeadWidth, "heads");
    c.num_layers = read.blocks("blocks.{}.", "blocks");
    c.in_dim = read.length("patch_embedding.weight", 1, 5);
    std::int64_t cells = 1;
    for (std::size_t axis = 0; axis < c.patch_size.size(); ++axis) {
        int& length = c.patch_size.at(axis);
        length = read.length("patch_embedding.weight", 2 + axis, 5);
        constexpr int kPatchMax = 64;
        read.expect(length <= kPatchMax, "its patches are too large");
        cells *= std::min(length, kPatchMax);
    }
    c.out_dim = read.quotient(read.length("head.head.weight", 0, 2), static_cast<int>(cells),
                              "channels of a patch");
    c.freq_dim = read.length("time_embedding.0.weight", 1, 2);
    c.text_dim = read.length("text_embedding.0.weight", 1, 2);
    c.qk_norm = view.has("blocks.0.self_attn.norm_q.weight");
    c.cross_attn_norm = view.has("blocks.0.norm3.weight");
    c.in_dim_ref_conv = read.length_if_any("ref_conv.weight", 1, 4);
    if (!read.sound(notes)) return std::nullopt;
    const Family family = family_of(c);
    return DetectedDenoiser{std::move(c), family};
}

}  // namespace plimsoll::modelfile
