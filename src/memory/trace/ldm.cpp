// SPDX-License-Identifier: Apache-2.0
//
// The LDM family: UNets, their ControlNets and adapters, the KL autoencoder, CLIP.
#include "base/described.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory::trace {

namespace {

using modelfile::known_clip;
using modelfile::known_controlnet;
using modelfile::known_kl_vae;
using modelfile::known_t2i_adapter;
using modelfile::known_unet;

// The catalogue's name of the UNet that a line asks about; empty when there is none.
std::string unet_name(const Question& q) {
    struct Alias {
        std::string_view family;
        std::string_view variant;
        std::string_view name;
    };
    constexpr std::array<Alias, 20> kAliases = {{{"sd15", "inpaint9", "sd15_inpaint"},
                                                 {"sd15", "inpaint", "sd15_inpaint"},
                                                 {"sd15", "ip2p8", "sd15_ip2p"},
                                                 {"sd15", "ip2p", "sd15_ip2p"},
                                                 {"sd21", "inpaint9", "sd21_inpaint"},
                                                 {"sd21", "inpaint", "sd21_inpaint"},
                                                 {"sd21", "unclip_l", "sd21_unclip_l"},
                                                 {"sd21", "unclip_h", "sd21_unclip_h"},
                                                 {"sd20", "base", "sd20"},
                                                 {"sdxl", "inpaint9", "sdxl_inpaint"},
                                                 {"sdxl", "inpaint", "sdxl_inpaint"},
                                                 {"sdxl", "ip2p8", "sdxl_ip2p"},
                                                 {"sdxl", "ip2p", "sdxl_ip2p"},
                                                 {"sdxl", "refiner", "sdxl_refiner"},
                                                 {"sdxl", "ssd1b", "ssd1b"},
                                                 {"sdxl", "segmind_vega", "segmind_vega"},
                                                 {"sdxl", "vega", "segmind_vega"},
                                                 {"sdxl", "koala_700m", "koala_700m"},
                                                 {"sdxl", "koala_1b", "koala_1b"},
                                                 {"sd20", "inpaint9", "sd21_inpaint"}}};
    for (const Alias& alias : kAliases) {
        if (alias.family == q.family && alias.variant == q.variant) return std::string(alias.name);
    }
    return is_way_of_running(q.variant) ? q.family : std::string();
}

// Constructor arguments of the UNet as recorded lines of ComfyUI 0.33.0 carry them, over what the
// name says.
Result<void> read_unet_config(const json::value& from, modelfile::UnetConfig& c) {
    const auto number = [&](std::string_view key, int& into) {
        if (const auto value = find_int(from, key))
            into = static_cast<int>(std::clamp<std::int64_t>(*value, -2, 1 << 20));
    };
    const auto list = [&](std::string_view key, std::vector<int>& into) -> Result<void> {
        const json::value* values = find(from, key);
        if (values == nullptr || !values->is_array()) return {};
        into.clear();
        for (const json::value& value : values->get_array()) {
            if (!value.is_int64())
                return fail(Errc::InvalidInput,
                            fmt::format("config.{} must list whole numbers", key));
            into.push_back(
                static_cast<int>(std::clamp<std::int64_t>(value.get_int64(), -2, 1 << 20)));
        }
        return {};
    };
    number("in_channels", c.in_channels);
    number("out_channels", c.out_channels);
    number("model_channels", c.model_channels);
    number("transformer_depth_middle", c.transformer_depth_middle);
    number("context_dim", c.context_dim);
    number("adm_in_channels", c.adm_in_channels);
    number("num_heads", c.num_heads);
    number("num_head_channels", c.num_head_channels);
    if (const auto linear = find_bool(from, "use_linear_in_transformer"))
        c.use_linear_in_transformer = *linear;
    if (const auto temporal = find_bool(from, "use_temporal_attention")) c.temporal = *temporal;
    TRY_DO(list("channel_mult", c.channel_mult));
    TRY_DO(list("num_res_blocks", c.num_res_blocks));
    TRY_DO(list("transformer_depth", c.transformer_depth));
    return list("transformer_depth_output", c.transformer_depth_output);
}

Result<modelfile::UnetConfig> unet_config(const Question& q) {
    const std::string name = unet_name(q);
    auto config = known_unet(name.empty() && q.config != nullptr ? q.family : name);
    if (!config) return unknown(q);
    if (q.config != nullptr) {
        config->adm_in_channels =
            0;  // recorded arguments are complete: what they leave out is not there
        TRY_DO(read_unet_config(*q.config, *config));
    }
    return config;
}

}  // namespace

