// SPDX-License-Identifier: Apache-2.0
//
// The questions about a job before it runs: what will it need (forecast_job), what should change
// (plan_job), how far can it go (largest_job).
//
// Enters through: Job, Site.   Leaves through: ForecastAnswer, PlanAnswer, LargestAnswer. Threads:
// no shared state.
#pragma once
#include "advisor/largest.h"
#include "advisor/plan.h"
#include "base/error.h"
#include "base/phrase.h"
#include "service/job.h"
#include "service/site.h"

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

// The name of the verdict at the doors: at the load line, not at the card's edge.
//   fits: every phase stays under; fits_slowly: under, but weights are streamed; will_not_fit: over
//   the line or the card; unknown.
[[nodiscard]] memory::Verdict verdict_at_line(const advisor::PricedForecast& forecast,
                                              const advisor::Judgement& judged);

struct ForecastAnswer {
    advisor::PricedForecast forecast;
    advisor::Budget budget;
    advisor::Judgement judged;
    memory::Verdict verdict = memory::Verdict::Unknown;  // at the load line
    std::string model;
    std::string family;
    std::optional<advisor::Settings> settings;
    Phrase where;
    Phrases warnings;  // of job, site and forecast
};
[[nodiscard]] Result<ForecastAnswer> forecast_job(const Job& job, const Site& site,
                                                  const advisor::Budget& budget);
// With a forecaster of the caller's: a session's state, a test's law.
[[nodiscard]] Result<ForecastAnswer> forecast_job(const Job& job, const Site& site,
                                                  const advisor::Budget& budget,
                                                  const advisor::Forecaster& forecaster);

struct PlanWishes {
    advisor::Pins pins;
    advisor::Preference preference = advisor::Preference::Quality;
    advisor::ServerControl control = advisor::ServerControl::Theirs;
    advisor::QualityEvidence evidence = {};  // of the job's checkpoint: service/quality/findings.h
};
struct PlanAnswer {
    advisor::Plan plan;
    advisor::Budget budget;
    memory::Verdict verdict_before = memory::Verdict::Unknown;
    memory::Verdict verdict_after = memory::Verdict::Unknown;
    std::string model;
    Phrase where;
    Phrases warnings;
};
[[nodiscard]] Result<PlanAnswer> plan_job(const Job& job, const Site& site,
                                          const advisor::Budget& budget, const PlanWishes& wishes);
[[nodiscard]] Result<PlanAnswer> plan_job(const Job& job, const Site& site,
                                          const advisor::Budget& budget, const PlanWishes& wishes,
                                          const advisor::Forecaster& forecaster);

struct LargestAnswer {
    advisor::Knob knob = advisor::Knob::Width;
    advisor::Largest largest;
    advisor::Budget budget;
    memory::Verdict verdict = memory::Verdict::Unknown;
    std::string model;
    Phrase where;
    Phrases warnings;
};
[[nodiscard]] Result<LargestAnswer> largest_job(const Job& job, const Site& site,
                                                const advisor::Budget& budget, advisor::Knob knob);
[[nodiscard]] Result<LargestAnswer> largest_job(const Job& job, const Site& site,
                                                const advisor::Budget& budget, advisor::Knob knob,
                                                const advisor::Forecaster& forecaster);

}  // namespace plimsoll::service
