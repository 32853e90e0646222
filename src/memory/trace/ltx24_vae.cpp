// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx24_vae.h"

#include "base/described.h"
#include "memory/trace/answers.h"

#include <string_view>

namespace plimsoll::memory::trace {

namespace {

using modelfile::LtxVaeBlock;
using modelfile::LtxVaeBlockKind;

constexpr int kPixelsPerCell = 32;

// The published one's.
constexpr std::string_view kEncoderBlocks =
    R"([["res_x",{"num_layers":4}],["compress_space_res",{"multiplier":2}],)"
    R"(["res_x",{"num_layers":6}],["compress_time_res",{"multiplier":2}],)"
    R"(["res_x",{"num_layers":4}],["compress_all_res",{"multiplier":2}],)"
    R"(["res_x",{"num_layers":2}],["compress_all_res",{"multiplier":1}],)"
    R"(["res_x",{"num_layers":2}]])";
constexpr std::string_view kUpsamples = "[[[1,2,2],2],[[2,1,1],2],[[2,2,2],1],[[2,2,2],2]]";

modelfile::LtxVaeConfig encoder_config() {
    const auto residuals = [](int layers) {
        return LtxVaeBlock{.kind = LtxVaeBlockKind::Residuals, .num_layers = layers};
    };
    const auto down = [](int frames, int cells, int multiplier) {
        return LtxVaeBlock{.kind = LtxVaeBlockKind::SpaceToDepth,
                           .multiplier = multiplier,
                           .stride_frames = frames,
                           .stride_cells = cells};
    };
    modelfile::LtxVaeConfig c;
    c.encoder_blocks = {residuals(4),  down(1, 2, 2), residuals(6),  down(2, 1, 2), residuals(4),
                        down(2, 2, 2), residuals(2),  down(2, 2, 1), residuals(2)};
    return c;
}

// Whether a member is left out or is, to the letter, what is walked.
bool is_left(const json::value* object, std::string_view key, std::string_view wanted) {
    if (object == nullptr || !object->is_object()) return true;
    const json::value* const value = find(*object, key);
    return value == nullptr || json::serialize(*value) == wanted;
}

bool is_walked(const json::value& config) {
    const json::value* const encoder = find(config, "encoder");
    const json::value* const decoder = find(config, "decoder");
    return is_left(&config, "model_output_type", R"("x0")") &&
           is_left(encoder, "blocks", kEncoderBlocks) && is_left(encoder, "in_channels", "3") &&
           is_left(encoder, "out_channels", "128") && is_left(encoder, "base_channels", "128") &&
           is_left(encoder, "patch_size", "4") &&
           is_left(encoder, "norm_layer", R"("pixel_norm")") &&
           is_left(encoder, "latent_log_var", R"("constant")") &&
           is_left(decoder, "upsamples", kUpsamples);
}

}  // namespace

Result<Walk> answer_ltx24_vae(const Question& q) {
    // Several videos are cut into slices that are not contiguous.
    if (q.variant != "na_diffusion" || q.rules.comfyui_minor_key < kComfy033 || q.batch > 1 ||
        q.types.storage != q.types.compute)
        return unknown(q);
    modelfile::Ltx24DecoderConfig decoder;
    if (q.config != nullptr) {
        if (!is_walked(*q.config)) return unknown(q);
        const json::value* const given = find(*q.config, "decoder");
        if (given != nullptr) TRY_DO(read_described(*given, decoder));
    }
    TRY_ASSIGN(const auto vae, build_ltx24_vae(encoder_config(), decoder));
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 32");
    Walk walk = simulate_ltx24_vae_decode(*vae, {.frames = q.frames,
                                                 .height = q.height,
                                                 .width = q.width,
                                                 .compute = q.types.compute,
                                                 .storage = q.types.storage,
                                                 .rules = q.rules});
    if (q.recorder == 'a') return walk;
    for (const ModuleEntry& module : vae->modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
