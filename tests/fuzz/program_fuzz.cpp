// SPDX-License-Identifier: Apache-2.0
// A workflow from any bytes, lowered and simulated on the reference card with an SDXL and an SD 1.5
// checkpoint at hand: whatever it draws, the forecast holds together.
#include "base/check.h"
#include "memory/simulate.h"
#include "timing/cards.h"
#include "timing/roofline.h"
#include "workflow/parse.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace plimsoll;  // NOLINT(google-build-using-namespace): a program of one function

memory::BuiltModels checkpoints() {
    memory::ModelFiles files;
    files.by_name["xl"] = *memory::known_checkpoint("sdxl");
    files.by_name["15"] = *memory::known_checkpoint("sd15");
    return memory::build_models(files);
}

void check_forecast(const memory::Forecast& forecast, const timing::Card& card) {
    for (const memory::Phase& phase : forecast.phases) {
        CHECK(phase.peak.count >= 0 && phase.peak <= forecast.peak);
        CHECK(phase.floor.count >= 0 && phase.floor <= phase.comfort);
        CHECK(phase.forwards >= 0);
    }
    const timing::ForecastSeconds seconds = timing::estimate_forecast(forecast, card);
    CHECK(std::isfinite(seconds.total) && seconds.total >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const memory::BuiltModels models = checkpoints();
    static const timing::Card& card = **timing::find_card("rtx3050-6gb");
    const auto graph =
        workflow::parse_api_workflow(std::string_view(reinterpret_cast<const char*>(data), size));
    if (!graph) return 0;
    const memory::Program program = memory::lower_graph(*graph, models);
    memory::SessionState session;
    const memory::Server server;
    const memory::Device device = timing::device_from(card);
    check_forecast(memory::simulate_program(program, server, device, &session), card);
    check_forecast(memory::simulate_program(program, server, device, &session), card);
    return 0;
}
