// SPDX-License-Identifier: Apache-2.0
#include "guard/residents.h"

#include "workflow/parse.h"

#include <utility>

namespace plimsoll::guard {

void Residents::note(SharedProgram program) {
    if (!program) return;
    past_.push_back(std::move(program));
    if (past_.size() > kPastProgramsMax) past_.erase(past_.begin());
}

advisor::Forecaster forecaster_after(advisor::Surroundings surroundings,
                                     std::vector<SharedProgram> past) {
    const auto around = std::make_shared<const advisor::Surroundings>(std::move(surroundings));
    const auto models =
        std::make_shared<const memory::BuiltModels>(memory::build_models(around->files));
    return [around, models, past = std::move(past)](
               const advisor::Scenario& scenario) -> Result<advisor::PricedForecast> {
        TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(scenario.workflow));
        memory::Server server = around->server;
        if (scenario.reserve_vram) server.flags.reserve_vram = scenario.reserve_vram;
        memory::SessionState session;
        if (!scenario.free_models_first)
            for (const SharedProgram& program : past)
                (void)memory::simulate_program(*program, server, around->device, &session);
        const memory::Program program = memory::lower_graph(graph, *models, around->media);
        advisor::PricedForecast out;
        out.memory = memory::simulate_program(program, server, around->device, &session);
        out.seconds = advisor::price_forecast(out.memory, server, *around);
        return out;
    };
}

Result<SharedProgram> program_of(std::string_view workflow,
                                 const advisor::Surroundings& surroundings) {
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(workflow));
    const memory::BuiltModels models = memory::build_models(surroundings.files);
    return std::make_shared<const memory::Program>(
        memory::lower_graph(graph, models, surroundings.media));
}

}  // namespace plimsoll::guard
