// SPDX-License-Identifier: Apache-2.0
#include "service/forecast.h"

#include <algorithm>
#include <utility>

namespace plimsoll::service {

namespace {

Phrases joined(const Phrases& first, const Phrases& second) {
    Phrases all = first;
    for (const Phrase& one : second)
        if (std::ranges::find(all, one) == all.end()) all.push_back(one);
    return all;
}

}  // namespace

memory::Verdict verdict_at_line(const advisor::PricedForecast& forecast,
                                const advisor::Judgement& judged) {
    using advisor::Standing;
    using memory::Verdict;
    const bool streams = std::ranges::any_of(
        forecast.memory.phases,
        [](const memory::Phase& phase) { return phase.streamed_per_forward > Bytes(0); });
    switch (judged.standing) {
        case Standing::Under:
            return streams || forecast.memory.verdict == Verdict::FitsSlowly ? Verdict::FitsSlowly
                                                                             : Verdict::Fits;
        case Standing::Parked:
            return Verdict::FitsSlowly;
        case Standing::Over:
            return Verdict::WillNotFit;
        case Standing::Unknown:
            break;
    }
    return Verdict::Unknown;
}

Result<ForecastAnswer> forecast_job(const Job& job, const Site& site, const advisor::Budget& budget,
                                    const advisor::Forecaster& forecaster) {
    ForecastAnswer answer;
    TRY_ASSIGN(answer.forecast,
               forecaster({.workflow = job.workflow, .reserve_vram = std::nullopt}));
    answer.budget = budget;
    answer.judged = advisor::judge(answer.forecast, budget);
    answer.verdict = verdict_at_line(answer.forecast, answer.judged);
    answer.model = job.model;
    answer.family = job.family;
    answer.settings = job.settings;
    answer.where = site.where;
    answer.warnings = joined(joined(job.warnings, site.warnings), answer.forecast.memory.warnings);
    return answer;
}

Result<ForecastAnswer> forecast_job(const Job& job, const Site& site,
                                    const advisor::Budget& budget) {
    return forecast_job(job, site, budget, forecaster_of(site, job));
}

Result<PlanAnswer> plan_job(const Job& job, const Site& site, const advisor::Budget& budget,
                            const PlanWishes& wishes, const advisor::Forecaster& forecaster) {
    PlanAnswer answer;
    const advisor::PlanRequest request{.workflow = job.workflow,
                                       .budget = budget,
                                       .pins = wishes.pins,
                                       .preference = wishes.preference,
                                       .control = wishes.control,
                                       .variants = {},
                                       .evidence = wishes.evidence};
    TRY_ASSIGN(answer.plan, advisor::solve_plan(request, forecaster));
    answer.budget = budget;
    answer.verdict_before = verdict_at_line(answer.plan.before, answer.plan.judged_before);
    answer.verdict_after = verdict_at_line(answer.plan.after, answer.plan.judged_after);
    answer.model = job.model;
    answer.where = site.where;
    answer.warnings =
        joined(joined(job.warnings, site.warnings), answer.plan.before.memory.warnings);
    return answer;
}

Result<PlanAnswer> plan_job(const Job& job, const Site& site, const advisor::Budget& budget,
                            const PlanWishes& wishes) {
    return plan_job(job, site, budget, wishes, forecaster_of(site, job));
}

Result<LargestAnswer> largest_job(const Job& job, const Site& site, const advisor::Budget& budget,
                                  advisor::Knob knob, const advisor::Forecaster& forecaster) {
    LargestAnswer answer;
    answer.knob = knob;
    TRY_ASSIGN(answer.largest, advisor::largest(job.workflow, knob, advisor::default_limits(knob),
                                                budget, forecaster));
    answer.budget = budget;
    answer.verdict =
        verdict_at_line(answer.largest.forecast, advisor::judge(answer.largest.forecast, budget));
    answer.model = job.model;
    answer.where = site.where;
    answer.warnings = joined(job.warnings, site.warnings);
    return answer;
}

Result<LargestAnswer> largest_job(const Job& job, const Site& site, const advisor::Budget& budget,
                                  advisor::Knob knob) {
    return largest_job(job, site, budget, knob, forecaster_of(site, job));
}

}  // namespace plimsoll::service
