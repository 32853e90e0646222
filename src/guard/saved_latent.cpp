// SPDX-License-Identifier: Apache-2.0
#include "guard/saved_latent.h"

#include "guard/body_text.h"
#include "workflow/parse.h"
#include "workflow/splice.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace plimsoll::guard {

namespace {

// Chosen: what takes less is drawn again before anybody has noticed.
constexpr double kWorthSeconds = 60;
// Chosen: of the line. Forecasts of allocated memory are within 2 % (docs/accuracy.md); what is
// this near to it is what a driver or another program can push over.
constexpr double kNearTheLine = 0.85;

bool is_decode(const workflow::Node& node) {
    return node.class_type == "VAEDecode" || node.class_type == "VAEDecodeTiled";
}

}  // namespace

std::optional<LatentCut> find_latent_cut(const workflow::Graph& graph) {
    std::optional<LatentCut> cut;
    for (const workflow::Node& node : graph.nodes) {
        const workflow::Link* const link = is_decode(node) ? node.link_of("samples") : nullptr;
        if (link == nullptr) continue;
        if (cut && !(cut->sampler_id == link->node_id && cut->slot == link->slot))
            return std::nullopt;
        if (!cut)
            cut = LatentCut{.sampler_id = link->node_id, .slot = link->slot, .decode_id = node.id};
    }
    if (!cut) return std::nullopt;
    const workflow::Node* const maker = graph.find(cut->sampler_id);
    if (maker == nullptr || maker->class_type == "LoadLatent") return std::nullopt;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs) {
            const auto* const link = std::get_if<workflow::Link>(&input.value);
            const bool reads =
                link != nullptr && link->node_id == cut->sampler_id && link->slot == cut->slot;
            if (reads && !is_decode(node)) return std::nullopt;
        }
    return cut;
}

bool is_worth_saving(const LatentCut& cut, const JobForecast& forecast) {
    const auto decode = forecast.nodes.find(cut.decode_id);
    if (decode == forecast.nodes.end()) return false;
    double before = 0;
    for (const auto& [id, node] : forecast.nodes)
        if (id != cut.decode_id) before += node.seconds;
    return before >= kWorthSeconds &&
           static_cast<double>(decode->second.peak.count) >=
               kNearTheLine * static_cast<double>(forecast.load_line.count);
}

service::ImageRef latent_file(const LatentCut& cut) {
    return {.filename = cut.stem + "_00001_.latent",
            .subfolder = std::string(kLatentFolder),
            .type = "output"};
}

Result<std::string> with_saved_latent(std::string_view prompt, const LatentCut& cut) {
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(prompt));
    return workflow::apply_edits(
        prompt, graph,
        {workflow::AddNode{
            .node_id = std::string(kLatentNode),
            .class_type = "SaveLatent",
            .inputs = {{"samples", workflow::Link{cut.sampler_id, cut.slot}},
                       {"filename_prefix", fmt::format("{}/{}", kLatentFolder, cut.stem)}},
            .title = "Plimsoll: the latent, before it is decoded"}});
}

Result<std::string> with_loaded_latent(std::string_view prompt, const LatentCut& cut) {
    const auto bare = without_member(prompt, kLatentNode);
    if (!bare) return fail(Errc::InvalidInput, "the prompt is no object");
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(*bare));
    const service::ImageRef file = latent_file(cut);
    std::vector<workflow::Edit> edits{workflow::AddNode{
        .node_id = std::string(kLatentNode),
        .class_type = "LoadLatent",
        .inputs = {{"latent", fmt::format("{}/{} [{}]", file.subfolder, file.filename, file.type)}},
        .title = "Plimsoll: the latent that was saved"}};
    for (const workflow::Node& node : graph.nodes) {
        const workflow::Link* const link = is_decode(node) ? node.link_of("samples") : nullptr;
        if (link != nullptr && link->node_id == cut.sampler_id && link->slot == cut.slot)
            edits.emplace_back(workflow::SetInput{node.id, "samples",
                                                  workflow::Link{std::string(kLatentNode), 0}});
    }
    if (edits.size() == 1) return fail(Errc::InvalidInput, "nothing decodes that latent any more");
    return workflow::apply_edits(*bare, graph, edits);
}

Result<std::string> without_latent(std::string_view prompt, const LatentCut& cut) {
    const auto bare = without_member(prompt, kLatentNode);
    if (!bare) return fail(Errc::InvalidInput, "the prompt is no object");
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(*bare));
    std::vector<workflow::Edit> edits;
    for (const workflow::Node& node : graph.nodes) {
        const workflow::Link* const link = is_decode(node) ? node.link_of("samples") : nullptr;
        if (link != nullptr && link->node_id == kLatentNode)
            edits.emplace_back(
                workflow::SetInput{node.id, "samples", workflow::Link{cut.sampler_id, cut.slot}});
    }
    return workflow::apply_edits(*bare, graph, edits);
}

}  // namespace plimsoll::guard
