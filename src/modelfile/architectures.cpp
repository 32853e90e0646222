// SPDX-License-Identifier: Apache-2.0
#include "modelfile/architectures.h"

#include "base/check.h"
#include "base/described.h"
#include "base/json.h"
#include "modelfile/parse_ltx_vae.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace plimsoll::embedded {
std::string_view architectures_json();
}

namespace plimsoll::modelfile {
namespace {

template <class Config>
using Named = std::map<std::string, Config, std::less<>>;

struct Catalogue {
    Named<UnetConfig> unets;
    Named<ControlConfig> controlnets;
    Named<PatchConfig> model_patches;
    Named<T2iAdapterConfig> t2i_adapters;
    Named<KlVaeConfig> vaes;
    Named<ClipTextConfig> clips;
    Named<VaeConfig> all_vaes;
    Named<TextEncoderConfig> text_encoders;
    Named<ClipVisionConfig> clip_visions;
    Named<UpscalerConfig> upscalers;
    Named<LatentUpscalerConfig> latent_upscalers;
    Named<ImageReaderConfig> image_readers;
    Named<AudioEncoderConfig> audio_encoders;
    Named<KnownModel> models;
};

void read_int(const json::value& from, std::string_view key, int& into) {
    if (const auto value = find_int(from, key)) into = static_cast<int>(*value);
}

void read_bool(const json::value& from, std::string_view key, bool& into) {
    if (const auto value = find_bool(from, key)) into = *value;
}

void read_ints(const json::value& from, std::string_view key, std::vector<int>& into) {
    const json::value* list = find(from, key);
    if (list == nullptr || !list->is_array()) return;
    into.clear();
    for (const json::value& item : list->get_array())
        into.push_back(static_cast<int>(item.to_number<std::int64_t>()));
}

UnetConfig parse_unet(const json::value& from) {
    UnetConfig c;
    if (const auto name = find_string(from, "family"))
        c.family = parse_family(*name).value_or(Family::Unknown);
    read_int(from, "in_channels", c.in_channels);
    read_int(from, "model_channels", c.model_channels);
    read_ints(from, "channel_mult", c.channel_mult);
    read_ints(from, "num_res_blocks", c.num_res_blocks);
    read_ints(from, "transformer_depth", c.transformer_depth);
    read_ints(from, "transformer_depth_output", c.transformer_depth_output);
    read_int(from, "transformer_depth_middle", c.transformer_depth_middle);
    read_int(from, "context_dim", c.context_dim);
    read_int(from, "adm_in_channels", c.adm_in_channels);
    read_bool(from, "use_linear_in_transformer", c.use_linear_in_transformer);
    read_bool(from, "temporal", c.temporal);
    read_int(from, "num_heads", c.num_heads);
    read_int(from, "num_head_channels", c.num_head_channels);
    if (const auto prediction = find_string(from, "prediction")) c.prediction = *prediction;
    return c;
}

ControlNetConfig parse_controlnet(const json::value& from, const Named<UnetConfig>& unets) {
    ControlNetConfig c;
    const auto encoder = unets.find(find_string(from, "encoder").value_or(""));
    CHECK(encoder != unets.end());
    c.encoder = encoder->second;
    c.encoder.transformer_depth_output.clear();  // a ControlNet has no decoder
    read_int(from, "control_add_types", c.control_add_types);
    return c;
}

T2iAdapterConfig parse_t2i_adapter(const json::value& from) {
    T2iAdapterConfig c;
    read_int(from, "in_channels", c.in_channels);
    read_ints(from, "channels", c.channels);
    read_bool(from, "xl", c.xl);
    return c;
}

KlVaeConfig parse_vae(const json::value& from) {
    KlVaeConfig c;
    read_int(from, "z_channels", c.z_channels);
    read_int(from, "embed_dim", c.embed_dim);
    read_bool(from, "quant_conv", c.quant_conv);
    read_bool(from, "batch_norm_latent", c.batch_norm_latent);
    read_int(from, "decoder_channels", c.decoder_channels);
    return c;
}

ClipTextConfig parse_clip(const json::value& from, std::string_view name) {
    ClipTextConfig c;
    c.name = name;
    read_int(from, "layers", c.layers);
    read_int(from, "hidden", c.hidden);
    read_int(from, "intermediate", c.intermediate);
    read_int(from, "heads", c.heads);
    read_int(from, "projection", c.projection);
    read_int(from, "positions", c.positions);
    c.activation = find_string(from, "activation") == "gelu" ? ClipActivation::Gelu
                                                             : ClipActivation::QuickGelu;
    return c;
}

// Calls `add` with each name and value of one section of the catalogue.
template <class Add>
void for_each_in(const json::value& catalogue, std::string_view section, Add add) {
    const json::value* entries = find(catalogue, section);
    CHECK(entries != nullptr && entries->is_object());
    for (const auto& [name, value] : entries->get_object())
        add(std::string_view(name.data(), name.size()), value);
}

// The catalogue is compiled in: that it can be read is a promise of the build, not input.
template <class Config>
Config parse_described(const json::value& from) {
    Config config;
    CHECK(read_described(from, config).has_value());
    return config;
}

DenoiserConfig parse_denoiser(std::string_view network, const json::value& config) {
    if (network == "unet") return parse_unet(config);
    if (network == "mmdit") return parse_described<MmditConfig>(config);
    if (network == "pixart") return parse_described<PixArtConfig>(config);
    if (network == "flux") return parse_described<FluxConfig>(config);
    if (network == "chroma") return parse_described<ChromaConfig>(config);
    if (network == "chroma_radiance") return parse_described<ChromaRadianceConfig>(config);
    if (network == "qwen_image") return parse_described<QwenImageConfig>(config);
    if (network == "mage_flow") return parse_described<MageFlowConfig>(config);
    if (network == "krea2") return parse_described<Krea2Config>(config);
    if (network == "ideogram4") return parse_described<Ideogram4Config>(config);
    if (network == "ernie") return parse_described<ErnieConfig>(config);
    if (network == "hidream") return parse_described<HiDreamConfig>(config);
    if (network == "hidream_o1") return parse_described<HiDreamO1Config>(config);
    if (network == "kandinsky5") return parse_described<Kandinsky5Config>(config);
    if (network == "pixeldit") return parse_described<PixelDitConfig>(config);
    if (network == "lumina2") return parse_described<Lumina2Config>(config);
    if (network == "omnigen2") return parse_described<OmniGen2Config>(config);
    if (network == "boogu") return parse_described<BooguConfig>(config);
    if (network == "cosmos_predict2") return parse_described<CosmosPredict2Config>(config);
    if (network == "hunyuan_video") return parse_described<HunyuanVideoConfig>(config);
    if (network == "ltxv") return parse_described<LtxvConfig>(config);
    if (network == "ltxav") return parse_described<LtxavConfig>(config);
    if (network == "ace_step") return parse_described<AceStepConfig>(config);
    if (network == "ace_step15") return parse_described<AceStep15Config>(config);
    if (network == "minimax_music3") return parse_described<MiniMaxMusic3Config>(config);
    if (network == "stable_audio") return parse_described<StableAudioConfig>(config);
    if (network == "stable_audio_3") return parse_described<StableAudio3Config>(config);
    if (network == "joyimage") return parse_described<JoyImageConfig>(config);
    if (network == "seedvr2") return parse_described<Seedvr2Config>(config);
    if (network == "minimax_h3") return parse_described<MiniMaxH3Config>(config);
    CHECK(network == "wan");
    return parse_described<WanConfig>(config);
}

PatchConfig parse_model_patch(const json::value& from) {
    const std::string_view kind = find_string(from, "kind").value_or("");
    const json::value* config = find(from, "config");
    CHECK(config != nullptr);
    if (kind == "qwen_image") return parse_described<QwenPatchConfig>(*config);
    if (kind == "z_image") return parse_described<ZImagePatchConfig>(*config);
    CHECK(kind == "anima");
    return parse_described<AnimaPatchConfig>(*config);
}

DType published_type(std::string_view name) {
    if (name == "F32") return DType::Float32;
    return name == "BF16" ? DType::BFloat16 : DType::Float16;
}

KnownModel parse_model(const json::value& from) {
    const json::value* config = find(from, "config");
    const json::value* encoders = find(from, "text_encoders");
    CHECK(config != nullptr && encoders != nullptr && encoders->is_array());
    KnownModel model{
        .denoiser = parse_denoiser(find_string(from, "network").value_or(""), *config),
        .family = parse_family(find_string(from, "family").value_or("")).value_or(Family::Unknown),
        .text_encoders = {},
        .vae = std::string(find_string(from, "vae").value_or("")),
        .sound_vae = std::string(find_string(from, "audio_vae").value_or("")),
        .clip_vision = std::string(find_string(from, "clip_vision").value_or("")),
        .dtype = published_type(find_string(from, "dtype").value_or(""))};
    for (const json::value& name : encoders->get_array())
        model.text_encoders.emplace_back(name.as_string());
    return model;
}

// The text encoders inside a checkpoint of a UNet with this context width.
std::vector<std::string> encoders_of(const UnetConfig& unet) {
    if (unet.context_dim == 768) return {"clip_l"};
    if (unet.context_dim == 1024) return {"clip_h"};
    if (unet.context_dim == 1280) return {"clip_g"};  // SDXL's refiner
    return {"clip_l", "clip_g"};
}

template <class Config>
Config checked(Result<Config> parsed) {
    CHECK(parsed.has_value());
    return *std::move(parsed);
}

VaeConfig parse_other_vae(const json::value& from) {
    const std::string_view kind = find_string(from, "kind").value_or("");
    if (kind == "cosmos") return CosmosVaeConfig{};
    if (kind == "mage") return MageVaeConfig{};
    if (kind == "minimax_sound") return MiniMaxAudioVaeConfig{};
    if (kind == "minimax_music") return MiniMaxMusicVaeConfig{};
    if (kind == "pixel_space") return PixelSpaceVaeConfig{};
    if (kind == "seedvr2") return Seedvr2VaeConfig{};
    if (kind == "temporal") return TemporalVaeConfig{};
    CHECK(kind == "tiny");
    TinyVaeConfig tiny;
    read_int(from, "latent_channels", tiny.latent_channels);
    return tiny;
}

// VAEs of other kinds, after the KL autoencoders.
void parse_vaes(const json::value& catalogue, Named<VaeConfig>& vaes) {
    for_each_in(catalogue, "hunyuan_video_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<HunyuanVideoVaeConfig>(v));
    });
    for_each_in(catalogue, "pixel_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<PixelVaeConfig>(v));
    });
    for_each_in(catalogue, "wan_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<WanVaeConfig>(v));
    });
    for_each_in(catalogue, "ltx_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, checked(parse_ltx_vae(v)));
    });
    for_each_in(catalogue, "ltx24_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, checked(parse_ltx24_vae(v)));
    });
    for_each_in(catalogue, "ltx_audio_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<LtxAudioVaeConfig>(v));
    });
    for_each_in(catalogue, "minimax_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<MiniMaxVaeConfig>(v));
    });
    for_each_in(catalogue, "oobleck_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<OobleckConfig>(v));
    });
    for_each_in(catalogue, "same_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<SameVaeConfig>(v));
    });
    for_each_in(catalogue, "music_dcaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_described<MusicDcaeConfig>(v));
    });
    for_each_in(catalogue, "other_vaes", [&](std::string_view n, const json::value& v) {
        vaes.emplace(n, parse_other_vae(v));
    });
}

