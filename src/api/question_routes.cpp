// SPDX-License-Identifier: Apache-2.0
//
// Questions about a job before it runs: forecast, plan, largest; and the order of generate, which
// is a question that is carried out.
#include "api/app.h"
#include "api/question.h"
#include "api/routes.h"
#include "service/forecast.h"
#include "service/quality/findings.h"
#include "wire/encode.h"
#include "wire/encode_daemon.h"

#include <utility>

namespace plimsoll::api {

using wire::Field;

Answer post_forecast(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    if (auto known = call.app.cache().find(call.body, place)) {
        Answer answer;
        answer.body = std::move(*known);
        return answer;
    }
    auto asked = resolve(
        call, *place, Field::Source | Field::Family | Field::Wishes | Field::Site | Field::Limits);
    if (!asked) return std::move(asked).error();
    const auto forecast = service::forecast_job(asked->job, asked->where.site, asked->where.budget);
    if (!forecast) return answer_error(forecast.error());
    Answer answer = answer_json(wire::encode_forecast(*forecast));
    // A preset may be saved anew at any time: such an answer is not remembered.
    if (!asked->question.preset) call.app.cache().keep(std::move(call.body), place, answer.body);
    return answer;
}

Answer post_plan(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto asked = resolve(
        call, *place,
        Field::Source | Field::Family | Field::Wishes | Field::Plan | Field::Site | Field::Limits);
    if (!asked) return std::move(asked).error();
    // Without a history prices come from priors.
    advisor::QualityEvidence evidence;
    if (const auto store = call.app.parts().open_history())
        evidence =
            service::quality_evidence(**store, asked->job.checkpoint, place->config.voter.value)
                .value_or(advisor::QualityEvidence());
    const auto plan = service::plan_job(asked->job, asked->where.site, asked->where.budget,
                                        {.pins = asked->question.pins,
                                         .preference = asked->question.preference,
                                         .control = place->control,
                                         .evidence = std::move(evidence)});
    if (!plan) return answer_error(plan.error());
    return answer_json(wire::encode_plan(*plan));
}

Answer post_largest(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto asked = resolve(
        call, *place,
        Field::Source | Field::Family | Field::Wishes | Field::Knob | Field::Site | Field::Limits);
    if (!asked) return std::move(asked).error();
    if (!asked->question.knob)
        return answer_error({Errc::InvalidInput,
                             "knob is missing: width, height, batch, frames, tile, steps or cfg"},
                            json::object{{"field", "knob"}});
    const auto largest = service::largest_job(asked->job, asked->where.site, asked->where.budget,
                                              *asked->question.knob);
    if (!largest) return answer_error(largest.error());
    return answer_json(wire::encode_largest(*largest));
}

Answer post_generate(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto order = resolve_order(call.app, *place, call.body);
    if (!order) return std::move(order).error();
    auto job = call.app.parts().jobs.submit(std::move(*order));
    if (!job)
        return job.error().code == Errc::LimitExceeded ? refuse(Refusal::Busy, job.error().message)
                                                       : answer_error(job.error());
    return answer_json(wire::encode_job(*job), 202);
}

}  // namespace plimsoll::api
