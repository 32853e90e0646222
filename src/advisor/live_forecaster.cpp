// SPDX-License-Identifier: Apache-2.0
//
// The Forecaster that asks `memory` and `timing`.
#include "advisor/forecaster.h"
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <memory>

namespace plimsoll::advisor {

timing::ForecastSeconds price_forecast(const memory::Forecast& forecast,
                                       const memory::Server& server, const Surroundings& around) {
    const auto offload = memory::copies_ahead(server, around.device) ? timing::Offload::Async
                                                                     : timing::Offload::Blocking;
    timing::ForecastSeconds seconds =
        timing::estimate_forecast(forecast, around.card, around.efficiency, offload);
    if (around.paces) timing::apply_paces(*around.paces, around.family, forecast, seconds);
    return seconds;
}

Forecaster make_forecaster(Surroundings surroundings) {
    const auto around = std::make_shared<const Surroundings>(std::move(surroundings));
    const auto models =
        std::make_shared<const memory::BuiltModels>(memory::build_models(around->files));
    return [around, models](const Scenario& scenario) -> Result<PricedForecast> {
        TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(scenario.workflow));
        memory::Server server = around->server;
        if (scenario.reserve_vram) server.flags.reserve_vram = scenario.reserve_vram;
        const memory::Program program = memory::lower_graph(graph, *models, around->media);
        PricedForecast out;
        out.memory = memory::simulate_program(program, server, around->device);
        out.seconds = price_forecast(out.memory, server, *around);
        return out;
    };
}

}  // namespace plimsoll::advisor
