// SPDX-License-Identifier: Apache-2.0
//
// Between the installed values and those of the folders behind them.
#pragma once
#include "advisor/plan.h"
#include "advisor/settings.h"
#include "service/forecast.h"
#include "service/job.h"

#include <plimsoll/forecast.h>
#include <plimsoll/settings.h>

#include <vector>

namespace plimsoll::library {

[[nodiscard]] Quality to_public(advisor::Quality quality);
[[nodiscard]] advisor::Quality from_public(Quality quality);
[[nodiscard]] Settings to_public(const advisor::Settings& settings);
[[nodiscard]] advisor::Settings from_public(const Settings& settings);
[[nodiscard]] Verdict to_public(memory::Verdict verdict);
[[nodiscard]] std::vector<Phase> to_public(const advisor::PricedForecast& forecast);
[[nodiscard]] Forecast to_public(const service::ForecastAnswer& answer);
[[nodiscard]] Plan to_public(const service::PlanAnswer& answer);
[[nodiscard]] Largest to_public(const service::LargestAnswer& answer);

[[nodiscard]] service::JobRequest from_public(const Job& job);
[[nodiscard]] Wishes wishes_of(const service::JobRequest& request);
void put_wishes(const Wishes& wishes, service::JobRequest& request);

}  // namespace plimsoll::library