UpscalerConfig parse_upscaler(const json::value& from) {
    const json::value* config = find(from, "config");
    CHECK(config != nullptr);
    const std::string_view network = find_string(from, "network").value_or("");
    if (network == "rrdb") return parse_described<RrdbConfig>(*config);
    if (network == "compact") return parse_described<CompactConfig>(*config);
    CHECK(network == "span");
    return parse_described<SpanConfig>(*config);
}

ImageReaderConfig parse_image_reader(const json::value& from) {
    const json::value* config = find(from, "config");
    CHECK(config != nullptr);
    const std::string_view network = find_string(from, "network").value_or("");
    if (network == "birefnet") return parse_described<BiRefNetConfig>(*config);
    if (network == "depth_anything3") return parse_described<DepthAnything3Config>(*config);
    if (network == "rt_detr") return parse_described<RtDetrConfig>(*config);
    if (network == "sam3") return parse_described<Sam3Config>(*config);
    CHECK(network == "moge");
    return parse_described<MogeConfig>(*config);
}

AudioEncoderConfig parse_audio_encoder(const json::value& from) {
    const json::value* config = find(from, "config");
    CHECK(config != nullptr);
    const std::string_view network = find_string(from, "network").value_or("");
    if (network == "wav2vec2") return parse_described<Wav2Vec2Config>(*config);
    CHECK(network == "whisper");
    return parse_described<WhisperConfig>(*config);
}

