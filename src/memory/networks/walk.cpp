// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/walk.h"

#include "memory/networks/audio/ace_step.h"
#include "memory/networks/audio/ace_step15.h"
#include "memory/networks/audio/minimax_music3.h"
#include "memory/networks/audio/minimax_music_vae.h"
#include "memory/networks/audio/music_dcae.h"
#include "memory/networks/audio/oobleck.h"
#include "memory/networks/audio/same_vae.h"
#include "memory/networks/audio/stable_audio.h"
#include "memory/networks/audio/stable_audio_3.h"
#include "memory/networks/clip_text.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/cosmos/cosmos_vae.h"
#include "memory/networks/dit/chroma.h"
#include "memory/networks/dit/chroma_radiance.h"
#include "memory/networks/dit/cosmos_predict2.h"
#include "memory/networks/dit/dit_controlnet.h"
#include "memory/networks/dit/dit_patches.h"
#include "memory/networks/dit/ernie.h"
#include "memory/networks/dit/flux_controlnet.h"
#include "memory/networks/dit/hidream.h"
#include "memory/networks/dit/hidream_o1.h"
#include "memory/networks/dit/hunyuan_video.h"
#include "memory/networks/dit/ideogram4.h"
#include "memory/networks/dit/joyimage.h"
#include "memory/networks/dit/kandinsky5.h"
#include "memory/networks/dit/krea2.h"
#include "memory/networks/dit/lumina2.h"
#include "memory/networks/dit/mage_flow.h"
#include "memory/networks/dit/minimax_h3.h"
#include "memory/networks/dit/mmdit.h"
#include "memory/networks/dit/omnigen2.h"
#include "memory/networks/dit/pixart.h"
#include "memory/networks/dit/pixeldit.h"
#include "memory/networks/dit/qwen_image.h"
#include "memory/networks/dit/seedvr2.h"
#include "memory/networks/kl_vae.h"
#include "memory/networks/ltx/ltx24_vae.h"
#include "memory/networks/ltx/ltx_audio_vae.h"
#include "memory/networks/ltx/ltx_vae.h"
#include "memory/networks/ltx/ltxav.h"
#include "memory/networks/ltx/ltxv.h"
#include "memory/networks/mage_vae.h"
#include "memory/networks/minimax_audio_vae.h"
#include "memory/networks/t2i_adapter.h"
#include "memory/networks/taesd.h"
#include "memory/networks/unet.h"
#include "memory/networks/vae/hunyuan_vae.h"
#include "memory/networks/vae/minimax_vae.h"
#include "memory/networks/vae/pixel_space_vae.h"
#include "memory/networks/vae/pixel_vae.h"
#include "memory/networks/vae/seedvr2_vae.h"
#include "memory/networks/vae/temporal_vae.h"
#include "memory/networks/wan/wan.h"
#include "memory/networks/wan/wan_vae.h"

#include <fmt/format.h>

