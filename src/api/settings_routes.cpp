// SPDX-License-Identifier: Apache-2.0
//
// The four questions about generated pictures that users know by name.
#include "api/app.h"
#include "api/question.h"
#include "api/routes.h"
#include "service/past_runs.h"
#include "service/quality/score.h"
#include "service/resource_desk.h"
#include "wire/encode_daemon.h"
#include "wire/encode_quality.h"

#include <utility>

namespace plimsoll::api {

namespace {

using wire::Field;

// With the models of this machine in hand.
template <class Use>
Answer at_desk(Call& call, const service::Place& place, const service::Where& where,
               service::ResourceDesk::PastRuns past_runs, Use&& use) {
    return call.app.with_models(place.config, [&](service::ModelLibrary& models) {
        service::ResourceDesk desk(place.profiles, models, where.site, where.budget,
                                   std::move(past_runs));
        return use(desk);
    });
}

Answer about_settings(Call& call, Answer (*use)(service::ResourceDesk&, const advisor::Settings&)) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto question = decode(call.body, Field::Wishes | Field::Site | Field::Limits);
    if (!question) return std::move(question).error();
    if (!question->job.model)
        return answer_error({Errc::InvalidInput, "model is missing"},
                            json::object{{"field", "model"}});
    const auto where = service::where_of(*place, question->overrides);
    if (!where) return answer_error(where.error());
    const auto settings = service::settings_of_wishes(question->job, place->profiles);
    if (!settings) return answer_error(settings.error());
    return at_desk(call, *place, *where, {},
                   [&](service::ResourceDesk& desk) { return use(desk, *settings); });
}

}  // namespace

Answer post_optimal(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto question = decode(call.body, Field::SizeOnly | Field::Site | Field::Limits);
    if (!question) return std::move(question).error();
    const service::JobRequest& wish = question->job;
    for (const auto& [name, missing] :
         {std::pair("model", !wish.model), std::pair("width", !wish.width),
          std::pair("height", !wish.height)})
        if (missing)
            return answer_error({Errc::InvalidInput, std::string(name) + " is missing"},
                                json::object{{"field", name}});
    const auto where = service::where_of(*place, question->overrides);
    if (!where) return answer_error(where.error());
    return at_desk(call, *place, *where, {}, [&](service::ResourceDesk& desk) {
        const auto optimal = desk.manager().calculate_optimal(
            *wish.width, *wish.height, wish.quality.value_or(advisor::Quality::Optimized),
            *wish.model);
        return optimal ? answer_json(wire::encode_optimal(*optimal))
                       : answer_error(optimal.error());
    });
}

Answer post_check(Call& call) {
    return about_settings(call, [](service::ResourceDesk& desk, const advisor::Settings& settings) {
        const auto safety = desk.manager().is_settings_safe(settings);
        return safety ? answer_json(wire::encode_safety(*safety)) : answer_error(safety.error());
    });
}

Answer post_summary(Call& call) {
    return about_settings(call, [](service::ResourceDesk& desk, const advisor::Settings& settings) {
        const advisor::ResourceManager manager = desk.manager();
        auto summary = manager.get_resource_summary(settings);
        if (!summary) return answer_error(summary.error());
        if (const auto profile = advisor::find_profile(settings.model, manager.profiles()))
            for (const Phrase& warning : desk.warnings_of(profile->checkpoint))
                summary->warnings.push_back(warning);
        return answer_json(wire::encode_summary(settings, *summary));
    });
}

// Of the settings alone: neither card nor line have a say.
Answer post_score(Call& call) {
    auto question = decode(call.body, Field::Wishes | Field::Site | Field::Limits);
    if (!question) return std::move(question).error();
    if (!question->job.model)
        return answer_error({Errc::InvalidInput, "model is missing"},
                            json::object{{"field", "model"}});
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    const auto settings = service::settings_of_wishes(question->job, place->profiles);
    if (!settings) return answer_error(settings.error());
    return call.app.with_history([&](history::Store& store) {
        const auto score = service::read_score(store, *settings, place->profiles.all);
        return score ? answer_json(wire::encode_score(*score)) : answer_error(score.error());
    });
}

Answer get_best(Call& call) {
    const auto model = call.query.text("model", 1, 512);
    if (!model) return answer_error(model.error());
    if (!*model)
        return answer_error({Errc::InvalidInput, "model is missing"},
                            json::object{{"field", "model"}});
    const auto quality = call.query.number("minQuality", 0, 1);
    if (!quality) return answer_error(quality.error());
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    return call.app.with_history([&](history::Store& store) {
        return at_desk(
            call, *place, {place->site, place->budget},
            [&](std::string_view name) {
                return service::past_runs_of(store, name, place->profiles.all);
            },
            [&](service::ResourceDesk& desk) {
                const auto best = desk.best_settings(**model, quality->value_or(0));
                return best ? answer_json(wire::encode_best(*best)) : answer_error(best.error());
            });
    });
}

}  // namespace plimsoll::api
