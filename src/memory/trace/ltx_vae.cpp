// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vae.h"
#include "memory/networks/limits.h"
#include "memory/trace/answers.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory::trace {

namespace {

using modelfile::LtxVaeBlock;
using modelfile::LtxVaeBlockKind;
using modelfile::LtxVaeConfig;

constexpr int kPixelsPerCell = 32;
constexpr int kFramesPerCell = 8;
constexpr std::size_t kBlocksMax = 64;  // chosen; LTX-Video's largest list has 10

LtxVaeBlock residuals(int layers, bool noise = false) {
    return {.kind = LtxVaeBlockKind::Residuals, .num_layers = layers, .inject_noise = noise};
}
LtxVaeBlock widening() {
    return {.kind = LtxVaeBlockKind::Residual, .multiplier = 2};
}
LtxVaeBlock compression(LtxVaeBlockKind kind, int frames, int cells, int multiplier = 1) {
    return {.kind = kind, .multiplier = multiplier, .stride_frames = frames, .stride_cells = cells};
}

// 0.9: encoder and decoder from one list.
std::vector<LtxVaeBlock> first_blocks(LtxVaeBlockKind compress) {
    return {residuals(4), compression(compress, 2, 2), widening(),
            residuals(3), compression(compress, 2, 2), widening(),
            residuals(3), compression(compress, 2, 2), residuals(3),
            residuals(4)};
}

std::vector<LtxVaeBlock> residual_decoder(const std::vector<int>& layers, bool noise) {
    std::vector<LtxVaeBlock> blocks;
    blocks.reserve(2 * layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const bool last = i + 1 == layers.size();
        blocks.push_back(residuals(layers[i], noise && !last));
        if (last) break;
        LtxVaeBlock up = compression(LtxVaeBlockKind::DepthToSpace, 2, 2, 2);
        up.residual = true;
        blocks.push_back(up);
    }
    return blocks;
}

// What ComfyUI takes a file to be that brings no configuration: 0.9, 0.9.1 and 0.9.5.
LtxVaeConfig version_config(int version) {
    LtxVaeConfig c;
    c.timestep_conditioning = version > 0;
    c.encoder_blocks = first_blocks(LtxVaeBlockKind::Convolution);
    if (version == 0) {
        c.decoder_blocks = first_blocks(LtxVaeBlockKind::DepthToSpace);
    } else if (version == 1) {
        c.decoder_blocks = residual_decoder({5, 6, 7, 8}, true);
    } else {
        constexpr LtxVaeBlockKind kDown = LtxVaeBlockKind::SpaceToDepth;
        c.encoder_blocks = {
            residuals(4), compression(kDown, 1, 2, 2), residuals(6), compression(kDown, 2, 1, 2),
            residuals(6), compression(kDown, 2, 2, 2), residuals(2), compression(kDown, 2, 2, 2),
            residuals(2)};
        c.decoder_blocks = residual_decoder({5, 5, 5, 5}, false);
    }
    return c;
}

int whole(const json::value& object, std::string_view key, int fallback) {
    if (!object.is_object()) return fallback;
    const auto value = find_int(object, key);
    constexpr int kMost = 1 << 16;
    return value && *value >= 0 && *value <= kMost ? static_cast<int>(*value) : fallback;
}

bool flag(const json::value& object, std::string_view key) {
    return object.is_object() && find_bool(object, key).value_or(false);
}

// Sets what a name of the form compress_all, _time or _space, for an encoder also _res or _x_y,
// says; false where it is none.
bool read_compression(std::string_view name, bool encoder, LtxVaeBlock& block) {
    constexpr std::string_view kStart = "compress_";
    if (!name.starts_with(kStart)) return false;
    name.remove_prefix(kStart.size());
    block.kind = encoder ? LtxVaeBlockKind::Convolution : LtxVaeBlockKind::DepthToSpace;
    constexpr std::string_view kResidual = "_res";
    if (encoder && name.ends_with(kResidual)) {
        block.kind = LtxVaeBlockKind::SpaceToDepth;
        name.remove_suffix(kResidual.size());
    }
    block.stride_frames = name == "space" ? 1 : 2;
    block.stride_cells = name == "time" ? 1 : 2;
    return name == "all" || name == "time" || name == "space";
}

Result<LtxVaeBlock> read_block(const Question& q, const json::value& entry, bool encoder) {
    if (!entry.is_array() || entry.get_array().size() != 2 || !entry.get_array()[0].is_string())
        return fail(Errc::InvalidInput, "a block of the VAE must be a name and its parameters");
    const json::value& name = entry.get_array()[0];
    const json::value& parameters = entry.get_array()[1];
    LtxVaeBlock block;
    constexpr int kWidening = 2;  // where the parameters do not say
    if (name.get_string() == "res_x") {
        const bool number = parameters.is_int64();
        block.num_layers = number && parameters.get_int64() >= 0 && parameters.get_int64() < 64
                               ? static_cast<int>(parameters.get_int64())
                               : whole(parameters, "num_layers", number ? -1 : 1);
        block.inject_noise = flag(parameters, "inject_noise");
        return block;
    }
    if (name.get_string() == "res_x_y") {
        block.kind = LtxVaeBlockKind::Residual;
        block.multiplier = whole(parameters, "multiplier", kWidening);
        block.inject_noise = flag(parameters, "inject_noise");
        return block;
    }
    if (!read_compression(std::string_view(name.get_string()), encoder, block)) return unknown(q);
    if (encoder)
        block.multiplier = block.kind == LtxVaeBlockKind::SpaceToDepth
                               ? whole(parameters, "multiplier", kWidening)
                               : 1;
    else
        block.multiplier = whole(parameters, "multiplier", 1);
    block.residual = flag(parameters, "residual");
    // The recorded forwards know both only where all three sides are halved.
    if (!encoder && (block.stride_frames == 1 || block.stride_cells == 1)) return unknown(q);
    return block;
}

Result<std::vector<LtxVaeBlock>> read_blocks(const Question& q, std::string_view key,
                                             bool encoder) {
    const json::value* list = find(*q.config, key);
    if (list == nullptr) list = find(*q.config, "blocks");
    if (list == nullptr || !list->is_array() || list->get_array().size() > kBlocksMax)
        return fail(Errc::InvalidInput, "the VAE's blocks must be a list of at most 64");
    std::vector<LtxVaeBlock> blocks;
    blocks.reserve(list->get_array().size());
    for (const json::value& entry : list->get_array()) {
        TRY_ASSIGN(LtxVaeBlock block, read_block(q, entry, encoder));
        blocks.push_back(block);
    }
    return blocks;
}

// What the walk knows one form of only.
bool is_walked(const json::value& config) {
    const auto is = [&](std::string_view key, std::string_view wanted) {
        const json::value* const value = find(config, key);
        return value == nullptr || (value->is_string() && value->get_string() == wanted);
    };
    const bool padded_anew = find(config, "spatial_padding_mode") != nullptr ||
                             find(config, "encoder_spatial_padding_mode") != nullptr ||
                             find(config, "decoder_spatial_padding_mode") != nullptr ||
                             find(config, "encoder_base_channels") != nullptr ||
                             find(config, "decoder_base_channels") != nullptr;
    return !padded_anew && whole(config, "dims", 3) == 3 && is("norm_layer", "pixel_norm") &&
           find(config, "norm_layer") != nullptr && is("latent_log_var", "uniform") &&
           find(config, "latent_log_var") != nullptr;
}

Result<LtxVaeConfig> read_config(const Question& q, int version) {
    if (q.config == nullptr) return version_config(version);
    if (find(*q.config, "encoder_blocks") == nullptr && find(*q.config, "blocks") == nullptr)
        return version_config(whole(*q.config, "version", version));
    if (!is_walked(*q.config)) return unknown(q);
    LtxVaeConfig c;
    TRY_ASSIGN(c.encoder_blocks, read_blocks(q, "encoder_blocks", true));
    TRY_ASSIGN(c.decoder_blocks, read_blocks(q, "decoder_blocks", false));
    c.in_channels = whole(*q.config, "in_channels", 3);
    c.out_channels = whole(*q.config, "out_channels", 3);
    c.latent_channels = whole(*q.config, "latent_channels", -1);
    c.patch_size = whole(*q.config, "patch_size", 1);
    c.timestep_conditioning = flag(*q.config, "timestep_conditioning");
    c.causal_decoder = flag(*q.config, "causal_decoder");
    return c;
}

// "v2_ltx0.9.7_vram24" is "v2" on a card of 24 GiB.
Result<LtxVaeConfig> variant_config(const Question& q) {
    std::string_view name = q.variant;
    if (const auto card = name.find("_vram"); card != std::string_view::npos)
        name = name.substr(0, card);
    if (name == "v0") return read_config(q, 0);
    if (name == "v1") return read_config(q, 1);
    if (name == "v2" || name == "v2_ltx0.9.7") return read_config(q, 2);
    if (name != "ltx2") return unknown(q);
    TRY_ASSIGN(LtxVaeConfig config, read_config(q, 2));
    if (q.config == nullptr) config.timestep_conditioning = false;
    return config;
}

}  // namespace

