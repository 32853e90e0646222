// SPDX-License-Identifier: Apache-2.0
//
// The JSON of every answer, the same at every door (CLI --json, REST later). Fields are camelCase
// of the C++ names; sizes are bytes and say so, times are seconds.
//
// Enters through: results of service and history.   Leaves through: json::object.   Threads: no
// shared state.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "history/store.h"
#include "service/doctor.h"
#include "service/forecast.h"
#include "service/generate.h"

#include <string>
#include <vector>

namespace plimsoll::wire {

// {"error":{"code","message","details"}}; details may be null.
[[nodiscard]] json::object encode_error(const Error& error, json::value details = nullptr);

[[nodiscard]] json::object encode_settings(const advisor::Settings& settings);
// verdict, loadLineBytes, peakBytes, floorBytes, comfortBytes, reservedBytes, cardLimitBytes,
// seconds, phases[], warnings[]...
[[nodiscard]] json::object encode_forecast(const service::ForecastAnswer& answer);
[[nodiscard]] json::object encode_plan(const service::PlanAnswer& answer);
// {jobId, forecast}: what is about to run, of the two in the plan.
[[nodiscard]] json::object encode_forecast_event(const std::string& job_id,
                                                 const service::PlanAnswer& answer, bool anyway);
[[nodiscard]] json::object encode_largest(const service::LargestAnswer& answer);
[[nodiscard]] json::object encode_generation(const service::Generation& generation);

[[nodiscard]] json::object encode_run(const history::RunRecord& run);
// runs[], nextCursor (null on the last page)
[[nodiscard]] json::object encode_history(const history::RunPage& page);
[[nodiscard]] json::object encode_preset(const history::Preset& preset);
[[nodiscard]] json::object encode_presets(const std::vector<history::Preset>& presets);

[[nodiscard]] json::object encode_checkup(const service::Checkup& checkup);

}  // namespace plimsoll::wire
