// SPDX-License-Identifier: Apache-2.0
#include "wire/encode.h"

#include "base/parse_phrase.h"
#include "wire/encode_parts.h"

#include <cmath>
#include <string>
#include <utility>

namespace plimsoll::wire {

namespace {

json::object encode_residency(const memory::Residency& model) {
    return {{"model", model.model},
            {"sizeBytes", model.size.count},
            {"residentBytes", model.resident.count},
            {"streamedBytes", model.streamed.count},
            {"largestStreamedBytes", model.largest_streamed.count},
            {"streamedModules", model.streamed_modules}};
}

json::object encode_live(const memory::LiveTensor& tensor) {
    return {{"bytes", tensor.bytes.count},
            {"shape", json::array(tensor.shape.begin(), tensor.shape.end())},
            {"dtype", tensor.dtype},
            {"op", tensor.op},
            {"module", tensor.module}};
}

// An upper bound that nobody knows is left out.
json::object encode_bound(Bytes lower, const std::optional<Bytes>& upper, json::object more) {
    more["lowerBytes"] = lower.count;
    if (upper) more["upperBytes"] = upper->count;
    return more;
}

json::object encode_phase(const memory::Phase& phase, const timing::PhaseSeconds& seconds) {
    json::array models;
    for (const auto& model : phase.models) models.emplace_back(encode_residency(model));
    json::array live;
    for (const auto& tensor : phase.top_live) live.emplace_back(encode_live(tensor));
    Phrases reasons = phase.reasons;
    reasons.insert(reasons.end(), seconds.reasons.begin(), seconds.reasons.end());
    json::object out{{"kind", memory::phase_kind_name(phase.kind)},
                     {"nodeId", phase.node_id},
                     {"classType", phase.class_type},
                     {"peakBytes", phase.peak.count},
                     {"floorBytes", phase.floor.count},
                     {"comfortBytes", phase.comfort.count},
                     {"residentBytes", phase.resident.count},
                     {"activationsBytes", phase.activations.count},
                     {"workingSetBytes", phase.working_set.count},
                     {"castBytes", phase.cast.count},
                     {"mergingBytes", phase.merging.count},
                     {"reservedBytes", phase.reserved.count},
                     {"hostBytes", phase.host.held().count},
                     {"host", json::object{{"weightsBytes", phase.host.weights.count},
                                           {"lorasBytes", phase.host.loras.count},
                                           {"outputsBytes", phase.host.outputs.count},
                                           {"mappedBytes", phase.host.mapped.count}}},
                     {"loadedBytes", phase.loaded.count},
                     {"evictedBytes", phase.evicted.count},
                     {"streamedPerForwardBytes", phase.streamed_per_forward.count},
                     {"forwards", phase.forwards},
                     {"batchPerForward", phase.batch_per_forward},
                     {"compute", memory::compute_type_name(phase.compute)},
                     {"runsOnCard", phase.runs_on_card},
                     {"tiled", phase.tiled},
                     {"models", std::move(models)},
                     {"seconds", seconds.total},
                     {"computeSeconds", seconds.compute},
                     {"streamingSeconds", seconds.streaming},
                     {"loadSeconds", seconds.load},
                     {"peakModule", phase.peak_module},
                     {"peakOp", phase.peak_op},
                     {"topLive", std::move(live)},
                     {"reasons", texts(reasons)},
                     {"reasonPhrases", encode_phrases(reasons)}};
    if (phase.bound)
        out["bound"] = encode_bound(phase.bound->lower, phase.bound->upper,
                                    {{"weightsBytes", phase.bound->weights.count},
                                     {"reason", phase.bound->reason.message()},
                                     {"reasonPhrase", encode_phrase(phase.bound->reason)}});
    return out;
}

json::object encode_change(const advisor::Change& change) {
    json::array values;
    for (const auto& value : change.values)
        values.emplace_back(json::object{{"nodeId", value.node_id},
                                         {"input", value.input},
                                         {"from", value.from},
                                         {"to", value.to}});
    return {{"kind", advisor::change_kind_name(change.kind)},
            {"what", change.what.message()},
            {"whatPhrase", encode_phrase(change.what)},
            {"nodeId", change.node_id},
            {"input", change.input},
            {"from", change.from},
            {"to", change.to},
            {"values", std::move(values)},
            {"savesBytes", change.saves.count},
            {"secondsDelta", change.seconds_delta},
            {"qualityCost", change.quality_cost},
            {"qualityBasis", advisor::price_basis_name(change.price_basis)},
            {"qualityWords", change.quality_words.message()},
            {"qualityPhrase", encode_phrase(change.quality_words)},
            {"reason", change.reason.message()},
            {"reasonPhrase", encode_phrase(change.reason)},
            {"needsRestart", change.needs_restart},
            {"changesComposition", change.changes_composition}};
}

json::array encode_changes(const std::vector<advisor::Change>& changes) {
    json::array list;
    for (const auto& change : changes) list.emplace_back(encode_change(change));
    return list;
}

// A workflow as JSON where it is, else as the text that it is (a seed of 20 digits is an unsigned
// integer to the parser; NaN is not JSON).
json::value encode_workflow(const std::string& workflow) {
    if (auto value = parse_json(workflow)) return std::move(*value);
    return json::value(workflow);
}

}  // namespace

json::object encode_judgement(const advisor::Judgement& judged) {
    return {{"standing", advisor::standing_name(judged.standing)},
            {"overByBytes", judged.over_by.count},
            {"inTime", judged.in_time},
            {"sentence", judged.sentence.message()},
            {"sentencePhrase", encode_phrase(judged.sentence)}};
}

json::array encode_phases(const advisor::PricedForecast& priced) {
    json::array phases;
    for (std::size_t i = 0; i < priced.memory.phases.size(); ++i)
        phases.emplace_back(encode_phase(priced.memory.phases[i], i < priced.seconds.phases.size()
                                                                      ? priced.seconds.phases[i]
                                                                      : timing::PhaseSeconds{}));
    return phases;
}

json::object encode_priced(const advisor::PricedForecast& priced, const advisor::Budget& budget,
                           memory::Verdict verdict, const advisor::Judgement& judged) {
    const memory::Forecast& forecast = priced.memory;
    json::object out{{"verdict", memory::verdict_name(verdict)},
                     {"cardVerdict", memory::verdict_name(forecast.verdict)},
                     {"loadLineBytes", budget.load_line.count},
                     {"peakBytes", forecast.peak.count},
                     {"floorBytes", forecast.floor.count},
                     {"comfortBytes", forecast.comfort.count},
                     {"workingSetBytes", forecast.working_set.count},
                     {"reservedBytes", forecast.reserved.count},
                     {"hostBytes", forecast.host.count},
                     {"hostMappedBytes", forecast.host_mapped.count},
                     {"cardLimitBytes", forecast.card_limit.count},
                     {"seconds", priced.seconds.total},
                     {"secondsWithoutLoad", priced.seconds.without_load},
                     {"secondsMax", budget.seconds_max},
                     {"judgement", encode_judgement(judged)},
                     {"phases", encode_phases(priced)},
                     {"unknownNodes", texts(forecast.unknown_nodes)},
                     {"unknownNodePhrases", encode_phrases(forecast.unknown_nodes)}};
    if (const auto& learned = priced.seconds.learned)
        out["secondsFrom"] = json::object{{"runs", learned->runs},
                                          {"factor", learned->factor},
                                          {"low", learned->low},
                                          {"high", learned->high}};
    if (forecast.bound)
        out["bound"] = encode_bound(forecast.bound->lower, forecast.bound->upper, {});
    return out;
}

json::object encode_error(const Error& error, json::value details) {
    return {{"error", json::object{{"code", error_door(error.code).json_name},
                                   {"message", error.message},
                                   {"details", with_phrase(std::move(details),
                                                           parse_phrase(error.message))}}}};
}

json::object encode_settings(const advisor::Settings& settings) {
    return {
        {"model", settings.model},         {"width", settings.width}, {"height", settings.height},
        {"steps", settings.steps},         {"cfg", settings.cfg},     {"sampler", settings.sampler},
        {"scheduler", settings.scheduler}, {"batch", settings.batch}, {"seed", settings.seed},
        {"vaeTiling", settings.vae_tiling}};
}

json::object encode_forecast(const service::ForecastAnswer& answer) {
    json::object object =
        encode_priced(answer.forecast, answer.budget, answer.verdict, answer.judged);
    object["model"] = answer.model;
    object["family"] = answer.family;
    object["settings"] = answer.settings ? json::value(encode_settings(*answer.settings)) : nullptr;
    object["where"] = answer.where.message();
    object["wherePhrase"] = encode_phrase(answer.where);
    object["warnings"] = texts(answer.warnings);
    object["warningPhrases"] = encode_phrases(answer.warnings);
    return object;
}

json::object encode_plan(const service::PlanAnswer& answer) {
    const advisor::Plan& plan = answer.plan;
    json::array workflows;
    for (const std::string& workflow : plan.workflows)
        workflows.push_back(encode_workflow(workflow));
    return {{"verdict", advisor::plan_verdict_name(plan.verdict)},
            {"loadLineBytes", answer.budget.load_line.count},
            {"changes", encode_changes(plan.changes)},
            {"environment", encode_changes(plan.environment)},
            {"reserveVramBytes", bytes_or_null(plan.reserve_vram)},
            {"before",
             encode_priced(plan.before, answer.budget, answer.verdict_before, plan.judged_before)},
            {"after",
             encode_priced(plan.after, answer.budget, answer.verdict_after, plan.judged_after)},
            {"secondsAll", plan.seconds_all},
            {"runAnyway", plan.run_anyway.message()},
            {"runAnywayPhrase", encode_phrase(plan.run_anyway)},
            {"explanation", plan.explanation.message()},
            {"explanationPhrase", encode_phrase(plan.explanation)},
            {"refused", texts(plan.refused)},
            {"refusedPhrases", encode_phrases(plan.refused)},
            {"workflows", std::move(workflows)},
            {"model", answer.model},
            {"where", answer.where.message()},
            {"wherePhrase", encode_phrase(answer.where)},
            {"warnings", texts(answer.warnings)},
            {"warningPhrases", encode_phrases(answer.warnings)}};
}

json::object encode_forecast_event(const std::string& job_id, const service::PlanAnswer& answer,
                                   bool anyway) {
    const advisor::Plan& plan = answer.plan;
    return {{"jobId", job_id},
            {"forecast", anyway ? encode_priced(plan.before, answer.budget, answer.verdict_before,
                                                plan.judged_before)
                                : encode_priced(plan.after, answer.budget, answer.verdict_after,
                                                plan.judged_after)}};
}

// A whole number is written as one.
json::value number_or_null(const std::optional<double>& value) {
    if (!value || *value != std::floor(*value)) return or_null(value);
    return static_cast<std::int64_t>(*value);
}

json::object encode_largest(const service::LargestAnswer& answer) {
    return {{"knob", advisor::knob_name(answer.knob)},
            {"value", number_or_null(answer.largest.value)},
            {"nextValueFailsBecause", answer.largest.next_value_fails_because},
            {"forecasts", answer.largest.forecasts},
            {"forecast", encode_priced(answer.largest.forecast, answer.budget, answer.verdict,
                                       advisor::judge(answer.largest.forecast, answer.budget))},
            {"loadLineBytes", answer.budget.load_line.count},
            {"model", answer.model},
            {"where", answer.where.message()},
            {"wherePhrase", encode_phrase(answer.where)},
            {"warnings", texts(answer.warnings)}};
}

json::object encode_run(const history::RunRecord& run) {
    json::array phases;
    for (const auto& phase : run.phases)
        phases.emplace_back(json::object{{"kind", phase.kind},
                                         {"nodeId", phase.node_id},
                                         {"forecastPeakBytes", phase.forecast_peak.count},
                                         {"forecastSeconds", phase.forecast_seconds},
                                         {"observedPeakBytes", bytes_or_null(phase.observed_peak)},
                                         {"observedSeconds", or_null(phase.observed_seconds)}});
    json::array changes;
    for (const auto& change : run.changes)
        changes.emplace_back(json::object{{"knob", change.knob},
                                          {"from", change.from},
                                          {"to", change.to},
                                          {"savedBytes", change.saved.count},
                                          {"seconds", change.seconds}});
    const history::Settings& s = run.settings;
    return {{"runId", run.run_id},
            {"startedMs", run.started_ms},
            {"endedMs", run.ended_ms == 0 ? json::value(nullptr) : json::value(run.ended_ms)},
            {"promptId", run.prompt_id},
            {"prompt", run.prompt},
            {"model", run.model},
            {"checkpoint", run.checkpoint},
            {"family", run.family},
            {"settings", json::object{{"width", s.width},
                                      {"height", s.height},
                                      {"batch", s.batch},
                                      {"steps", s.steps},
                                      {"cfg", s.cfg},
                                      {"sampler", s.sampler},
                                      {"scheduler", s.scheduler},
                                      {"quality", s.quality},
                                      {"seed", s.seed}}},
            {"card", run.card},
            {"comfyuiVersion", run.comfyui_version},
            {"verdict", run.verdict},
            {"loadLineBytes", run.load_line.count},
            {"forecastPeakBytes", run.forecast_peak.count},
            {"forecastSeconds", run.forecast_seconds},
            {"observedPeakBytes", bytes_or_null(run.observed_peak)},
            {"observedUsedBytes", bytes_or_null(run.observed_used)},
            {"cardTotalBytes", bytes_or_null(run.card_total)},
            {"observedSeconds", or_null(run.observed_seconds)},
            {"phases", std::move(phases)},
            {"changes", std::move(changes)},
            {"images", texts(run.images)},
            {"outcome", history::outcome_name(run.outcome)},
            {"error", run.error.empty() ? json::value(nullptr) : json::value(run.error)},
            {"errorPhrase", phrase_or_null(parse_phrase(run.error))}};
}

json::object encode_generation(const service::Generation& generation) {
    json::array runs;
    for (const auto& run : generation.runs) runs.emplace_back(encode_run(run));
    json::array images;
    for (const auto& image : generation.images) images.emplace_back(image.string());
    return {{"outcome", service::generate_end_name(generation.end)},
            {"why", message_or_null(generation.why)},
            {"images", std::move(images)},
            {"imagesLeft", texts(generation.images_left)},
            {"recorded", generation.recorded},
            {"runs", std::move(runs)},
            {"plan", encode_plan(generation.plan)},
            {"warnings", texts(generation.warnings)}};
}

json::object encode_history(const history::RunPage& page) {
    json::array runs;
    for (const auto& run : page.runs) runs.emplace_back(encode_run(run));
    return {{"runs", std::move(runs)}, {"nextCursor", or_null(page.next)}};
}

json::object encode_preset(const history::Preset& preset) {
    return {{"name", preset.name},
            {"settings", encode_workflow(preset.settings_json)},
            {"savedMs", preset.saved_ms}};
}

json::object encode_presets(const std::vector<history::Preset>& presets) {
    json::array list;
    for (const auto& preset : presets) list.emplace_back(encode_preset(preset));
    return {{"presets", std::move(list)}};
}

json::object encode_checkup(const service::Checkup& checkup) {
    json::array findings;
    for (const auto& finding : checkup.findings)
        findings.emplace_back(json::object{{"area", finding.area},
                                           {"health", service::health_name(finding.health)},
                                           {"text", finding.text.message()},
                                           {"textPhrase", encode_phrase(finding.text)},
                                           {"advice", message_or_null(finding.advice)},
                                           {"advicePhrase", phrase_or_null(finding.advice)}});
    json::array settings;
    for (const auto& line : checkup.settings)
        settings.emplace_back(json::object{{"key", line.key},
                                           {"environment", line.environment},
                                           {"value", line.value},
                                           {"source", line.source}});
    return {{"health", service::health_name(checkup.worst())},
            {"comfyuiAnswers", checkup.comfyui_answers},
            {"findings", std::move(findings)},
            {"settings", std::move(settings)}};
}

}  // namespace plimsoll::wire
