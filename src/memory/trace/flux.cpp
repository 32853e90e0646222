// SPDX-License-Identifier: Apache-2.0
//
// Flux and the networks that share its blocks: Flux 2, LongCat-Image, Chroma.
#include "base/described.h"
#include "memory/networks/dit/chroma.h"
#include "memory/trace/answers.h"
#include "modelfile/networks/flux_config.h"

#include <optional>

namespace plimsoll::memory::trace {

namespace {

using modelfile::FluxConfig;

// Which network a variant names, and how many reference images it was given.
struct FluxVariant {
    FluxConfig config;
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

Result<Walk> answer(const Question& q, const FluxConfig& config, StepCall call) {
    TRY_ASSIGN(const auto flux, build_flux(config));
    if (contains(q.variant, "cfg1")) call.conds = 1;
    return answer_step(q, *flux, call);
}

// Black Forest Labs' published sizes of Flux 2.
std::optional<FluxConfig> known_flux2(std::string_view name) {
    FluxConfig c{.in_channels = 128,
                 .out_channels = 128,
                 .patch_size = 1,
                 .hidden_size = 6144,
                 .num_heads = 48,
                 .mlp_ratio = 3.0,
                 .depth = 8,
                 .depth_single_blocks = 48,
                 .context_in_dim = 15360,
                 .vec_in_dim = 0,
                 .qkv_bias = false,
                 .axes_dim = {32, 32, 32, 32},
                 .txt_ids_dims = {3},
                 .global_modulation = true,
                 .mlp_silu_act = true,
                 .ops_bias = false};
    if (name == "dev") return c;
    c.guidance_embed = false;
    if (name == "klein_4B") {
        c.hidden_size = 3072;
        c.num_heads = 24;
        c.depth = 5;
        c.depth_single_blocks = 20;
        c.context_in_dim = 7680;
        return c;
    }
    if (name == "klein_9B") {
        c.hidden_size = 4096;
        c.num_heads = 32;
        c.depth_single_blocks = 24;
        c.context_in_dim = 12288;
        return c;
    }
    return std::nullopt;
}

// "dev_edit_2ref" is "dev" with two references: takes the ending off.
int take_references(std::string_view& variant) {
    constexpr std::string_view kEdit = "_edit_";
    constexpr std::string_view kEnd = "ref";
    const auto at = variant.rfind(kEdit);
    if (at == std::string_view::npos) return 0;
    const std::string_view count = variant.substr(at + kEdit.size());
    if (count.size() != 1 + kEnd.size() || !count.ends_with(kEnd) || count[0] < '1' ||
        count[0] > '9')
        return 0;
    variant.remove_suffix(variant.size() - at);
    return count[0] - '0';
}

}  // namespace

Result<Walk> answer_flux(const Question& q) {
    TRY_ASSIGN(const FluxVariant variant, flux_variant(q));
    TRY_ASSIGN(StepCall call, step_call(q));
    for (int i = 0; i < variant.references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer(q, variant.config, std::move(call));
}

Result<Walk> answer_flux2(const Question& q) {
    constexpr int kPixelsPerCell = 16;
    constexpr int kTokensMin = 512;  // ComfyUI pads shorter texts
    std::string_view name = q.variant;
    const int references = take_references(name);
    std::optional<FluxConfig> config = known_flux2(name);
    if (!config && is_way_of_running(name)) config = known_flux2("dev");
    if (!config) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, *config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kPixelsPerCell;
    call.latent_height = q.height / kPixelsPerCell;
    call.tokens = std::max(call.tokens, kTokensMin);
    for (int i = 0; i < references; ++i)
        call.references.push_back({1, call.latent_height, call.latent_width});
    return answer(q, *config, std::move(call));
}

Result<Walk> answer_longcat_image(const Question& q) {
    FluxConfig config{.depth = 10,
                      .depth_single_blocks = 20,
                      .context_in_dim = 3584,
                      .vec_in_dim = 0,
                      .guidance_embed = false,
                      .txt_ids_dims = {1, 2}};
    if (q.variant != "6B" && !is_way_of_running(q.variant)) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(StepCall call, step_call(q));
    return answer(q, config, std::move(call));
}

Result<Walk> answer_chroma(const Question& q) {
    modelfile::ChromaConfig config;
    if (!is_way_of_running(q.variant)) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto chroma, build_chroma(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    return answer_step(q, *chroma, call);
}

}  // namespace plimsoll::memory::trace
