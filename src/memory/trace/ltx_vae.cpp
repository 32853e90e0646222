// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vae.h"
#include "memory/networks/limits.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"
#include "modelfile/parse_ltx_vae.h"

#include <string_view>
#include <variant>

namespace plimsoll::memory::trace {

namespace {

using modelfile::LtxVaeConfig;

constexpr int kPixelsPerCell = 32;
constexpr int kFramesPerCell = 8;

// What ComfyUI takes a file to be that brings no configuration: 0.9, 0.9.1 and 0.9.5.
Result<LtxVaeConfig> version_config(std::int64_t version) {
    const std::string_view name = version == 0   ? "ltxv_0.9"
                                  : version == 1 ? "ltxv_0.9.1"
                                                 : "ltxv_0.9.5";
    TRY_ASSIGN(const modelfile::VaeConfig known, modelfile::known_vae(name));
    return std::get<LtxVaeConfig>(known);
}

Result<LtxVaeConfig> read_config(const Question& q, std::int64_t version) {
    if (q.config == nullptr) return version_config(version);
    if (find(*q.config, "encoder_blocks") == nullptr && find(*q.config, "blocks") == nullptr)
        return version_config(find_int(*q.config, "version").value_or(version));
    auto config = modelfile::parse_ltx_vae(*q.config);
    if (!config && config.error().code == Errc::NotFound) return unknown(q);
    return config;
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
    if (q.config != nullptr) return read_config(q, 2);
    TRY_ASSIGN(const modelfile::VaeConfig known, modelfile::known_vae("ltx2"));
    return std::get<LtxVaeConfig>(known);
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