// Sections that hold other kinds of networks in the same role, and the UNets as models.
void parse_roles(const json::value& catalogue, Catalogue& c) {
    for (const auto& [name, config] : c.vaes) c.all_vaes.emplace(name, config);
    for (const auto& [name, config] : c.clips) c.text_encoders.emplace(name, config);
    parse_vaes(catalogue, c.all_vaes);
    for_each_in(catalogue, "t5s", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<T5Config>(v));
    });
    for_each_in(catalogue, "language_models", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<DecoderConfig>(v));
    });
    for_each_in(catalogue, "gemma4s", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<Gemma4Config>(v));
    });
    for_each_in(catalogue, "ming_texts", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<MingTextConfig>(v));
    });
    for_each_in(catalogue, "qwen35s", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<Qwen35Config>(v));
    });
    for_each_in(catalogue, "t5gemmas", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<T5GemmaConfig>(v));
    });
    for_each_in(catalogue, "ltx_text_projections", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<LtxTextProjectionConfig>(v));
    });
    for_each_in(catalogue, "ltx_text_connectors", [&](std::string_view n, const json::value& v) {
        c.text_encoders.emplace(n, parse_described<LtxTextConnectorConfig>(v));
    });
    for (const auto& [name, config] : c.unets)
        c.models.emplace(name, KnownModel{.denoiser = config,
                                          .family = config.family,
                                          .text_encoders = encoders_of(config),
                                          .vae = "kl4",
                                          .sound_vae = {},
                                          .clip_vision = {},
                                          .dtype = DType::Float16});
    for_each_in(catalogue, "models", [&](std::string_view n, const json::value& v) {
        c.models.emplace(n, parse_model(v));
    });
}

