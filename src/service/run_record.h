// SPDX-License-Identifier: Apache-2.0
//
// One run as history keeps it: what the workflow that was run will draw and what was forecast for
// it, then what was observed beside. Read from the workflow itself, so that changes of a plan and
// workflows of the user's own are recorded as they ran.
//
// Leaves through: history::RunRecord.   Threads: no shared state.
#pragma once
#include "history/run.h"
#include "service/comfyui/follow.h"
#include "service/forecast.h"

#include <string>
#include <string_view>

namespace plimsoll::service {

// Size from the first empty latent, the rest from the first sampler; 0 and empty where there is
// none.
[[nodiscard]] history::Settings settings_of_workflow(std::string_view workflow);
// The text behind the first sampler's positive input; empty where it is computed.
[[nodiscard]] std::string prompt_of_workflow(std::string_view workflow);

// What is known before the run. Ids, times and what the server calls itself are the caller's.
[[nodiscard]] history::RunRecord make_run_record(const Job& job, std::string_view workflow,
                                                 const advisor::PricedForecast& forecast,
                                                 const advisor::Budget& budget);
void add_changes(const std::vector<advisor::Change>& changes, history::RunRecord& record);

enum class Durations : std::uint8_t { Meant, Meaningless };  // of a simulation without a pace
void add_report(const JobReport& report, Durations durations, history::RunRecord& record);

// Of a run on a card that slowed itself down for heat nothing is learned: what was observed is
// taken out, and it is said.
void keep_out_of_learning(history::RunRecord& record);

}  // namespace plimsoll::service
