// SPDX-License-Identifier: Apache-2.0
//
// Forecasts for people: the phases as a table, the load line, the verdict, and with --explain the
// tensors and the reasons behind each number.
//
// Leaves through: Screen.   Threads: as Screen.
#pragma once
#include "advisor/forecaster.h"
#include "base/phrase.h"
#include "cli/screen.h"
#include "service/config.h"
#include "service/forecast.h"
#include "service/job.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

// "text_encode" -> "text encode"
[[nodiscard]] std::string spoken(std::string_view name);

// "4352", with one decimal below 100: MiB under a title that says so.
[[nodiscard]] std::string mib_cell(Bytes bytes);

// job, place and load line, one line each.
void draw_job(Screen& screen, const service::Job& job, const std::string& where,
              const service::Config& config, const advisor::Budget& budget);
// "12.3 s, learned from 14 runs here (1.18 x the table)"; nothing where it is the table's.
void draw_learned(Screen& screen, const timing::ForecastSeconds& seconds);
void draw_phases(Screen& screen, const advisor::PricedForecast& forecast,
                 const advisor::Budget& budget);
// What the job holds in the machine's memory.
void draw_host(Screen& screen, const memory::Forecast& forecast);
void draw_verdict(Screen& screen, memory::Verdict verdict, const advisor::Judgement& judged);
void draw_reasons(Screen& screen, const advisor::PricedForecast& forecast);
void draw_warnings(Screen& screen, const Phrases& warnings);

}  // namespace plimsoll::cli