Catalogue parse_catalogue() {
    const Result<json::value> parsed = parse_json(embedded::architectures_json());
    CHECK(parsed.has_value());  // compiled in: a promise of the build, not input
    Catalogue c;
    for_each_in(*parsed, "unets", [&](std::string_view n, const json::value& v) {
        c.unets.emplace(n, parse_unet(v));
    });
    for_each_in(*parsed, "controlnets", [&](std::string_view n, const json::value& v) {
        c.controlnets.emplace(n, parse_controlnet(v, c.unets));
    });
    for_each_in(*parsed, "qwen_image_controlnets", [&](std::string_view n, const json::value& v) {
        c.controlnets.emplace(n, parse_described<QwenControlConfig>(v));
    });
    for_each_in(*parsed, "qwen_image_fun_controlnets",
                [&](std::string_view n, const json::value& v) {
                    c.controlnets.emplace(n, parse_described<QwenFunControlConfig>(v));
                });
    for_each_in(*parsed, "flux_controlnets", [&](std::string_view n, const json::value& v) {
        c.controlnets.emplace(n, parse_described<FluxControlConfig>(v));
    });
    for_each_in(*parsed, "sd35_controlnets", [&](std::string_view n, const json::value& v) {
        c.controlnets.emplace(n, parse_described<Sd35ControlConfig>(v));
    });
    for_each_in(*parsed, "model_patches", [&](std::string_view n, const json::value& v) {
        c.model_patches.emplace(n, parse_model_patch(v));
    });
    for_each_in(*parsed, "t2i_adapters", [&](std::string_view n, const json::value& v) {
        c.t2i_adapters.emplace(n, parse_t2i_adapter(v));
    });
    for_each_in(*parsed, "vaes",
                [&](std::string_view n, const json::value& v) { c.vaes.emplace(n, parse_vae(v)); });
    for_each_in(*parsed, "clips", [&](std::string_view n, const json::value& v) {
        c.clips.emplace(n, parse_clip(v, n));
    });
    for_each_in(*parsed, "clip_visions", [&](std::string_view n, const json::value& v) {
        c.clip_visions.emplace(n, parse_described<ClipVisionConfig>(v));
    });
    for_each_in(*parsed, "upscalers", [&](std::string_view n, const json::value& v) {
        c.upscalers.emplace(n, parse_upscaler(v));
    });
    for_each_in(*parsed, "latent_upscalers", [&](std::string_view n, const json::value& v) {
        c.latent_upscalers.emplace(n, parse_described<LatentUpscalerConfig>(v));
    });
    for_each_in(*parsed, "image_readers", [&](std::string_view n, const json::value& v) {
        c.image_readers.emplace(n, parse_image_reader(v));
    });
    for_each_in(*parsed, "audio_encoders", [&](std::string_view n, const json::value& v) {
        c.audio_encoders.emplace(n, parse_audio_encoder(v));
    });
    parse_roles(*parsed, c);
    return c;
}

