// SPDX-License-Identifier: Apache-2.0
#include "api/question.h"

#include "api/app.h"
#include "base/random.h"
#include "service/preset.h"
#include "workflow/convert/ui_workflow.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::api {

namespace {

using wire::Field;

// Fills in a preset; its warnings go to the job.
std::expected<Phrases, Answer> apply_preset(App& app, wire::Question& question) {
    Phrases warnings;
    if (!question.preset) return warnings;
    std::optional<Answer> refused;
    Answer lost = app.with_history([&](history::Store& store) {
        const auto preset = store.load_preset(*question.preset);
        if (!preset) {
            refused = answer_error(preset.error());
            return Answer();
        }
        auto applied = service::apply_preset(*preset, question.job);
        if (applied)
            warnings = std::move(*applied);
        else
            refused = answer_error(applied.error());
        return Answer();
    });
    if (refused) return std::unexpected(std::move(*refused));
    if (lost.status != 200) return std::unexpected(std::move(lost));
    return warnings;
}

std::expected<service::Job, Answer> resolve_job(App& app, const service::Place& place,
                                                wire::Question& question) {
    if (!question.job.model && !question.job.family && !question.job.workflow && !question.preset)
        return std::unexpected(answer_error(
            {Errc::InvalidInput, "what is the job? name a model, a workflow or a preset"}));
    auto warnings = apply_preset(app, question);
    if (!warnings) return std::unexpected(std::move(warnings).error());
    // Only a workflow as the editor has it needs a ComfyUI to be understood.
    std::unique_ptr<service::Upstream> comfyui;
    if (question.job.workflow && workflow::is_ui_workflow(*question.job.workflow))
        if (auto reached = app.parts().comfyui.reach()) comfyui = std::move(*reached);
    auto job = app.with_models(place.config, [&](service::ModelLibrary& library) {
        return service::resolve_job(question.job, place.profiles, library, comfyui.get());
    });
    if (!job) return std::unexpected(answer_error(job.error()));
    job->warnings.insert(job->warnings.begin(), warnings->begin(), warnings->end());
    return std::move(*job);
}

}  // namespace

std::expected<wire::Question, Answer> decode(const std::string& body, std::uint32_t fields) {
    auto question = wire::decode_question(body, fields);
    if (question) return std::move(*question);
    const std::string& field = question.error().field;
    return std::unexpected(
        answer_error(question.error().error,
                     field.empty() ? json::value(nullptr) : json::object{{"field", field}}));
}

std::expected<Asked, Answer> resolve(Call& call, const service::Place& place,
                                     std::uint32_t fields) {
    auto question = decode(call.body, fields);
    if (!question) return std::unexpected(std::move(question).error());
    auto where = service::where_of(place, question->overrides);
    if (!where) return std::unexpected(answer_error(where.error()));
    auto job = resolve_job(call.app, place, *question);
    if (!job) return std::unexpected(std::move(job).error());
    return Asked{std::move(*question), std::move(*job), std::move(*where)};
}

std::expected<service::JobOrder, Answer> resolve_order(App& app, const service::Place& place,
                                                       const std::string& body) {
    auto question =
        decode(body, Field::Source | Field::Wishes | Field::Plan | Field::Limits | Field::Anyway);
    if (!question) return std::unexpected(std::move(question).error());
    if (question->job.prompt.empty() && !question->job.workflow)
        return std::unexpected(
            answer_error({Errc::InvalidInput, "what shall be drawn? prompt is empty"},
                         json::object{{"field", "prompt"}}));
    // Without a wish each picture is a new one. 53 bits: what every JSON reader keeps.
    if (!question->job.seed && !question->job.workflow && !question->preset)
        question->job.seed = Random(os_seed()).next_u64() >> 11U;
    auto job = resolve_job(app, place, *question);
    if (!job) return std::unexpected(std::move(job).error());
    return service::JobOrder{.job = std::move(*job),
                             .limits = question->overrides,
                             .pins = question->pins,
                             .preference = question->preference,
                             .run_anyway = question->run_anyway,
                             .request_json = body};
}

}  // namespace plimsoll::api
