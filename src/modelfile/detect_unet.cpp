// SPDX-License-Identifier: Apache-2.0
//
// The LDM UNet and its encoder half as a ControlNet, in both layouts. Both are read into the same
// numbers: per level the ResBlocks, each with its channels and the depth of the transformer behind
// it.
#include "modelfile/detect_numbers.h"
#include "modelfile/detect_parts.h"

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::modelfile {
namespace {

struct ResBlockShape {
    int channels = 0;
    int depth = 0;
};
using Level = std::vector<ResBlockShape>;

int transformer_depth(const TensorView& attention) {
    return attention.count("transformer_blocks.{}.");
}

std::nullopt_t refuse(Notes& notes, const TensorView& view, std::string_view why) {
    notes.push_back(fmt::format("UNet below \"{}\" contradicts itself: {}", view.prefix(), why));
    return std::nullopt;
}

// Context width and kind of projection, from the first transformer that is met; all others must
// agree.
class AttentionFacts {
  public:
    void read(const TensorView& attention, UnetConfig& config) {
        const int width = attention.axis("transformer_blocks.0.attn2.to_k.weight", 1, 2);
        if (width == 0) return;
        if (is_known_ && width != config.context_dim) is_contradictory_ = true;
        if (attention.has_any("time_stack.") || attention.has_any("time_mix_blocks."))
            config.temporal = true;
        if (is_known_) return;
        is_known_ = true;
        config.context_dim = width;
        config.use_linear_in_transformer = attention.rank("proj_in.weight") == 2;
    }
    // Empty when all is well.
    [[nodiscard]] std::string_view fault() const {
        if (!is_known_) return "no cross-attention was found";
        return is_contradictory_ ? "its cross-attentions expect contexts of different widths" : "";
    }

  private:
    bool is_known_ = false;
    bool is_contradictory_ = false;
};

// False where a level is empty or its channels are no multiple of model_channels.
bool write_levels(const std::vector<Level>& levels, UnetConfig& config) {
    for (const Level& level : levels) {
        if (level.empty() || level.back().channels == 0 ||
            level.back().channels % config.model_channels != 0)
            return false;
        config.num_res_blocks.push_back(static_cast<int>(level.size()));
        config.channel_mult.push_back(level.back().channels / config.model_channels);
        for (const ResBlockShape& block : level) config.transformer_depth.push_back(block.depth);
    }
    return true;
}

// SD 1.x and the x4 upscaler have 8 heads, everything else has heads 64 wide; SD 2.x attends in
// fp32 (ComfyUI's table of supported models, which is where these numbers live: no tensor shows
// them).
void set_heads(UnetConfig& config) {
    const bool is_x4 = config.context_dim == 1024 && config.in_channels == 7;
    const bool has_eight_heads = (config.context_dim == 768 || is_x4) && !config.temporal;
    config.num_heads = has_eight_heads ? 8 : -1;
    config.num_head_channels = has_eight_heads ? -1 : 64;
    config.legacy_upcast_attention = config.context_dim == 1024 && !is_x4 && !config.temporal;
}

bool is_supported_stem(const UnetConfig& config) {
    return config.model_channels > 0 && config.in_channels > 0;
}

}  // namespace

std::optional<UnetConfig> detect_ldm_unet(const TensorView& view, Notes& notes) {
    if (!view.has("input_blocks.0.0.weight")) return std::nullopt;
    UnetConfig config;
    config.model_channels = view.axis("input_blocks.0.0.weight", 0, 4);
    config.in_channels = view.axis("input_blocks.0.0.weight", 1, 4);
    config.out_channels =
        view.has("out.2.weight") ? view.axis("out.2.weight", 0, 4) : config.out_channels;
    config.adm_in_channels = view.axis("label_emb.0.0.weight", 1, 2);
    if (!is_supported_stem(config))
        return refuse(notes, view, "its first convolution is no 2-D convolution");

    AttentionFacts facts;
    std::vector<Level> levels(1);
    const int blocks = view.count("input_blocks.{}.");
    for (int n = 1; n < blocks; ++n) {
        const TensorView block = view.below(fmt::format("input_blocks.{}.", n));
        if (block.has("0.op.weight")) {
            levels.emplace_back();
            continue;
        }
        if (!block.has("0.in_layers.0.weight"))
            return refuse(notes, view,
                          fmt::format("input block {} is neither a ResBlock nor a downsample", n));
        const TensorView attention = block.below("1.");
        facts.read(attention, config);
        levels.back().push_back(
            {block.axis("0.out_layers.3.weight", 0), transformer_depth(attention)});
        if (block.has_any("0.time_stack.")) config.temporal = true;
    }
    if (!write_levels(levels, config))
        return refuse(notes, view, "channels of a level are no multiple of the first");

    const TensorView middle = view.below("middle_block.");
    const int middle_without_attention = middle.has("0.in_layers.0.weight") ? -1 : -2;
    config.transformer_depth_middle = middle.has("1.proj_in.weight")
                                          ? transformer_depth(middle.below("1."))
                                          : middle_without_attention;
    facts.read(middle.below("1."), config);
    if (!facts.fault().empty()) return refuse(notes, view, facts.fault());

    // ComfyUI lists the decoder from its last block to its first.
    for (int n = view.count("output_blocks.{}.") - 1; n >= 0; --n)
        config.transformer_depth_output.push_back(
            transformer_depth(view.below(fmt::format("output_blocks.{}.1.", n))));
    set_heads(config);
    return config;
}

std::optional<UnetConfig> detect_diffusers_unet(const TensorView& view, Notes& notes) {
    if (!view.has("conv_in.weight") || !view.has("down_blocks.0.resnets.0.conv1.weight"))
        return std::nullopt;
    UnetConfig config;
    config.model_channels = view.axis("conv_in.weight", 0, 4);
    config.in_channels = view.axis("conv_in.weight", 1, 4);
    config.out_channels =
        view.has("conv_out.weight") ? view.axis("conv_out.weight", 0, 4) : config.out_channels;
    config.adm_in_channels =
        view.axis(view.has("add_embedding.linear_1.weight") ? "add_embedding.linear_1.weight"
                                                            : "class_embedding.linear_1.weight",
                  1, 2);
    if (!is_supported_stem(config))
        return refuse(notes, view, "its first convolution is no 2-D convolution");

    AttentionFacts facts;
    std::vector<Level> levels;
    const int level_count = view.count("down_blocks.{}.");
    for (int i = 0; i < level_count; ++i) {
        const TensorView down = view.below(fmt::format("down_blocks.{}.", i));
        levels.emplace_back();
        const int resnets = down.count("resnets.{}.");
        for (int j = 0; j < resnets; ++j) {
            const TensorView attention = down.below(fmt::format("attentions.{}.", j));
            facts.read(attention, config);
            levels.back().push_back({down.axis(fmt::format("resnets.{}.conv1.weight", j), 0),
                                     transformer_depth(attention)});
        }
        if (down.has_any("temporal_") || down.has_any("resnets.0.temporal_res_block."))
            config.temporal = true;
    }
    if (!write_levels(levels, config))
        return refuse(notes, view, "channels of a level are no multiple of the first");

    const TensorView middle = view.below("mid_block.");
    const int middle_without_attention = middle.has_any("resnets.0.") ? -1 : -2;
    config.transformer_depth_middle = middle.has_any("attentions.0.")
                                          ? transformer_depth(middle.below("attentions.0."))
                                          : middle_without_attention;
    facts.read(middle.below("attentions.0."), config);
    if (!facts.fault().empty()) return refuse(notes, view, facts.fault());

    for (int i = view.count("up_blocks.{}.") - 1; i >= 0; --i) {
        const TensorView up = view.below(fmt::format("up_blocks.{}.", i));
        for (int j = up.count("resnets.{}.") - 1; j >= 0; --j)
            config.transformer_depth_output.push_back(
                transformer_depth(up.below(fmt::format("attentions.{}.", j))));
    }
    set_heads(config);
    return config;
}

Family family_of(const UnetConfig& config, bool is_zero123) {
    using Depths = std::vector<int>;
    if (config.temporal) return config.adm_in_channels == 768 ? Family::Svd : Family::Unknown;
    const bool is_linear = config.use_linear_in_transformer;
    const auto is_width = [&](int channels, int context, int adm) {
        return config.model_channels == channels && config.context_dim == context &&
               config.adm_in_channels == adm;
    };
    if (is_width(320, 768, 0) && !is_linear) {
        if (config.in_channels != 8) return Family::Sd15;
        return is_zero123 ? Family::StableZero123 : Family::Sd15InstructPix2Pix;
    }
    if (is_width(256, 1024, 0) && config.in_channels == 7) return Family::SdX4Upscaler;
    if (is_linear && is_width(320, 1024, 0)) return Family::Sd20;
    if (is_linear && is_width(320, 1024, 4)) return Family::LotusD;
    if (is_linear && is_width(320, 1024, 1536)) return Family::Sd21UnclipL;
    if (is_linear && is_width(320, 1024, 2048)) return Family::Sd21UnclipH;
    const Depths& depth = config.transformer_depth;
    if (is_linear && is_width(384, 1280, 2560) && depth == Depths{0, 0, 4, 4, 4, 4, 0, 0})
        return Family::SdxlRefiner;
    if (is_linear && is_width(320, 2048, 2816)) {
        if (depth == Depths{0, 0, 2, 2, 10, 10})
            return config.in_channels == 8 ? Family::SdxlInstructPix2Pix : Family::Sdxl;
        if (depth == Depths{0, 0, 2, 2, 4, 4}) return Family::Ssd1b;
        if (depth == Depths{0, 0, 1, 1, 2, 2}) return Family::SegmindVega;
        if (depth == Depths{0, 2, 5}) return Family::Koala700m;
        if (depth == Depths{0, 2, 6}) return Family::Koala1b;
    }
    return Family::Unknown;
}

namespace {

// Flux's under the names of Black Forest Labs (XLabs, MistoLine), whose hints are images.
std::optional<ControlConfig> detect_flux_controlnet(const TensorView& view, Notes& notes,
                                                    bool mistoline) {
    NumberReader read(view, "a ControlNet of Flux");
    FluxControlConfig c;
    constexpr int kCells = 4;  // of a patch
    c.pixel_hint = true;
    c.mistoline = mistoline;
    c.hidden_size = read.length("img_in.weight", 0, 2);
    c.in_channels =
        read.quotient(read.length("img_in.weight", 1, 2), kCells, "channels of a patch");
    c.hint_channels =
        read.quotient(read.length("pos_embed_input.weight", 1, 2), kCells, "channels of a hint");
    c.num_heads = read.quotient(
        c.hidden_size, read.length("double_blocks.0.img_attn.norm.key_norm.scale", 0, 1), "heads");
    c.mlp_ratio = read.ratio(read.length("double_blocks.0.img_mlp.0.weight", 0, 2), c.hidden_size);
    c.depth = read.blocks("double_blocks.{}.", "double blocks");
    c.depth_single_blocks = view.count("single_blocks.{}.");
    c.context_in_dim = read.length("txt_in.weight", 1, 2);
    c.vec_in_dim = read.length("vector_in.in_layer.weight", 1, 2);
    c.qkv_bias = view.has("double_blocks.0.img_attn.qkv.bias");
    c.guidance_embed = view.has("guidance_in.in_layer.weight");
    read.expect(
        view.has(mistoline ? "input_cond_block.encoder.0.weight" : "input_hint_block.0.weight"),
        "it has no convolution of the hint");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Flux's under diffusers' names, whose hints are latents.
std::optional<ControlConfig> detect_diffusers_flux_controlnet(const TensorView& view,
                                                              Notes& notes) {
    NumberReader read(view, "a ControlNet of Flux");
    FluxControlConfig c;
    constexpr int kCells = 4;
    c.hidden_size = read.length("x_embedder.weight", 0, 2);
    c.in_channels =
        read.quotient(read.length("x_embedder.weight", 1, 2), kCells, "channels of a patch");
    c.hint_channels = read.quotient(read.length("controlnet_x_embedder.weight", 1, 2), kCells,
                                    "channels of a hint");
    c.num_heads = read.quotient(
        c.hidden_size, read.length("transformer_blocks.0.attn.norm_added_k.weight", 0, 1), "heads");
    c.mlp_ratio =
        read.ratio(read.length("transformer_blocks.0.ff.net.0.proj.weight", 0, 2), c.hidden_size);
    c.depth = read.blocks("transformer_blocks.{}.", "double blocks");
    c.depth_single_blocks = view.count("single_transformer_blocks.{}.");
    c.context_in_dim = read.length("context_embedder.weight", 1, 2);
    c.vec_in_dim = read.length("time_text_embed.text_embedder.linear_1.weight", 1, 2);
    c.qkv_bias = view.has("transformer_blocks.0.attn.to_q.bias");
    c.guidance_embed = view.has_any("time_text_embed.guidance_embedder.");
    c.union_modes = read.length_if_any("controlnet_mode_embedder.weight", 0, 2);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<ControlConfig> detect_dit_controlnet(const TensorView& view, Notes& notes) {
    if (view.has("controlnet_x_embedder.weight") && view.has("txt_norm.weight")) {
        NumberReader read(view, "a ControlNet of Qwen-Image");
        QwenControlConfig c;
        c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
        c.attention_head_dim = read.length("transformer_blocks.0.attn.norm_q.weight", 0, 1);
        c.num_attention_heads =
            read.quotient(read.length("img_in.weight", 0, 2), c.attention_head_dim, "heads");
        c.in_channels = read.length("img_in.weight", 1, 2);
        c.joint_attention_dim = read.length("txt_norm.weight", 0, 1);
        c.extra_condition_channels =
            read.length("controlnet_x_embedder.weight", 1, 2) - c.in_channels;
        if (!read.sound(notes)) return std::nullopt;
        return c;
    }
    if (view.has("control_img_in.weight") && view.has("control_blocks.0.after_proj.weight")) {
        NumberReader read(view, "a Fun ControlNet of Qwen-Image");
        QwenFunControlConfig c;
        c.num_blocks = read.blocks("control_blocks.{}.", "blocks");
        c.attention_head_dim = read.length("control_blocks.0.attn.norm_q.weight", 0, 1);
        c.num_attention_heads = read.quotient(read.length("control_img_in.weight", 0, 2),
                                              c.attention_head_dim, "heads");
        c.hint_channels = read.length("control_img_in.weight", 1, 2);
        if (!read.sound(notes)) return std::nullopt;
        return c;
    }
    if (view.has("pos_embed_input.proj.weight") &&
        view.has("transformer_blocks.0.adaLN_modulation.1.weight")) {
        constexpr int kHeadDim = 64;
        NumberReader read(view, "a ControlNet of Stable Diffusion 3.5");
        Sd35ControlConfig c;
        c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
        c.depth =
            read.quotient(read.length("pos_embed_input.proj.weight", 0, 4), kHeadDim, "heads");
        c.in_channels = read.length("pos_embed_input.proj.weight", 1, 4);
        if (!read.sound(notes)) return std::nullopt;
        return c;
    }
    if (view.has("double_blocks.0.img_attn.norm.key_norm.scale")) {
        const bool mistoline = view.has("controlnet_blocks.0.linear.weight");
        if (mistoline || view.has("controlnet_blocks.0.weight"))
            return detect_flux_controlnet(view, notes, mistoline);
    }
    if (view.has("controlnet_x_embedder.weight") && view.has("context_embedder.weight"))
        return detect_diffusers_flux_controlnet(view, notes);
    return std::nullopt;
}

}  // namespace

std::optional<ControlConfig> detect_controlnet(const TensorView& view, Notes& notes) {
    if (auto transformer = detect_dit_controlnet(view, notes)) return transformer;
    ControlNetConfig config;
    std::optional<UnetConfig> encoder;
    if (view.has("zero_convs.0.0.weight") || view.has("input_hint_block.0.weight")) {
        encoder = detect_ldm_unet(view, notes);
        config.hint_channels = view.axis("input_hint_block.0.weight", 1, 4);
    } else if (view.has("controlnet_cond_embedding.conv_in.weight")) {
        encoder = detect_diffusers_unet(view, notes);
        config.hint_channels = view.axis("controlnet_cond_embedding.conv_in.weight", 1, 4);
    }
    if (!encoder) return std::nullopt;
    if (config.hint_channels == 0) {
        refuse(notes, view, "it is a ControlNet without a hint convolution");
        return std::nullopt;
    }
    // Each control type is a one-hot entry behind a sinusoid of 256 numbers.
    config.control_add_types = view.axis("control_add_embedding.linear_1.weight", 1, 2) / 256;
    encoder->family = family_of(*encoder, false);
    // Small and mid-size ControlNets of SDXL have shallower transformers; they still serve SDXL.
    if (encoder->family == Family::Unknown && encoder->context_dim == 2048)
        encoder->family = Family::Sdxl;
    config.encoder = *std::move(encoder);
    return config;
}

std::optional<T2iAdapterConfig> detect_t2i_adapter(const TensorView& view, Notes& notes) {
    // The original layout numbers ResBlocks through (body.5), diffusers by level
    // (body.2.resnets.1).
    const bool is_diffusers = view.has("body.0.resnets.0.block1.weight");
    if (view.has("body.0.in_conv.weight")) {
        notes.emplace_back("a light T2I adapter, which is not modelled yet");
        return std::nullopt;
    }
    if (!is_diffusers && !view.has("body.0.block1.weight")) return std::nullopt;
    T2iAdapterConfig config;
    config.in_channels = view.axis("conv_in.weight", 1, 4);
    if (config.in_channels == 0) return std::nullopt;
    const int bodies = view.count("body.{}.");
    const int levels = is_diffusers ? bodies : bodies / config.num_res_blocks;
    for (int i = 0; i < levels; ++i) {
        const std::string block = is_diffusers ? fmt::format("body.{}.resnets.0.", i)
                                               : fmt::format("body.{}.", i * config.num_res_blocks);
        const int channels = view.axis(block + "block1.weight", 0, 4);
        if (channels == 0) return std::nullopt;
        config.channels.push_back(channels);
        if (view.has(block + "down_opt.op.weight")) config.use_conv = true;
        if (view.has(block + "skep.weight")) config.sk = false;
    }
    const std::string first =
        is_diffusers ? "body.0.resnets.0.block2.weight" : "body.0.block2.weight";
    config.kernel_size = std::max(1, view.axis(first, 2, 4));
    // 16 x 16 pixels of 1 or 3 channels are folded into the SDXL adapters' input, 8 x 8 into the
    // others'.
    config.xl = config.in_channels == 256 || config.in_channels == 768;
    return config;
}

}  // namespace plimsoll::modelfile