namespace plimsoll::memory {

Result<std::shared_ptr<const Denoiser>> build_unet(const modelfile::UnetConfig& config) {
    TRY_DO(check_unet_config(config));
    return std::make_shared<const UnetNetwork>(config);
}

namespace {

using BuiltDenoiser = Result<std::shared_ptr<const Denoiser>>;

template <class Network>
BuiltDenoiser as_denoiser(Result<std::shared_ptr<const Network>> built) {
    if (!built) return std::unexpected(built.error());
    return std::shared_ptr<const Denoiser>(std::move(*built));
}

struct DenoiserBuilder {
    BuiltDenoiser operator()(const modelfile::UnetConfig& c) const {
        return c.temporal ? build_video_unet(c) : build_unet(c);
    }
    BuiltDenoiser operator()(const modelfile::MmditConfig& c) const {
        return as_denoiser(build_mmdit(c));
    }
    BuiltDenoiser operator()(const modelfile::PixArtConfig& c) const {
        return as_denoiser(build_pixart(c));
    }
    BuiltDenoiser operator()(const modelfile::FluxConfig& c) const { return build_flux(c); }
    BuiltDenoiser operator()(const modelfile::ChromaConfig& c) const { return build_chroma(c); }
    BuiltDenoiser operator()(const modelfile::ChromaRadianceConfig& c) const {
        return build_chroma_radiance(c);
    }
    BuiltDenoiser operator()(const modelfile::QwenImageConfig& c) const {
        return build_qwen_image(c);
    }
    BuiltDenoiser operator()(const modelfile::MageFlowConfig& c) const {
        return build_mage_flow(c);
    }
    BuiltDenoiser operator()(const modelfile::Krea2Config& c) const { return build_krea2(c); }
    BuiltDenoiser operator()(const modelfile::Ideogram4Config& c) const {
        return build_ideogram4(c);
    }
    BuiltDenoiser operator()(const modelfile::ErnieConfig& c) const { return build_ernie(c); }
    // Which experts a prompt loads is not known beforehand: the most that one can get.
    BuiltDenoiser operator()(const modelfile::HiDreamConfig& c) const {
        return build_hidream(c, ExpertLoad::Worst);
    }
    BuiltDenoiser operator()(const modelfile::Kandinsky5Config& c) const {
        return build_kandinsky5(c);
    }
    BuiltDenoiser operator()(const modelfile::PixelDitConfig& c) const { return build_pixeldit(c); }
    BuiltDenoiser operator()(const modelfile::Lumina2Config& c) const { return build_lumina2(c); }
    BuiltDenoiser operator()(const modelfile::OmniGen2Config& c) const { return build_omnigen2(c); }
    BuiltDenoiser operator()(const modelfile::BooguConfig& c) const {
        return build_boogu(c.base(), c.num_double_stream_layers);
    }
    BuiltDenoiser operator()(const modelfile::CosmosPredict2Config& c) const {
        return as_denoiser(build_cosmos_predict2(c));
    }
    BuiltDenoiser operator()(const modelfile::HunyuanVideoConfig& c) const {
        // A distilled HunyuanVideo 1.5 is told all sigmas.
        return build_hunyuan_video(c, {.schedule = c.meanflow && c.vision_in_dim > 0});
    }
    BuiltDenoiser operator()(const modelfile::LtxvConfig& c) const { return build_ltxv(c); }
    BuiltDenoiser operator()(const modelfile::LtxavConfig& c) const {
        return as_denoiser(build_ltxav(c));
    }
    BuiltDenoiser operator()(const modelfile::AceStepConfig& c) const { return build_ace_step(c); }
    BuiltDenoiser operator()(const modelfile::AceStep15Config& c) const {
        return build_ace_step15(c);
    }
    BuiltDenoiser operator()(const modelfile::StableAudioConfig& c) const {
        return build_stable_audio(c);
    }
    BuiltDenoiser operator()(const modelfile::StableAudio3Config& c) const {
        return build_stable_audio_3(c);
    }
    BuiltDenoiser operator()(const modelfile::JoyImageConfig& c) const { return build_joyimage(c); }
    BuiltDenoiser operator()(const modelfile::MiniMaxMusic3Config& c) const {
        return build_minimax_music3(c);
    }
    BuiltDenoiser operator()(const modelfile::WanConfig& c) const { return build_wan(c); }
    BuiltDenoiser operator()(const modelfile::Seedvr2Config& c) const { return build_seedvr2(c); }
    BuiltDenoiser operator()(const modelfile::HiDreamO1Config& c) const {
        return build_hidream_o1(c);
    }
    BuiltDenoiser operator()(const modelfile::MiniMaxH3Config& c) const {
        return build_minimax_h3(c);
    }
};

struct VaeBuilder {
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::KlVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_kl_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::HunyuanVideoVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_hunyuan_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::PixelVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_pixel_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::MiniMaxVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_minimax_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::WanVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_wan_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::OobleckConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_oobleck(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::SameVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_same_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::MusicDcaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_music_dcae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::LtxVaeConfig& c) const {
        return build_ltx_vae(c);
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::Ltx24VaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_ltx24_vae(c.encoder, c.decoder));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::LtxAudioVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_ltx_audio_vae(c));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::TinyVaeConfig& c) const {
        TRY_ASSIGN(std::shared_ptr<const Vae> vae, build_taesd(c.latent_channels));
        return vae;
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::CosmosVaeConfig&) const {
        return std::make_shared<const CosmosVaeNetwork>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::MageVaeConfig&) const {
        return std::make_shared<const MageVaeNetwork>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::Seedvr2VaeConfig&) const {
        return std::make_shared<const Seedvr2VaeNetwork>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::MiniMaxAudioVaeConfig&) const {
        return std::make_shared<const MiniMaxAudioVaeNetwork>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::MiniMaxMusicVaeConfig&) const {
        return std::make_shared<const MiniMaxMusicVaeNetwork>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::PixelSpaceVaeConfig&) const {
        return std::make_shared<const PixelSpaceVae>();
    }
    Result<std::shared_ptr<const Vae>> operator()(const modelfile::TemporalVaeConfig&) const {
        return std::make_shared<const TemporalVaeNetwork>();
    }
};

}  // namespace

