// SPDX-License-Identifier: Apache-2.0
#include "service/resource_desk.h"

#include "workflow/parse.h"

#include <utility>

namespace plimsoll::service {

// A workflow names its checkpoint; the networks of each are built once.
Result<advisor::PricedForecast> ResourceDesk::forecast(const advisor::Scenario& scenario) {
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(scenario.workflow));
    std::string checkpoint;
    for (const workflow::Node& node : graph.nodes)
        if (const auto name = node.text_of("ckpt_name")) checkpoint = *name;
    auto known = forecasters_.find(checkpoint);
    if (known == forecasters_.end()) {
        advisor::Surroundings around{.files = models_.files_of(graph, warnings_[checkpoint]),
                                     .server = site_.server,
                                     .device = site_.device,
                                     .card = site_.card,
                                     .paces = site_.paces};
        around.family = family_of(graph, around.files);
        known = forecasters_.emplace(checkpoint, advisor::make_forecaster(std::move(around))).first;
    }
    return known->second(scenario);
}

advisor::ResourceManager ResourceDesk::manager() {
    return advisor::ResourceManager(
        {.forecaster = [this](const advisor::Scenario& scenario) { return forecast(scenario); },
         .budget = budget_,
         .profiles = profiles_.all,
         .history =
             [this](std::string_view model) {
                 if (!past_runs_) return std::vector<advisor::PastRun>();
                 auto runs = past_runs_(model);
                 if (!runs) history_error_ = runs.error();
                 return runs ? std::move(*runs) : std::vector<advisor::PastRun>();
             }});
}

Result<std::optional<advisor::Settings>> ResourceDesk::best_settings(std::string_view model,
                                                                     double min_quality) {
    history_error_.reset();
    auto best = manager().get_best_settings(model, min_quality);
    if (best && history_error_) return std::unexpected(*history_error_);
    return best;
}

}  // namespace plimsoll::service