const Catalogue& catalogue() {
    static const Catalogue known = parse_catalogue();
    return known;
}

template <class Config>
Result<Config> look_up(const Named<Config>& known, std::string_view what, std::string_view name) {
    if (const auto found = known.find(name); found != known.end()) return found->second;
    std::vector<std::string_view> names;
    for (const auto& [key, value] : known) names.emplace_back(key);
    return fail(Errc::NotFound,
                fmt::format("no {} named {:?}, there are {}", what, name, fmt::join(names, ", ")));
}

}  // namespace

Result<UnetConfig> known_unet(std::string_view name) {
    return look_up(catalogue().unets, "UNet", name);
}

Result<ControlConfig> known_controlnet(std::string_view name) {
    return look_up(catalogue().controlnets, "ControlNet", name);
}

Result<PatchConfig> known_model_patch(std::string_view name) {
    return look_up(catalogue().model_patches, "model patch", name);
}

Result<T2iAdapterConfig> known_t2i_adapter(std::string_view name) {
    return look_up(catalogue().t2i_adapters, "T2I adapter", name);
}

Result<KlVaeConfig> known_kl_vae(std::string_view name) {
    return look_up(catalogue().vaes, "VAE", name);
}

Result<ClipTextConfig> known_clip(std::string_view name) {
    return look_up(catalogue().clips, "text encoder", name);
}

std::vector<std::string> known_unet_names() {
    std::vector<std::string> names;
    for (const auto& [name, config] : catalogue().unets) names.push_back(name);
    return names;
}

Result<VaeConfig> known_vae(std::string_view name) {
    return look_up(catalogue().all_vaes, "VAE", name);
}

Result<TextEncoderConfig> known_text_encoder(std::string_view name) {
    return look_up(catalogue().text_encoders, "text encoder", name);
}

Result<ClipVisionConfig> known_clip_vision(std::string_view name) {
    return look_up(catalogue().clip_visions, "vision encoder", name);
}

Result<UpscalerConfig> known_upscaler(std::string_view name) {
    return look_up(catalogue().upscalers, "upscaler", name);
}

Result<LatentUpscalerConfig> known_latent_upscaler(std::string_view name) {
    return look_up(catalogue().latent_upscalers, "latent upsampler", name);
}

Result<ImageReaderConfig> known_image_reader(std::string_view name) {
    return look_up(catalogue().image_readers, "image reader", name);
}

Result<AudioEncoderConfig> known_audio_encoder(std::string_view name) {
    return look_up(catalogue().audio_encoders, "audio encoder", name);
}

Result<KnownModel> known_model(std::string_view name) {
    return look_up(catalogue().models, "model", name);
}

std::vector<std::string> known_model_names() {
    std::vector<std::string> names;
    for (const auto& [name, model] : catalogue().models) names.push_back(name);
    return names;
}

}  // namespace plimsoll::modelfile
