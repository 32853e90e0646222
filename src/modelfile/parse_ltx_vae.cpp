// SPDX-License-Identifier: Apache-2.0
#include "modelfile/parse_ltx_vae.h"

#include "base/described.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace plimsoll::modelfile {
namespace {

constexpr std::size_t kBlocksMax = 64;  // chosen; LTX-Video's largest list has 10

std::unexpected<Error> not_walked(std::string_view what) {
    return fail(Errc::NotFound, fmt::format("a VAE of LTX with {} is not simulated", what));
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

Result<LtxVaeBlock> read_block(const json::value& entry, bool encoder) {
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
    if (!read_compression(std::string_view(name.get_string()), encoder, block))
        return not_walked(fmt::format("blocks {}", std::string_view(name.get_string())));
    if (encoder)
        block.multiplier = block.kind == LtxVaeBlockKind::SpaceToDepth
                               ? whole(parameters, "multiplier", kWidening)
                               : 1;
    else
        block.multiplier = whole(parameters, "multiplier", 1);
    block.residual = flag(parameters, "residual");
    return block;
}

Result<std::vector<LtxVaeBlock>> read_blocks(const json::value& config, std::string_view key,
                                             bool encoder) {
    const json::value* list = find(config, key);
    if (list == nullptr) list = find(config, "blocks");
    if (list == nullptr || !list->is_array() || list->get_array().size() > kBlocksMax)
        return fail(Errc::InvalidInput, "the VAE's blocks must be a list of at most 64");
    std::vector<LtxVaeBlock> blocks;
    blocks.reserve(list->get_array().size());
    for (const json::value& entry : list->get_array()) {
        TRY_ASSIGN(LtxVaeBlock block, read_block(entry, encoder));
        blocks.push_back(block);
    }
    return blocks;
}

bool is(const json::value& config, std::string_view key, std::string_view wanted) {
    const json::value* const value = find(config, key);
    return value != nullptr && value->is_string() && value->get_string() == wanted;
}

// What the walk knows one form of only.
bool is_walked(const json::value& config) {
    const auto absent = [&](std::string_view key) { return find(config, key) == nullptr; };
    constexpr int kBase = 128;
    return absent("encoder_spatial_padding_mode") && absent("decoder_spatial_padding_mode") &&
           (absent("spatial_padding_mode") || is(config, "spatial_padding_mode", "zeros")) &&
           whole(config, "encoder_base_channels", kBase) == kBase &&
           whole(config, "decoder_base_channels", kBase) == kBase &&
           whole(config, "dims", 3) == 3 && is(config, "norm_layer", "pixel_norm") &&
           is(config, "latent_log_var", "uniform");
}

}  // namespace

Result<LtxVaeConfig> parse_ltx_vae(const json::value& config) {
    if (!config.is_object())
        return fail(Errc::InvalidInput, "the VAE's configuration must be an object");
    if (!is_walked(config)) return not_walked("such padding, norms or channels");
    LtxVaeConfig c;
    TRY_ASSIGN(c.encoder_blocks, read_blocks(config, "encoder_blocks", true));
    TRY_ASSIGN(c.decoder_blocks, read_blocks(config, "decoder_blocks", false));
    c.in_channels = whole(config, "in_channels", 3);
    c.out_channels = whole(config, "out_channels", 3);
    c.latent_channels = whole(config, "latent_channels", -1);
    c.patch_size = whole(config, "patch_size", 1);
    c.timestep_conditioning = flag(config, "timestep_conditioning");
    c.causal_decoder = flag(config, "causal_decoder");
    c.decoder_pads_zeros = is(config, "spatial_padding_mode", "zeros");
    return c;
}

Result<Ltx24VaeConfig> parse_ltx24_vae(const json::value& config) {
    const json::value* const encoder = config.is_object() ? find(config, "encoder") : nullptr;
    const json::value* const decoder = config.is_object() ? find(config, "decoder") : nullptr;
    if (encoder == nullptr || !encoder->is_object() || decoder == nullptr)
        return fail(Errc::InvalidInput, "the VAE's configuration must have two halves");
    Ltx24VaeConfig c;
    TRY_ASSIGN(c.encoder.encoder_blocks, read_blocks(*encoder, "blocks", true));
    c.encoder.patch_size = whole(*encoder, "patch_size", c.encoder.patch_size);
    c.encoder.base_channels = whole(*encoder, "base_channels", c.encoder.base_channels);
    TRY_DO(read_described(*decoder, c.decoder));
    return c;
}

}  // namespace plimsoll::modelfile
