// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI itself believes that recorded steps take, for tools/accuracy.py: lines of recorded
// traces in, a line {"estimate_bytes": N} for each out. No number where ComfyUI's table for the
// network is not in memory/families.h, or where more than the network and its latents is computed.
#include "base/described.h"
#include "memory/families.h"
#include "memory/residency/estimates.h"
#include "memory/trace/question.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

namespace plimsoll::bench {
namespace {

using memory::trace::contains;
using memory::trace::Question;
using modelfile::DenoiserConfig;
using modelfile::Family;

// Reference images, ControlNets, adapters: not in the latents that the estimate is made from.
bool computes_more(const Question& q) {
    constexpr std::array<std::string_view, 4> kMore = {"ref", "controlnet", "cldm", "t2i_adapter"};
    for (const std::string_view word : kMore)
        if (contains(q.variant, word)) return true;
    return false;
}

std::optional<Family> family_of(const Question& q) {
    const auto family = modelfile::parse_family(q.family);
    if (!family || *family == Family::Unknown) return std::nullopt;
    if (*family == Family::Wan) {
        if (contains(q.variant, "vace")) return Family::WanVace;
        // Its relatives have model classes of their own.
        const bool plain = contains(q.variant, "t2v") || contains(q.variant, "i2v");
        return plain ? std::optional(Family::Wan) : std::nullopt;
    }
    if (*family == Family::Flux && contains(q.variant, "fill")) return Family::FluxFill;
    if (*family == Family::HunyuanImage21 && contains(q.variant, "refiner"))
        return Family::HunyuanImage21Refiner;
    return family;
}

// The widths that ComfyUI's factors follow: from the line's configuration, else as published for
// the size in the variant's name.
template <class Config>
Result<DenoiserConfig> described(const Question& q, Config config) {
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    return DenoiserConfig(std::move(config));
}

Result<DenoiserConfig> config_of(const Question& q, Family family) {
    if (family == Family::Wan || family == Family::WanVace) {
        modelfile::WanConfig config;
        if (contains(q.variant, "1.3B")) config.dim = 1536;
        if (contains(q.variant, "5B")) {
            config.dim = 3072;
            config.out_dim = 48;
        }
        return described(q, std::move(config));
    }
    if (family == Family::CosmosPredict2 || family == Family::Anima) {
        modelfile::CosmosPredict2Config config;
        if (contains(q.variant, "14B")) config.model_channels = 5120;
        return described(q, std::move(config));
    }
    if (family == Family::Flux2) {
        modelfile::FluxConfig config;
        config.hidden_size = contains(q.variant, "4B")   ? 3072
                             : contains(q.variant, "9B") ? 4096
                                                         : 6144;
        return described(q, std::move(config));
    }
    return DenoiserConfig{};
}

std::optional<memory::VaeKind> vae_kind(const Question& q) {
    if (q.family == "vae_kl4" || q.family == "vae_kl16") return memory::VaeKind::AutoencoderKl;
    if (q.family == "vae_wan21") return memory::VaeKind::Wan21;
    if (q.family == "vae_wan22") return memory::VaeKind::Wan22;
    return std::nullopt;
}

Result<double> sampling_estimate(const Question& q, const memory::ComfyVersion& version) {
    const auto family = family_of(q);
    if (!family || computes_more(q)) return memory::trace::unknown(q);
    TRY_ASSIGN(const DenoiserConfig config, config_of(q, *family));
    const memory::FamilyTraits traits = memory::family_traits(*family, config, version);
    const memory::SamplingEstimate estimate{
        .factor = traits.usage_factor, .element_bytes = memory::bytes_per_element(q.types.compute)};
    const memory::LatentFormat& cells = traits.latent;
    // Latents of sound, and of video with sound, are not of the shape that follows from pixels.
    if (cells.of_sound || traits.sound_elements > 0) return memory::trace::unknown(q);
    return estimate.bytes(memory::latent_area({.batch = q.batch,
                                               .channels = cells.channels,
                                               .frames = (q.frames - 1) / cells.frames_per_cell + 1,
                                               .height = q.height / cells.pixels_per_cell,
                                               .width = q.width / cells.pixels_per_cell}));
}

// For all images of the batch: ComfyUI takes as many at once as have room.
Result<double> vae_estimate(const Question& q, const memory::ComfyVersion& version) {
    const auto kind = vae_kind(q);
    if (!kind) return memory::trace::unknown(q);
    const int pixels = *kind == memory::VaeKind::Wan22 ? 16 : 8;  // along a cell
    constexpr int kFramesPerCell = 4;
    const double image =
        q.phase == "vae_decode"
            ? memory::vae_decode_estimate(
                  *kind, {(q.frames - 1) / kFramesPerCell + 1, q.height / pixels, q.width / pixels},
                  q.types.compute, version)
            : memory::vae_encode_estimate(*kind, {q.frames, q.height, q.width}, q.types.compute,
                                          version);
    return image * q.batch;
}

Result<double> estimate_of(std::string_view text) {
    TRY_ASSIGN(const json::value line, parse_json(text));
    TRY_ASSIGN(const Question q, memory::trace::read_question(line));
    TRY_ASSIGN(const memory::ComfyVersion version,
               memory::parse_comfy_version(find_string(line, "comfyui").value_or("0.3.64")));
    if (q.phase == "unet_step") return sampling_estimate(q, version);
    if (q.phase == "vae_decode" || q.phase == "vae_encode") return vae_estimate(q, version);
    return memory::trace::unknown(q);
}

}  // namespace
}  // namespace plimsoll::bench

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        const auto estimate = plimsoll::bench::estimate_of(line);
        fmt::print("{{\"estimate_bytes\": {}}}\n",
                   estimate ? fmt::format("{:.0f}", *estimate) : "null");
    }
    return EXIT_SUCCESS;
}