Result<std::shared_ptr<const Denoiser>> build_video_unet(const modelfile::UnetConfig& config) {
    modelfile::UnetConfig frames = config;
    frames.temporal = false;
    TRY_DO(check_unet_config(frames));
    if (!config.temporal || !config.use_linear_in_transformer)
        return fail(Errc::InvalidInput, "not a UNet that mixes frames, of a known kind");
    return std::make_shared<const UnetNetwork>(config);
}

Result<std::shared_ptr<const Denoiser>> build_denoiser(const modelfile::DenoiserConfig& config) {
    return std::visit(DenoiserBuilder{}, config);
}

Result<std::shared_ptr<const Vae>> build_vae(const modelfile::VaeConfig& config) {
    return std::visit(VaeBuilder{}, config);
}

namespace {

Result<std::shared_ptr<const ControlNetNetwork>> build_unet_controlnet(
    const modelfile::ControlNetConfig& config) {
    // A ControlNet has no decoder; its configuration need not say one.
    modelfile::UnetConfig encoder = config.encoder;
    std::size_t blocks = 0;
    for (const int n : encoder.num_res_blocks) blocks += static_cast<std::size_t>(n > 0 ? n : 0);
    encoder.transformer_depth_output.assign(blocks + encoder.channel_mult.size(), 0);
    TRY_DO(check_unet_config(encoder));
    if (config.hint_channels < 1 || config.control_add_types < 0 || config.control_add_types > 64) {
        return fail(Errc::InvalidInput,
                    fmt::format("hint of {} channels and {} control types cannot be",
                                config.hint_channels, config.control_add_types));
    }
    return std::make_shared<const UnetControlNet>(config);
}

struct ControlBuilder {
    using Built = Result<std::shared_ptr<const ControlNetNetwork>>;
    Built operator()(const modelfile::ControlNetConfig& c) const {
        return build_unet_controlnet(c);
    }
    Built operator()(const modelfile::QwenControlConfig& c) const {
        return build_qwen_controlnet(c);
    }
    Built operator()(const modelfile::QwenFunControlConfig& c) const {
        return build_qwen_fun_controlnet(c);
    }
    Built operator()(const modelfile::Sd35ControlConfig& c) const {
        return build_sd35_controlnet(c);
    }
    Built operator()(const modelfile::FluxControlConfig& c) const {
        return build_flux_controlnet(c);
    }
};

}  // namespace

Result<std::shared_ptr<const ControlNetNetwork>> build_controlnet(
    const modelfile::ControlConfig& config) {
    return std::visit(ControlBuilder{}, config);
}

