// SPDX-License-Identifier: Apache-2.0
#include "memory/trace_question.h"

#include "base/described.h"
#include "memory/networks/denoiser.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory {

namespace {

using modelfile::known_clip;
using modelfile::known_controlnet;
using modelfile::known_kl_vae;
using modelfile::known_t2i_adapter;
using modelfile::known_unet;

struct Types {
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float16;
};

struct Question {
    std::string family;
    std::string variant;
    std::string phase;
    std::string call;
    int width = 0;
    int height = 0;
    int latent_width = 0;
    int latent_height = 0;
    int batch = 1;
    int tokens = 77;
    Types types;
    ForwardRules rules;
    char recorder = 'a';
    const json::value* config = nullptr;  // constructor arguments, where given
};

constexpr std::int64_t kPixelsMax = 16384;    // ComfyUI's MAX_RESOLUTION
constexpr std::int64_t kBatchMax = 4096;      // of its EmptyLatentImage
constexpr std::int64_t kTokensMax = 1 << 16;  // chosen: 850 chunks of 77
constexpr int kPixelsPerCell = 8;

Result<int> read_count(const json::value& line, std::string_view key, int fallback,
                       std::int64_t max) {
    const json::value* field = find(line, key);
    if (field == nullptr || field->is_null()) return fallback;
    const auto value = find_int(line, key);
    if (!value || *value < 0 || *value > max) {
        return fail(Errc::InvalidInput,
                    fmt::format("{} must be a whole number up to {}", key, max));
    }
    return static_cast<int>(*value);
}

Result<std::string> read_text(const json::value& line, std::string_view key,
                              std::string_view fallback = {}) {
    const json::value* field = find(line, key);
    if (field == nullptr || field->is_null()) return std::string(fallback);
    if (const auto text = find_string(line, key)) return std::string(*text);
    return fail(Errc::InvalidInput, fmt::format("{} must be text", key));
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

Result<ComputeType> compute_type(std::string_view name) {
    if (const auto type = parse_compute_type(name)) return *type;
    return fail(Errc::InvalidInput, fmt::format("no element type named {:?}", name));
}

// "fp16", or "fp8_e4m3fn->fp16": stored in, computed in. Variants say it too:
// "fp8_store_cast_fp16", "fp16w_fp32c".
Result<Types> read_types(std::string_view dtype, std::string_view variant) {
    Types types;
    if (const auto arrow = dtype.find("->"); arrow != std::string_view::npos) {
        TRY_ASSIGN(types.storage, compute_type(dtype.substr(0, arrow)));
        TRY_ASSIGN(types.compute, compute_type(dtype.substr(arrow + 2)));
        return types;
    }
    TRY_ASSIGN(types.compute, compute_type(dtype.empty() ? "fp16" : dtype));
    types.storage = types.compute;
    constexpr std::string_view kStore = "_store_cast_";  // "dev_fp8_store_cast_bf16"
    if (const auto store = variant.find(kStore); store != std::string_view::npos) {
        std::string_view stored = variant.substr(0, store);
        if (const auto base = stored.rfind("_fp8"); base != std::string_view::npos)
            stored.remove_prefix(base + 1);
        TRY_ASSIGN(types.storage, compute_type(stored));
        TRY_ASSIGN(types.compute, compute_type(variant.substr(store + kStore.size())));
    }
    if (const auto split = variant.find("w_");
        split != std::string_view::npos && variant.ends_with('c')) {
        TRY_ASSIGN(types.storage, compute_type(variant.substr(0, split)));
        TRY_ASSIGN(types.compute,
                   compute_type(variant.substr(split + 2, variant.size() - split - 3)));
    }
    return types;
}

// "0.3.64" -> 3064, "0.33.0" -> 33000; at most three digits of each part count.
int version_key(std::string_view version) {
    std::array<int, 3> parts{};
    std::size_t index = 0;
    for (const char c : version) {
        if (c == '.') {
            if (++index == parts.size()) break;
        } else if (c >= '0' && c <= '9' && parts[index] < 100) {
            parts[index] = parts[index] * 10 + (c - '0');
        }
    }
    return parts[0] * 1'000'000 + parts[1] * 1000 + parts[2];
}

ForwardRules read_rules(const json::value& line, const Question& q) {
    ForwardRules rules;
    if (const auto version = find_string(line, "comfyui"))
        rules.comfyui_minor_key = version_key(*version);
    rules.math_attention_in_vae = find_string(line, "attention") == "math";
    rules.efficient_attention = contains(q.variant, "effattn");
    rules.fused_rms_norm = contains(q.variant, "fusedrms");
    rules.accounting = q.recorder == 'a' ? Accounting::CastsApart : Accounting::CastsIncluded;
    return rules;
}

Result<void> read_sizes(const json::value& line, Question& q) {
    TRY_ASSIGN(q.width, read_count(line, "width", 0, kPixelsMax));
    TRY_ASSIGN(q.height, read_count(line, "height", 0, kPixelsMax));
    TRY_ASSIGN(q.batch, read_count(line, "batch", 1, kBatchMax));
    TRY_ASSIGN(q.tokens, read_count(line, "tokens", 77, kTokensMax));
    TRY_ASSIGN(const int frames, read_count(line, "frames", 1, kPixelsMax));
    if (frames > 1) return fail(Errc::NotFound, "several frames: video networks are not simulated");
    if (q.batch == 0 || q.tokens == 0)
        return fail(Errc::InvalidInput, "batch and tokens must be at least 1");
    q.latent_width = q.width / kPixelsPerCell;
    q.latent_height = q.height / kPixelsPerCell;
    return {};
}

Result<Question> read_question(const json::value& line) {
    Question q;
    TRY_ASSIGN(q.family, read_text(line, "family"));
    TRY_ASSIGN(q.variant, read_text(line, "variant", "base"));
    TRY_ASSIGN(q.phase, read_text(line, "phase"));
    TRY_ASSIGN(q.call, read_text(line, "call"));
    TRY_ASSIGN(const std::string recorder, read_text(line, "recorder", "a"));
    TRY_ASSIGN(const std::string dtype, read_text(line, "dtype"));
    q.recorder = recorder.empty() ? 'a' : recorder.front();
    TRY_DO(read_sizes(line, q));
    TRY_ASSIGN(q.types, read_types(dtype, q.variant));
    q.rules = read_rules(line, q);
    if (const json::value* config = find(line, "config"); config != nullptr && config->is_object())
        q.config = config;
    return q;
}

std::unexpected<Error> unknown(const Question& q) {
    return fail(Errc::NotFound,
                fmt::format("family {:?}, variant {:?}, phase {:?} is not simulated", q.family,
                            q.variant, q.phase));
}

// Variants that say how the base network was run, not which network it is.
bool is_way_of_running(std::string_view variant) {
    constexpr std::array<std::string_view, 12> kNames = {"base",
                                                         "fp32",
                                                         "fp16",
                                                         "bf16",
                                                         "odd_size",
                                                         "sampling_function",
                                                         "sens_effattn",
                                                         "tile",
                                                         "sens_fusedrms",
                                                         "with_controlnet",
                                                         "sampling_function+controlnet",
                                                         "full"};
    if (std::find(kNames.begin(), kNames.end(), variant) != kNames.end()) return true;
    const bool context =
        variant.starts_with("ctx") && variant.size() > 3 &&
        variant.substr(3).find_first_not_of("0123456789") == std::string_view::npos;
    return context || contains(variant, "_store_cast_");
}

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

Result<StepEntry> unet_entry(const Question& q) {
    if (q.call.empty() || q.call == "apply_model") return StepEntry::ApplyModel;
    if (q.call == "forward") return StepEntry::Forward;
    if (q.call == "sampling_function") return StepEntry::SamplingFunction;
    return fail(Errc::NotFound, fmt::format("call {:?} of a UNet is not simulated", q.call));
}

StepCall unet_call(const Question& q) {
    StepCall call;
    call.batch = q.batch;
    call.latent_height = q.latent_height;
    call.latent_width = q.latent_width;
    call.tokens = q.tokens;
    call.storage = q.types.storage;
    call.compute = q.types.compute;
    call.rules = q.rules;
    return call;
}

// Recorders b and c counted, for apply_model, the buffers of ComfyUI's model object too.
void add_model_buffers(const Question& q, const Denoiser& model, Walk& walk) {
    if (q.recorder == 'a' || q.call != "apply_model") return;
    for (const ModuleEntry& buffer : model.model_buffers()) {
        walk.params += buffer.elements;
        walk.weights += buffer.weights(q.types.storage);
    }
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

Result<void> check_size(const Question& q) {
    if (q.latent_width < 1 || q.latent_height < 1)
        return fail(Errc::InvalidInput, "width and height must be at least 8");
    return {};
}

Result<Walk> answer_unet(const Question& q) {
    TRY_ASSIGN(const modelfile::UnetConfig config, unet_config(q));
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto unet, build_unet(config));
    StepCall call = unet_call(q);
    TRY_ASSIGN(call.entry, unet_entry(q));
    if (q.batch % 2 != 0) call.conds = 1;
    std::shared_ptr<const ControlNetNetwork> controlnet;
    if (contains(q.variant, "controlnet")) {
        TRY_ASSIGN(const auto known, known_controlnet(q.family));
        TRY_ASSIGN(controlnet, build_controlnet(known));
        call.controlnet = controlnet.get();
    }
    Walk walk = simulate_step(*unet, call);
    add_model_buffers(q, *unet, walk);
    return walk;
}

// Which Flux a variant names, and how many reference images it was given.
struct FluxVariant {
    modelfile::FluxConfig config;
    int references = 0;
};
Result<FluxVariant> flux_variant(const Question& q) {
    FluxVariant variant;
    const std::string_view name = q.variant;
    if (name == "schnell") {
        variant.config.guidance_embed = false;
    } else if (name == "fill_inpaint") {
        variant.config.in_channels =
            96;  // the latent, the masked latent and a mask of 8 x 8 pixels
    } else if (name.starts_with("kontext_") && name.ends_with("ref") && name.size() == 12) {
        variant.references = name[8] - '0';
    } else if (name != "dev" && name != "dev_fp16" && name != "sampling_function_cfg1" &&
               !is_way_of_running(name) && q.config == nullptr) {
        return unknown(q);
    }
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    return variant;
}

Result<Walk> answer_flux(const Question& q) {
    TRY_ASSIGN(const FluxVariant variant, flux_variant(q));
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto flux, build_flux(variant.config));
    StepCall call = unet_call(q);
    TRY_ASSIGN(call.entry, unet_entry(q));
    if (q.batch % 2 != 0 || contains(q.variant, "cfg1")) call.conds = 1;
    for (int i = 0; i < variant.references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    Walk walk = simulate_step(*flux, call);
    add_model_buffers(q, *flux, walk);
    return walk;
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
    return simulate_controlnet(*controlnet, unet_call(q));
}

Result<Walk> answer_vae(const Question& q) {
    if (q.family != "vae_kl4" && q.family != "vae_kl16") return unknown(q);
    if (q.variant != "full" && !q.variant.starts_with("tile")) return unknown(q);
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto config, known_kl_vae(q.family.substr(4)));
    TRY_ASSIGN(const auto vae, build_kl_vae(config));
    const VaeCall call{q.batch, q.height, q.width, q.types.compute, q.types.storage, q.rules};
    return q.phase == "vae_decode" ? simulate_vae_decode(*vae, call)
                                   : simulate_vae_encode(*vae, call);
}

Result<Walk> answer_text_encoder(const Question& q) {
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

}  // namespace

bool has_cu130_build(const json::value& line) {
    return version_key(find_string(line, "comfyui").value_or("")) >= version_key("0.33.0");
}

Result<Walk> answer_question(const json::value& line, KernelSet kernels,
                             const OpObserver* observer) {
    TRY_ASSIGN(Question q, read_question(line));
    q.rules.observer = observer;
    if (kernels == KernelSet::Cu130) q.rules.fused_rms_norm = q.rules.fused_rope = true;
    if (q.phase == "unet_step" && q.family == "flux") return answer_flux(q);
    if (q.phase == "unet_step") return answer_unet(q);
    if (q.phase == "controlnet") return answer_controlnet(q);
    if (q.phase == "vae_decode" || q.phase == "vae_encode") return answer_vae(q);
    if (q.phase == "text_encode") return answer_text_encoder(q);
    return unknown(q);
}

}  // namespace plimsoll::memory
