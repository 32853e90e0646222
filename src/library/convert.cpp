// SPDX-License-Identifier: Apache-2.0
#include "library/convert.h"

#include <utility>

namespace plimsoll::library {

namespace {

Forecast forecast_of(const advisor::PricedForecast& priced, const advisor::Budget& budget,
                     memory::Verdict verdict, const advisor::Judgement& judged) {
    const memory::Forecast& m = priced.memory;
    Forecast out;
    out.verdict = to_public(verdict);
    out.sentence = judged.sentence;
    out.load_line_bytes = budget.load_line.count;
    out.peak_bytes = m.peak.count;
    out.floor_bytes = m.floor.count;
    out.comfort_bytes = m.comfort.count;
    out.reserved_bytes = m.reserved.count;
    out.card_limit_bytes = m.card_limit.count;
    out.seconds = priced.seconds.total;
    out.phases = to_public(priced);
    return out;
}

Change change_of(const advisor::Change& change) {
    return {.kind = std::string(advisor::change_kind_name(change.kind)),
            .what = change.what,
            .node_id = change.node_id,
            .input = change.input,
            .from = change.from,
            .to = change.to,
            .saves_bytes = change.saves.count,
            .seconds_delta = change.seconds_delta,
            .quality_cost = change.quality_cost,
            .quality_basis = std::string(advisor::price_basis_name(change.price_basis)),
            .quality = change.quality_words,
            .reason = change.reason,
            .needs_restart = change.needs_restart,
            .changes_composition = change.changes_composition};
}

PlanVerdict to_public(advisor::PlanVerdict verdict) {
    switch (verdict) {
        case advisor::PlanVerdict::Fits:
            return PlanVerdict::Fits;
        case advisor::PlanVerdict::FitsChanged:
            return PlanVerdict::FitsChanged;
        case advisor::PlanVerdict::FitsParked:
            return PlanVerdict::FitsParked;
        case advisor::PlanVerdict::NothingFits:
            return PlanVerdict::NothingFits;
        case advisor::PlanVerdict::Unknown:
            break;
    }
    return PlanVerdict::Unknown;
}

}  // namespace

Quality to_public(advisor::Quality quality) {
    switch (quality) {
        case advisor::Quality::Draft:
            return Quality::Draft;
        case advisor::Quality::Optimized:
            return Quality::Optimized;
        case advisor::Quality::High:
            return Quality::High;
        case advisor::Quality::Ultra:
            break;
    }
    return Quality::Ultra;
}

advisor::Quality from_public(Quality quality) {
    switch (quality) {
        case Quality::Draft:
            return advisor::Quality::Draft;
        case Quality::Optimized:
            return advisor::Quality::Optimized;
        case Quality::High:
            return advisor::Quality::High;
        case Quality::Ultra:
            break;
    }
    return advisor::Quality::Ultra;
}

Settings to_public(const advisor::Settings& s) {
    return {.model = s.model,
            .width = s.width,
            .height = s.height,
            .steps = s.steps,
            .cfg = s.cfg,
            .sampler = s.sampler,
            .scheduler = s.scheduler,
            .batch = s.batch,
            .seed = s.seed,
            .vae_tiling = s.vae_tiling};
}

advisor::Settings from_public(const Settings& s) {
    return {.model = s.model,
            .width = s.width,
            .height = s.height,
            .steps = s.steps,
            .cfg = s.cfg,
            .sampler = s.sampler,
            .scheduler = s.scheduler,
            .batch = s.batch,
            .seed = s.seed,
            .vae_tiling = s.vae_tiling};
}

Verdict to_public(memory::Verdict verdict) {
    switch (verdict) {
        case memory::Verdict::Fits:
            return Verdict::Fits;
        case memory::Verdict::FitsSlowly:
            return Verdict::FitsSlowly;
        case memory::Verdict::WillNotFit:
            return Verdict::WillNotFit;
        case memory::Verdict::Unknown:
            break;
    }
    return Verdict::Unknown;
}

std::vector<Phase> to_public(const advisor::PricedForecast& forecast) {
    std::vector<Phase> phases;
    for (std::size_t i = 0; i < forecast.memory.phases.size(); ++i) {
        const memory::Phase& phase = forecast.memory.phases[i];
        Phase out{.kind = std::string(memory::phase_kind_name(phase.kind)),
                  .node_id = phase.node_id,
                  .class_type = phase.class_type,
                  .peak_bytes = phase.peak.count,
                  .floor_bytes = phase.floor.count,
                  .comfort_bytes = phase.comfort.count,
                  .resident_bytes = phase.resident.count,
                  .streamed_bytes = phase.streamed_per_forward.count,
                  .activations_bytes = phase.activations.count,
                  .forwards = phase.forwards,
                  .seconds = 0,
                  .reasons = messages_of(phase.reasons)};
        if (i < forecast.seconds.phases.size()) {
            const timing::PhaseSeconds& seconds = forecast.seconds.phases[i];
            out.seconds = seconds.total;
            for (const Phrase& reason : seconds.reasons) out.reasons.push_back(reason.message());
        }
        phases.push_back(std::move(out));
    }
    return phases;
}

Forecast to_public(const service::ForecastAnswer& answer) {
    Forecast out = forecast_of(answer.forecast, answer.budget, answer.verdict, answer.judged);
    out.model = answer.model;
    out.family = answer.family;
    if (answer.settings) out.settings = to_public(*answer.settings);
    out.where = answer.where.message();
    out.warnings = messages_of(answer.warnings);
    return out;
}

Plan to_public(const service::PlanAnswer& answer) {
    const advisor::Plan& plan = answer.plan;
    Plan out;
    out.verdict = to_public(plan.verdict);
    for (const advisor::Change& change : plan.changes) out.changes.push_back(change_of(change));
    for (const advisor::Change& change : plan.environment)
        out.environment.push_back(change_of(change));
    out.workflows = plan.workflows;
    out.before = forecast_of(plan.before, answer.budget, answer.verdict_before, plan.judged_before);
    out.after = forecast_of(plan.after, answer.budget, answer.verdict_after, plan.judged_after);
    for (Forecast* forecast : {&out.before, &out.after}) {
        forecast->model = answer.model;
        forecast->where = answer.where.message();
    }
    out.before.warnings = messages_of(answer.warnings);
    out.seconds_all = plan.seconds_all;
    out.run_anyway = plan.run_anyway;
    out.explanation = plan.explanation;
    out.refused = messages_of(plan.refused);
    return out;
}

Largest to_public(const service::LargestAnswer& answer) {
    Largest out;
    out.value = answer.largest.value;
    out.forecast = forecast_of(answer.largest.forecast, answer.budget, answer.verdict,
                               advisor::judge(answer.largest.forecast, answer.budget));
    out.forecast.model = answer.model;
    out.forecast.where = answer.where.message();
    out.forecast.warnings = messages_of(answer.warnings);
    out.next_value_fails_because = answer.largest.next_value_fails_because;
    return out;
}

service::JobRequest from_public(const Job& job) {
    service::JobRequest request;
    request.model_file = job.model_file;
    request.family = job.family;
    request.file = job.workflow_file;
    request.workflow = job.workflow;
    request.prompt = job.prompt;
    put_wishes(job.wishes, request);
    return request;
}

Wishes wishes_of(const service::JobRequest& request) {
    Wishes wishes;
    wishes.model = request.model;
    wishes.negative = request.negative;
    wishes.width = request.width;
    wishes.height = request.height;
    wishes.batch = request.batch;
    wishes.steps = request.steps;
    wishes.cfg = request.cfg;
    wishes.sampler = request.sampler;
    wishes.scheduler = request.scheduler;
    if (request.quality) wishes.quality = to_public(*request.quality);
    wishes.seed = request.seed;
    wishes.vae_tiling = request.vae_tiling;
    return wishes;
}

void put_wishes(const Wishes& wishes, service::JobRequest& request) {
    request.model = wishes.model;
    request.negative = wishes.negative;
    request.width = wishes.width;
    request.height = wishes.height;
    request.batch = wishes.batch;
    request.steps = wishes.steps;
    request.cfg = wishes.cfg;
    request.sampler = wishes.sampler;
    request.scheduler = wishes.scheduler;
    if (wishes.quality) request.quality = from_public(*wishes.quality);
    request.seed = wishes.seed;
    request.vae_tiling = wishes.vae_tiling;
}

}  // namespace plimsoll::library