namespace {

struct PatchBuilder {
    using Built = Result<std::shared_ptr<const ModelPatchNetwork>>;
    Built operator()(const modelfile::QwenPatchConfig& c) const { return build_qwen_patch(c); }
    Built operator()(const modelfile::ZImagePatchConfig& c) const { return build_z_image_patch(c); }
    Built operator()(const modelfile::AnimaPatchConfig& c) const { return build_anima_patch(c); }
};

}  // namespace

Result<std::shared_ptr<const ModelPatchNetwork>> build_model_patch(
    const modelfile::PatchConfig& config) {
    return std::visit(PatchBuilder{}, config);
}

Result<std::shared_ptr<const T2iAdapterNetwork>> build_t2i_adapter(
    const modelfile::T2iAdapterConfig& config) {
    bool sound = !config.channels.empty() && config.channels.size() <= 16 &&
                 config.num_res_blocks >= 1 && config.num_res_blocks <= 64 &&
                 config.in_channels >= 1 && config.sk && !config.use_conv &&
                 config.kernel_size >= 1 && config.kernel_size <= 7;
    for (const int channels : config.channels)
        sound = sound && channels >= 1 && channels <= (1 << 16);
    if (!sound)
        return fail(Errc::InvalidInput,
                    "not a T2I adapter of a known kind (skip connections by sk, no conv pooling)");
    return std::make_shared<const T2iAdapterNetwork>(config);
}

Result<std::shared_ptr<const KlVaeNetwork>> build_kl_vae(const modelfile::KlVaeConfig& config) {
    bool sound = !config.channel_mult.empty() && config.channel_mult.size() <= 8 &&
                 config.num_res_blocks >= 1 && config.num_res_blocks <= 64 &&
                 config.z_channels >= 1 && config.z_channels <= 4096 && config.embed_dim >= 1 &&
                 config.embed_dim <= 4096 && config.in_channels >= 1 && config.in_channels <= 64 &&
                 config.out_channels >= 1 && config.out_channels <= 64 &&
                 config.base_channels >= 32 && config.base_channels <= (1 << 13) &&
                 config.base_channels % 32 == 0 &&
                 (config.decoder_channels == 0 ||
                  (config.decoder_channels >= 32 && config.decoder_channels <= (1 << 13) &&
                   config.decoder_channels % 32 == 0));
    for (const int mult : config.channel_mult) sound = sound && mult >= 1 && mult <= 16;
    if (!sound)
        return fail(Errc::InvalidInput,
                    "VAE configuration without levels, or with channels that 32 does not divide");
    return std::make_shared<const KlVaeNetwork>(config);
}

Result<std::shared_ptr<const ClipNetwork>> build_clip(const modelfile::ClipTextConfig& config) {
    const bool sound =
        config.layers >= 1 && config.layers <= 512 && config.heads >= 1 && config.hidden >= 1 &&
        config.hidden <= (1 << 16) && config.hidden % config.heads == 0 &&
        config.intermediate >= 1 && config.intermediate <= (1 << 20) && config.vocabulary >= 1 &&
        config.vocabulary <= (1 << 24) && config.positions >= 1 && config.positions <= (1 << 20) &&
        config.projection >= 1 && config.projection <= (1 << 16);
    if (!sound) {
        return fail(Errc::InvalidInput,
                    fmt::format("CLIP with {} layers of width {} and {} heads cannot be",
                                config.layers, config.hidden, config.heads));
    }
    return std::make_shared<const ClipNetwork>(config);
}

std::shared_ptr<const Network> as_network(std::shared_ptr<const Denoiser> network) {
    return network;
}
std::shared_ptr<const Network> as_network(std::shared_ptr<const ControlNetNetwork> network) {
    return network;
}
std::shared_ptr<const Network> as_network(std::shared_ptr<const T2iAdapterNetwork> network) {
    return network;
}
std::shared_ptr<const Network> as_network(std::shared_ptr<const KlVaeNetwork> network) {
    return network;
}
std::shared_ptr<const Network> as_network(std::shared_ptr<const ClipNetwork> network) {
    return network;
}

}  // namespace plimsoll::memory