Result<Walk> answer_ltx_vae(const Question& q) {
    TRY_ASSIGN(const LtxVaeConfig config, variant_config(q));
    const bool chunked = q.rules.comfyui_minor_key >= kComfy033;
    if (chunked && q.total_vram_gib <= 0) return unknown(q);
    // The timestep is embedded once, for one video.
    if (q.phase == "vae_decode" && config.timestep_conditioning && q.batch > 1) return unknown(q);
    TRY_ASSIGN(const auto vae,
               build_ltx_vae(config, chunked ? LtxVaeForm::Chunked : LtxVaeForm::Whole));
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 32");
    const std::int64_t patch = config.patch_size;
    if (!fits_walk({q.batch, q.frames, q.height, q.width, kWidthMax / (patch * patch)}))
        return fail(Errc::LimitExceeded, "the video is too large to be walked");
    const bool encodes = q.phase == "vae_encode";
    if (encodes && (q.width % kPixelsPerCell != 0 || q.height % kPixelsPerCell != 0 ||
                    (q.frames - 1) % kFramesPerCell != 0))
        return fail(Errc::InvalidInput,
                    "to be encoded, width and height must be multiples of 32 and frames one more "
                    "than a multiple of 8");
    const LtxVaeCall call{.batch = q.batch,
                          .frames = q.frames,
                          .height = q.height,
                          .width = q.width,
                          .chunk_bytes = chunked ? ltx_vae_chunk_bytes(q.total_vram_gib) : 0,
                          .compute = q.types.compute,
                          .storage = q.types.storage,
                          .rules = q.rules};
    Walk walk = encodes ? simulate_ltx_vae_encode(*vae, call) : simulate_ltx_vae_decode(*vae, call);
    if (q.recorder == 'a') return walk;
    for (const ModuleEntry& module : vae->modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
