// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan.h"
#include "base/described.h"
#include "memory/trace/answers.h"

#include <algorithm>
#include <array>

namespace plimsoll::memory::trace {

namespace {

using modelfile::WanConfig;

constexpr int kFramesPerCell = 4;  // of both VAEs; the first frame has a cell of its own
constexpr int kLatentChannels22 = 48;

struct WanVariant {
    std::string_view name;
    WanConfig config;
    bool timestep_per_frame = false;
};

WanConfig wan_14b(std::string_view model_type, int in_dim) {
    WanConfig c;
    c.model_type = model_type;
    c.in_dim = in_dim;
    return c;
}

WanConfig wan_1_3b(std::string_view model_type) {
    WanConfig c;
    c.model_type = model_type;
    c.dim = 1536;
    c.ffn_dim = 8960;
    c.num_heads = 12;
    c.num_layers = 30;
    return c;
}

WanConfig wan_5b() {
    WanConfig c;
    c.dim = 3072;
    c.ffn_dim = 14336;
    c.num_heads = 24;
    c.num_layers = 30;
    c.in_dim = c.out_dim = kLatentChannels22;
    return c;
}

WanConfig with_vace(WanConfig c, int layers) {
    c.vace_layers = layers;
    return c;
}

WanConfig with_reference(WanConfig c) {
    c.in_dim_ref_conv = c.out_dim;
    return c;
}

// Networks that add inputs of their own around Wan's.
bool is_relative(std::string_view model_type) {
    constexpr std::array<std::string_view, 5> kRelatives = {"scail", "humo", "s2v", "animate",
                                                            "animate2"};
    return std::find(kRelatives.begin(), kRelatives.end(), model_type) != kRelatives.end();
}

// What is known of them: the forward alone, which the model object hands those inputs; recorded
// from ComfyUI 0.33.0; sizes of whole patches; where something drives the frames, a second one.
Result<void> check_relative(const Question& q, const WanConfig& c) {
    const bool driven = c.model_type.starts_with("animate");
    const bool known = q.call == "forward" && q.rules.comfyui_minor_key >= kComfy033 &&
                       q.latent_width % c.patch_size[2] == 0 &&
                       q.latent_height % c.patch_size[1] == 0 &&
                       (!driven || q.frames > kFramesPerCell);
    if (!known) return unknown(q);
    // Chosen: the pictures of a face pass the walk eight by eight.
    constexpr std::int64_t kPicturesMax = 1 << 16;
    if (c.model_type == "animate" && std::int64_t{q.batch} * q.frames > kPicturesMax)
        return fail(Errc::InvalidInput, "batch times frames is too much");
    return {};
}

// Sizes as published. Channels: latent 16; i2v: mask 4 and image latent 16 more; fun_control: the
// control's and the first frame's latents, and its mask.
Result<WanVariant> wan_variant(const Question& q) {
    const std::array variants = std::to_array<WanVariant>({
        {"t2v_14B", wan_14b("t2v", 16)},
        {"wan22_t2v_14B", wan_14b("t2v", 16)},
        {"i2v_14B", wan_14b("i2v", 36)},
        {"wan22_i2v_14B", wan_14b("t2v", 36)},
        {"t2v_1.3B", wan_1_3b("t2v")},
        {"wan22_ti2v_5B", wan_5b()},
        {"wan22_ti2v_5B_i2v", wan_5b(), true},
        {"vace_1.3B", with_vace(wan_1_3b("vace"), 15)},
        {"vace_14B", with_vace(wan_14b("vace", 16), 8)},
        {"fun_camera_14B", wan_14b("camera", 32)},
        {"wan22_fun_control_14B", with_reference(wan_14b("t2v", 52))},
        {"scail_14B", wan_14b("scail", 20)},
        {"humo_17B", wan_14b("humo", 36)},
        {"wan22_s2v_14B", wan_14b("s2v", 16)},
        {"wan22_animate_14B", wan_14b("animate", 36)},
        {"animate2_14B", wan_14b("animate2", 36)},
    });
    for (WanVariant variant : variants) {
        if (variant.name != q.variant) continue;
        const std::string model_type = variant.config.model_type;
        if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
        if (variant.config.model_type != model_type) return unknown(q);
        // The model object would make the timesteps of the frames from a mask.
        if (variant.timestep_per_frame && q.call != "forward") return unknown(q);
        if (is_relative(model_type)) TRY_DO(check_relative(q, variant.config));
        return variant;
    }
    return unknown(q);
}

}  // namespace

Result<Walk> answer_wan(const Question& q) {
    TRY_ASSIGN(const WanVariant variant, wan_variant(q));
    TRY_ASSIGN(const auto wan, build_wan(variant.config));
    TRY_ASSIGN(StepCall call, step_call(q));
    if (variant.config.out_dim == kLatentChannels22) {  // cells of 16 x 16 pixels
        call.latent_width /= 2;
        call.latent_height /= 2;
        if (call.latent_width < 1 || call.latent_height < 1)
            return fail(Errc::InvalidInput, "width and height must be at least 16");
    }
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    call.timestep_per_frame = variant.timestep_per_frame;
    return answer_step(q, *wan, call);
}

}  // namespace plimsoll::memory::trace