Result<Walk> answer_unet(const Question& q) {
    TRY_ASSIGN(const modelfile::UnetConfig config, unet_config(q));
    TRY_ASSIGN(const auto unet, build_unet(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    std::shared_ptr<const ControlNetNetwork> controlnet;
    if (contains(q.variant, "controlnet")) {
        TRY_ASSIGN(const auto known, known_controlnet(q.family));
        TRY_ASSIGN(controlnet, build_controlnet(known));
        call.controlnet = controlnet.get();
    }
    return answer_step(q, *unet, call);
}

Result<Walk> answer_controlnet(const Question& q) {
    TRY_DO(check_size(q));
    if (q.variant == "t2i_adapter") {
        const auto known = known_t2i_adapter(q.family);
        if (!known) return unknown(q);
        TRY_ASSIGN(const auto adapter, build_t2i_adapter(*known));
        return simulate_t2i_adapter(*adapter,
                                    {q.batch, q.height, q.width, q.types.compute, q.rules});
    }
    std::string name;
    if (q.variant == "cldm") name = q.family;
    if (q.variant == "union++6") name = q.family + "_union_6";
    if (q.variant == "union++8") name = q.family + "_union_8";
    const auto known = known_controlnet(name);
    if (!known) return unknown(q);
    TRY_ASSIGN(const auto controlnet, build_controlnet(*known));
    TRY_ASSIGN(const StepCall call, step_call(q));
    return simulate_controlnet(*controlnet, call);
}

Result<Walk> answer_kl_vae(const Question& q) {
    if (q.variant != "full" && !q.variant.starts_with("tile")) return unknown(q);
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto config, known_kl_vae(q.family.substr(4)));
    TRY_ASSIGN(const auto vae, build_kl_vae(config));
    const VaeCall call{.batch = q.batch,
                       .frames = 1,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    return q.phase == "vae_decode" ? simulate_vae_decode(*vae, call)
                                   : simulate_vae_encode(*vae, call);
}

namespace {

// Constructor arguments of the KL autoencoder.
struct KlVaeArguments {
    bool double_z = true;
    int z_channels = 32;
    int in_channels = 3;
    int out_ch = 3;
    int ch = 128;
    std::vector<int> ch_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    std::vector<int> attn_resolutions;  // attention between the blocks, which is not simulated
    bool batch_norm_latent = true;
};
BOOST_DESCRIBE_STRUCT(KlVaeArguments, (),
                      (double_z, z_channels, in_channels, out_ch, ch, ch_mult, num_res_blocks,
                       attn_resolutions, batch_norm_latent))

}  // namespace

// Flux 2's: a KL autoencoder whose latent is packed and normalised.
Result<Walk> answer_flux2_vae(const Question& q) {
    constexpr int kPixelsPerCell = 16;
    if (q.variant != "full" && !q.variant.starts_with("tile")) return unknown(q);
    KlVaeArguments arguments;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, arguments));
    if (!arguments.attn_resolutions.empty() || !arguments.batch_norm_latent) return unknown(q);
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    TRY_ASSIGN(const auto vae, build_kl_vae({.z_channels = arguments.z_channels,
                                             .embed_dim = arguments.z_channels,
                                             .in_channels = arguments.in_channels,
                                             .out_channels = arguments.out_ch,
                                             .base_channels = arguments.ch,
                                             .channel_mult = arguments.ch_mult,
                                             .num_res_blocks = arguments.num_res_blocks,
                                             .double_z = arguments.double_z,
                                             .batch_norm_latent = true}));
    const VaeCall call{.batch = q.batch,
                       .frames = 1,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    Walk walk =
        q.phase == "vae_decode" ? simulate_vae_decode(*vae, call) : simulate_vae_encode(*vae, call);
    return with_buffers(q, *as_network(vae), walk);
}

Result<Walk> answer_clip(const Question& q) {
    const auto config = known_clip(q.family);
    if (!config) return unknown(q);
    TRY_ASSIGN(const auto clip, build_clip(*config));
    ClipCall call{q.batch, q.tokens, q.types.storage, q.types.compute, false, q.rules};
    // SDXL's encoders, and SD 2.x's, hand on the last but one layer; SD 1.x's the last.
    const bool hidden = q.config != nullptr
                            ? find_string(*q.config, "layer") == "hidden"
                            : q.family != "clip_l" || contains(q.variant, "hidden-2");
    call.stop_at_hidden_minus_two = hidden;
    if (q.tokens > config->positions) {
        return fail(Errc::InvalidInput,
                    fmt::format("{} tokens in one chunk, the encoder has {} positions", q.tokens,
                                config->positions));
    }
    Walk walk = simulate_text_encode(*clip, call);
    if (q.recorder == 'a') {  // it names the wrapper itself by its class
        const std::string_view wrapper = as_network(clip)->modules().front().class_name;
        for (LiveTensor& tensor : walk.top_live) {
            if (tensor.module.empty()) tensor.module = wrapper;
        }
    }
    return walk;
}

}  // namespace plimsoll::memory::trace
