// SPDX-License-Identifier: Apache-2.0
#include "modelfile/detect.h"

#include "modelfile/detect_parts.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <utility>

namespace plimsoll::modelfile {
namespace {

struct FamilyName {
    Family family;
    std::string_view name;
};
constexpr FamilyName kFamilyNames[] = {
    {Family::Unknown, "unknown"},
    {Family::Sd15, "sd15"},
    {Family::Sd15InstructPix2Pix, "sd15_ip2p"},
    {Family::Sd20, "sd21"},
    {Family::Sd21UnclipL, "sd21_unclip_l"},
    {Family::Sd21UnclipH, "sd21_unclip_h"},
    {Family::SdX4Upscaler, "sd_x4_upscaler"},
    {Family::LotusD, "lotus_d"},
    {Family::StableZero123, "stable_zero123"},
    {Family::Svd, "svd"},
    {Family::Sdxl, "sdxl"},
    {Family::SdxlInstructPix2Pix, "sdxl_ip2p"},
    {Family::SdxlRefiner, "sdxl_refiner"},
    {Family::Ssd1b, "ssd1b"},
    {Family::SegmindVega, "segmind_vega"},
    {Family::Koala700m, "koala_700m"},
    {Family::Koala1b, "koala_1b"},
    {Family::Sd3, "sd3"},
    {Family::PixArtSigma, "pixart_sigma"},
    {Family::Flux, "flux"},
    {Family::FluxFill, "flux_fill"},
    {Family::Flux2, "flux2"},
    {Family::Chroma, "chroma"},
    {Family::ChromaRadiance, "chroma_radiance"},
    {Family::LongCatImage, "longcat_image"},
    {Family::QwenImage, "qwen_image"},
    {Family::MageFlow, "mage_flow"},
    {Family::Krea2, "krea2"},
    {Family::Ideogram4, "ideogram4"},
    {Family::ErnieImage, "ernie"},
    {Family::HiDream, "hidream"},
    {Family::HiDreamO1, "hidream_o1"},
    {Family::Kandinsky5Image, "kandinsky5_image"},
    {Family::PixelDit, "pixeldit"},
    {Family::Lumina2, "lumina2"},
    {Family::ZImage, "z_image"},
    {Family::OmniGen2, "omnigen2"},
    {Family::Boogu, "boogu"},
    {Family::CosmosPredict2, "cosmos_predict2"},
    {Family::Anima, "anima"},
    {Family::MiniMaxH3, "minimax_h3"},
    {Family::HunyuanVideo, "hunyuan_video"},
    {Family::HunyuanVideo15, "hunyuan_video15"},
    {Family::HunyuanImage21, "hunyuanimage21"},
    {Family::HunyuanImage21Refiner, "hunyuanimage21_refiner"},
    {Family::Ltxv, "ltxv"},
    {Family::Ltxav, "ltxav"},
    {Family::Kandinsky5, "kandinsky5"},
    {Family::SeedVr2, "seedvr2"},
    {Family::AceStep, "ace_step"},
    {Family::AceStep15, "ace_step15"},
    {Family::StableAudio, "stable_audio"},
    {Family::StableAudio3, "stable_audio_3"},
    {Family::JoyImage, "joyimage"},
    {Family::MiniMaxMusic3, "minimax_music3"},
    {Family::Wan, "wan"},
    {Family::WanVace, "wan_vace"},
    {Family::WanAnimate, "wan_animate"},
};

constexpr std::array<std::string_view, 6> kDenoiserPrefixes = {
    "model.diffusion_model.", "model.model.", "net.", "diffusion_model.", "model.", ""};
constexpr std::array<std::string_view, 3> kControlPrefixes = {"control_model.", "controlnet.", ""};
constexpr std::array<std::string_view, 4> kVaePrefixes = {"first_stage_model.", "vae.",
                                                          "pretransform.model.", ""};
constexpr std::array<std::string_view, 2> kAdapterPrefixes = {"adapter.", ""};
// Alone (the second as OpenCLIP writes it), in checkpoints of unCLIP, of Zero123 and of SVD.
constexpr std::array<std::string_view, 5> kClipVisionPrefixes = {
    "", "visual.", "embedder.model.visual.", "cond_stage_model.model.visual.",
    "conditioner.embedders.0.open_clip.model.visual."};
// Of training tools: the average of the weights goes before the weights.
constexpr std::array<std::string_view, 4> kUpscalerPrefixes = {"params_ema.", "params.", "module.",
                                                               ""};

PartWeights sum_part(const PackedTable& table, std::string_view prefix) {
    WeightSum sum;
    for (const std::uint32_t at : table.stored().with_prefix(prefix))
        sum.add(table.stored().tensors[at], table.unpacked().tensors[at]);
    return sum.total();
}

void find_unet(const PackedTable& packed, Contents& contents) {
    const TensorTable& table = packed.unpacked();
    for (const std::string_view prefix : kDenoiserPrefixes) {
        const TensorView view(table, std::string(prefix));
        std::optional<UnetConfig> unet = detect_ldm_unet(view, contents.notes);
        if (!unet) unet = detect_diffusers_unet(view, contents.notes);
        if (!unet) continue;
        unet->family = family_of(*unet, table.find("cc_projection.weight") != nullptr);
        // Markers that finetunes leave at the root of the file.
        if (table.find("v_pred") != nullptr || table.find("edm_vpred.sigma_max") != nullptr)
            unet->prediction = "v";
        else if (table.find("edm_mean") != nullptr && table.find("edm_std") != nullptr)
            unet->prediction = "edm";
        if (unet->family == Family::Unknown)
            contents.notes.push_back(fmt::format(
                "a UNet of the LDM kind ({} channels, context {}, vector {}) that is none "
                "of the families that ComfyUI knows",
                unet->model_channels, unet->context_dim, unet->adm_in_channels));
        contents.family = unet->family;
        contents.denoiser = {*std::move(unet), sum_part(packed, prefix), std::string(prefix)};
        return;
    }
}

// The prefix of a diffusion transformer, known or not. Nullopt where there is none.
std::optional<std::string_view> find_transformer(const PackedTable& table, Contents& contents) {
    for (const std::string_view prefix : kDenoiserPrefixes) {
        TransformerVerdict verdict =
            detect_transformer(TensorView(table.unpacked(), std::string(prefix)), contents.notes);
        if (!verdict.is_there) continue;
        if (verdict.denoiser) {
            contents.family = verdict.denoiser->family;
            contents.denoiser = {std::move(verdict.denoiser->config), sum_part(table, prefix),
                                 std::string(prefix)};
            // Its checkpoints need no VAE: pixels are its latent.
            if (contents.family == Family::HiDreamO1)
                contents.vae = {PixelSpaceVaeConfig{}, {}, ""};
        }
        return prefix;
    }
    return std::nullopt;
}

void find_controlnet(const TensorTable& table, Contents& contents) {
    for (const std::string_view prefix : kControlPrefixes) {
        std::optional<ControlConfig> config =
            detect_controlnet(TensorView(table, std::string(prefix)), contents.notes);
        if (!config) continue;
        contents.controlnet = {*std::move(config), sum_weights(table, prefix), std::string(prefix)};
        return;
    }
}

void find_adapter(const TensorTable& table, Contents& contents) {
    for (const std::string_view prefix : kAdapterPrefixes) {
        std::optional<T2iAdapterConfig> config =
            detect_t2i_adapter(TensorView(table, std::string(prefix)), contents.notes);
        if (!config) continue;
        contents.t2i_adapter = {*std::move(config), sum_weights(table, prefix),
                                std::string(prefix)};
        return;
    }
}

void find_clip_vision(const TensorTable& table, Contents& contents) {
    for (const std::string_view prefix : kClipVisionPrefixes) {
        std::optional<ClipVisionConfig> config =
            detect_clip_vision(TensorView(table, std::string(prefix)), contents.notes);
        if (!config) continue;
        PartWeights weights = sum_weights(table, prefix);
        if (prefix.empty()) {
            // The text half of a whole CLIP may be beside it, which nothing loads.
            WeightSum sum;
            for (const std::string_view own : {"vision_model.", "visual_projection."})
                for (const std::uint32_t at : table.with_prefix(own)) sum.add(table.tensors[at]);
            weights = sum.total();
        }
        contents.clip_vision = {*config, weights, std::string(prefix)};
        return;
    }
}

void find_upscaler(const TensorTable& table, Contents& contents) {
    for (const std::string_view prefix : kUpscalerPrefixes) {
        std::optional<UpscalerConfig> config =
            detect_upscaler(TensorView(table, std::string(prefix)), contents.notes);
        if (!config) continue;
        contents.upscaler = {*std::move(config), sum_weights(table, prefix), std::string(prefix)};
        return;
    }
}

void find_latent_upscaler(const TensorTable& table, Contents& contents) {
    const std::optional<LatentUpscalerConfig> config =
        detect_latent_upscaler(TensorView(table, std::string()), contents.notes);
    if (config) contents.latent_upscaler = {*config, sum_weights(table, ""), ""};
}

void find_image_reader(const TensorTable& table, Contents& contents) {
    std::optional<ImageReaderConfig> config =
        detect_image_reader(TensorView(table, std::string()), contents.notes);
    if (config) contents.image_reader = {*std::move(config), sum_weights(table, ""), ""};
}

// SAM 3, which an encoder of texts lies beside.
void find_sam3(const TensorTable& table, Contents& contents) {
    const TensorView view(table, std::string());
    if (!looks_like_sam3(view)) return;
    std::optional<Sam3Config> config = detect_sam3(view, contents.notes);
    if (config) contents.image_reader = {*std::move(config), sum_sam3(table), ""};
}

void find_model_patch(const TensorTable& table, Contents& contents) {
    std::optional<PatchConfig> config =
        detect_model_patch(TensorView(table, std::string()), contents.notes);
    if (config) contents.model_patch = {*std::move(config), sum_weights(table, ""), ""};
}

// Files from the training of a VAE hold its losses and averages beside it.
PartWeights sum_vae(const TensorTable& table, std::string_view prefix) {
    WeightSum sum;
    for (const std::string_view own : {"encoder.",
                                       "decoder.",
                                       "quant_conv.",
                                       "post_quant_conv.",
                                       "conv1.",
                                       "conv2.",
                                       "bn.",
                                       "per_channel_statistics.mean-of-means",
                                       "per_channel_statistics.std-of-means",
                                       "dconv_encoder.",
                                       "decoder_model.",
                                       "latent_mean",
                                       "latent_std",
                                       "latents_",
                                       "dcae.",
                                       "vocoder.",
                                       "pre_block.",
                                       "dec_in_proj.",
                                       "mean_proj.",
                                       "logs_proj."})
        for (const std::uint32_t at : table.with_prefix(std::string(prefix) + std::string(own)))
            sum.add(table.tensors[at]);
    return sum.total();
}

void find_vae(const TensorTable& table, Contents& contents) {
    for (const std::string_view prefix : kVaePrefixes) {
        const TensorView view(table, std::string(prefix));
        if (std::optional<WanVaeConfig> config = detect_wan_vae(view, contents.notes)) {
            contents.vae = {*config, sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (const std::optional<MiniMaxVaeConfig> config = detect_minimax_vae(view)) {
            contents.vae = {*config, sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<VaeConfig> config = detect_hunyuan_vae(view)) {
            contents.vae = {*std::move(config), sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<MusicDcaeConfig> config = detect_music_dcae(view, contents.notes)) {
            contents.vae = {*std::move(config), sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<SameVaeConfig> config = detect_same_vae(view, contents.notes)) {
            contents.vae = {*config, sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<OobleckConfig> config = detect_oobleck(view, contents.notes)) {
            contents.vae = {*std::move(config), sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<VaeConfig> config = detect_published_vae(view)) {
            contents.vae = {*std::move(config), sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (std::optional<KlVaeConfig> config = detect_kl_vae(view, contents.notes)) {
            contents.vae = {*std::move(config), sum_vae(table, prefix), std::string(prefix)};
            return;
        }
        if (const std::optional<TinyVaeConfig> config = detect_tiny_vae(view)) {
            contents.tiny_vae = {*config, sum_weights(table, prefix), std::string(prefix)};
            return;
        }
    }
}

bool is_empty(const Contents& contents) {
    return !contents.denoiser && !contents.vae && !contents.tiny_vae &&
           contents.text_encoders.empty() && !contents.controlnet && !contents.t2i_adapter &&
           !contents.clip_vision && !contents.upscaler && !contents.latent_upscaler &&
           !contents.model_patch && !contents.image_reader && !contents.audio_encoder &&
           !contents.is_lora;
}

}  // namespace

Family controlled_family(const ControlConfig& config) {
    if (const auto* unet = std::get_if<ControlNetConfig>(&config)) return unet->encoder.family;
    if (std::holds_alternative<FluxControlConfig>(config)) return Family::Flux;
    return std::holds_alternative<Sd35ControlConfig>(config) ? Family::Sd3 : Family::QwenImage;
}

Family patched_family(const PatchConfig& config) {
    if (std::holds_alternative<QwenPatchConfig>(config)) return Family::QwenImage;
    return std::holds_alternative<ZImagePatchConfig>(config) ? Family::ZImage : Family::Anima;
}

std::string_view family_name(Family family) {
    const auto* at = std::ranges::find(kFamilyNames, family, &FamilyName::family);
    return at == std::end(kFamilyNames) ? "unknown" : at->name;
}

std::optional<Family> parse_family(std::string_view name) {
    const auto* at = std::ranges::find(kFamilyNames, name, &FamilyName::name);
    if (at == std::end(kFamilyNames) || at->family == Family::Unknown) return std::nullopt;
    return at->family;
}

namespace {
// Of a text encoder's own stack, not of an eye that stands beside it.
bool in_repeated_layer(std::string_view name) {
    const bool repeated = name.find("layers.") != std::string_view::npos ||
                          name.find("block.") != std::string_view::npos ||
                          name.find("blocks.") != std::string_view::npos;
    return repeated && name.find("vis") == std::string_view::npos;
}
}  // namespace

void WeightSum::add(const TensorEntry& stored, const TensorEntry& unpacked, Counts counts) {
    const std::int64_t elements = element_count(unpacked.shape);
    sum_.params += element_count(stored.shape);
    sum_.bytes += stored.bytes;
    elements_of_[unpacked.dtype] += elements;
    const std::string_view name = stored.name;
    const bool is_scale = name.ends_with(".weight_scale") || name.ends_with(".comfy_quant");
    has_scales_ = has_scales_ || is_scale;
    if (name.ends_with("scaled_fp8") || name.ends_with(".scale_weight")) sum_.scaled_fp8 = true;
    if (in_repeated_layer(name)) {
        const bool is_matrix = name.ends_with(".weight") && unpacked.shape.size() == 2;
        if (is_matrix) linear_elements_ += elements;
        if (is_matrix || name.find(".weight_scale") != std::string_view::npos)
            linear_bytes_ += stored.bytes;
    }
    if (counts == Counts::AsParameter && !is_beside_network(name)) sum_.network_params += elements;
}

PartWeights WeightSum::total() const {
    PartWeights total = sum_;
    std::int64_t most = -1;
    for (const auto& [dtype, elements] : elements_of_)
        if (elements > most) {
            most = elements;
            total.dtype = dtype;
        }
    const bool is_fp8 = total.dtype == DType::Float8E4M3 || total.dtype == DType::Float8E5M2;
    if (has_scales_ && is_fp8) total.scaled_fp8 = true;
    const bool is_packed = dtype_traits(total.dtype).block_elements > 1 ||
                           total.dtype == DType::Float4E2M1 || total.dtype == DType::UInt8 ||
                           (total.dtype == DType::Int8 && has_scales_);
    constexpr double kMillibitsOfByte = 8000;
    constexpr double kMillibitsMax = 32'000;  // of fp32: more is no packing
    if (is_packed && linear_elements_ > 0) {
        const double millibits = static_cast<double>(linear_bytes_.count) * kMillibitsOfByte /
                                 static_cast<double>(linear_elements_);
        if (millibits <= kMillibitsMax) total.linear_millibits = static_cast<int>(millibits + 0.5);
    }
    return total;
}

PartWeights sum_weights(const TensorTable& table, std::string_view prefix) {
    WeightSum sum;
    for (const std::uint32_t at : table.with_prefix(prefix)) sum.add(table.tensors[at]);
    return sum.total();
}

Contents detect_contents(const TensorTable& table) {
    Contents contents;
    contents.everything = sum_weights(table, "");
    contents.notes = table.notes;
    if (table.find("lora_controlnet") != nullptr) {
        contents.is_lora = true;
        contents.notes.emplace_back("a control-LoRA, which is not modelled yet");
        return contents;
    }
    const PackedTable packed(table, contents.notes);
    contents.outline = outline_of(packed.unpacked());
    find_controlnet(table, contents);
    // A bare ControlNet has a UNet's encoder under the same names.
    const bool is_bare_controlnet = contents.controlnet && contents.controlnet->prefix.empty();
    std::optional<std::string_view> transformer;
    if (!is_bare_controlnet) transformer = find_transformer(packed, contents);
    if (!is_bare_controlnet && !transformer) find_unet(packed, contents);
    // Some diffusion networks have parts that look like other networks; alone in a file, they are
    // all that is there.
    if (transformer != "") {
        find_vae(table, contents);
        contents.sound_vae = detect_sound_vae(table, contents.notes);
        if (contents.sound_vae && !contents.vae) {  // alone in its file
            contents.vae = std::exchange(contents.sound_vae, std::nullopt);
        }
        contents.text_encoders = detect_text_encoders(table, contents.notes);
        std::ranges::move(detect_language_models(packed, transformer, contents.notes),
                          std::back_inserter(contents.text_encoders));
        std::ranges::move(detect_ltx_text(table, contents.notes),
                          std::back_inserter(contents.text_encoders));
        find_clip_vision(table, contents);
    }
    if (!transformer) find_sam3(table, contents);
    if (is_empty(contents) && !transformer)
        contents.audio_encoder = detect_audio_encoder(table, contents.notes);
    if (is_empty(contents) && !transformer) find_upscaler(table, contents);
    if (is_empty(contents) && !transformer) find_latent_upscaler(table, contents);
    if (is_empty(contents) && !transformer) find_adapter(table, contents);
    if (is_empty(contents) && !transformer) find_image_reader(table, contents);
    contents.is_lora = is_empty(contents) && !transformer && looks_like_lora(table);
    if (is_empty(contents) && !transformer) find_model_patch(table, contents);
    if (contents.model_patch && contents.family == Family::Unknown)
        contents.family = patched_family(contents.model_patch->config);
    if (contents.controlnet && contents.family == Family::Unknown)
        contents.family = controlled_family(contents.controlnet->config);
    if (is_empty(contents) && contents.notes.size() == table.notes.size()) {
        const std::string_view hint = other_network_hint(table);
        contents.notes.push_back(
            hint.empty() ? "no known network was recognised in this file"
                         : fmt::format("looks like {}, which is not modelled yet", hint));
    }
    return contents;
}

}  // namespace plimsoll::modelfile
