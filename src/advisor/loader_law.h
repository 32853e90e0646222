// SPDX-License-Identifier: Apache-2.0
//
// For tests of the advisor: a Forecaster that follows the documented closed forms of an SDXL
// text-to-image job on a 6 GB card (estimate-based loader, fp16 UNet, bf16 VAE) without `memory`.
// Peaks: 10,088 bytes a cell and image in the UNet, 81,928 in the decoder; the loader leaves
// max(819.2 MiB + reserve, estimate + reserve) free.
#pragma once
#include "advisor/forecaster.h"
#include "workflow/parse.h"

#include <algorithm>
#include <memory>
#include <string>

namespace plimsoll::advisor {

struct LoaderLaw {
    double free_mib = 5598;  // RTX 3050 6 GB, 300 MiB taken by others
    double unet_mib = 4897;
    double vae_mib = 159.6;
    double seconds_per_mcell_step = 90;  // 1.5 s for 1024 x 1024
    std::shared_ptr<int> asked = std::make_shared<int>(0);

    Result<PricedForecast> operator()(const Scenario& scenario) const {
        ++*asked;
        TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(scenario.workflow));
        std::int64_t width = 0;
        std::int64_t height = 0;
        std::int64_t batch = 1;
        std::int64_t steps = 20;
        double tile_cells = 0;
        double weights = unet_mib;
        PricedForecast out;
        for (const auto& node : graph.nodes) {
            if (node.class_type == "EmptyLatentImage") {
                width = node.int_of("width").value_or(0);
                height = node.int_of("height").value_or(0);
                batch = node.int_of("batch_size").value_or(1);
            }
            if (node.class_type == "KSampler") steps = node.int_of("steps").value_or(20);
            if (node.class_type == "VAEDecodeTiled")
                tile_cells = static_cast<double>(node.int_of("tile_size").value_or(512)) / 8;
            if (node.text_of("weight_dtype") == "fp8_e4m3fn") weights /= 2;
            if (node.class_type == "Mystery") out.memory.verdict = memory::Verdict::Unknown;
        }
        for (const auto& node : graph.nodes)
            if (node.class_type == "LatentFromBatch") batch = node.int_of("length").value_or(batch);

        const double cells = static_cast<double>(width * height) / 64;
        const double reserve = scenario.reserve_vram ? scenario.reserve_vram->mib() : 400;
        const double estimate = cells * static_cast<double>(batch) * 2 * 0.01 * 0.8;
        const double left = std::max(819.2 + reserve, estimate + reserve);
        const double resident = std::clamp(free_mib - left, 128.0, weights);
        const int together = 2 * estimate * 1.5 < free_mib - resident ? 2 : 1;
        const double drawing = 10'088 * cells * static_cast<double>(batch) * together / 1048576;
        const double decoded = tile_cells > 0 ? std::min(cells, tile_cells * tile_cells) : cells;
        const double decoding = 81'928 * decoded / 1048576;
        add(out, "3", "KSampler", {resident, weights}, drawing, 57);
        add(out, "8", "VAEDecode", {vae_mib, vae_mib}, decoding, 0);
        out.memory.card_limit = Bytes::from_mib(free_mib);
        const bool unknown = has_mystery(graph);
        out.memory.verdict = unknown ? memory::Verdict::Unknown
                             : out.memory.floor > out.memory.card_limit
                                 ? memory::Verdict::WillNotFit
                             : resident < weights ? memory::Verdict::FitsSlowly
                                                  : memory::Verdict::Fits;
        out.seconds.without_load =
            seconds_per_mcell_step * cells * static_cast<double>(batch * steps) / 1048576 +
            static_cast<double>(steps) * (weights - resident) * 1048576 / 5e9;
        out.seconds.total = out.seconds.without_load + 5;
        return out;
    }

  private:
    static bool has_mystery(const workflow::Graph& graph) {
        return std::ranges::any_of(graph.nodes,
                                   [](const auto& node) { return node.class_type == "Mystery"; });
    }

    struct Weights {
        double resident = 0;  // MiB
        double all = 0;
    };
    static void add(PricedForecast& out, std::string id, std::string class_type, Weights weights,
                    double activations, double module) {
        memory::Phase phase;
        phase.node_id = std::move(id);
        phase.class_type = std::move(class_type);
        phase.resident = Bytes::from_mib(weights.resident);
        phase.activations = Bytes::from_mib(activations);
        phase.peak = Bytes::from_mib(weights.resident + activations);
        phase.comfort = Bytes::from_mib(weights.all + activations);
        phase.floor = Bytes::from_mib(activations + module);
        out.memory.peak = std::max(out.memory.peak, phase.peak);
        out.memory.floor = std::max(out.memory.floor, phase.floor);
        out.memory.phases.push_back(std::move(phase));
        out.seconds.phases.emplace_back();
    }
};

}  // namespace plimsoll::advisor
