// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_quality.h"

#include "quality/lab/session_json.h"
#include "quality/lab/setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

namespace plimsoll::wire {
namespace {

json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
}

std::string image_url(const std::string& session_id, const quality::Cell& cell) {
    return fmt::format("/api/quality-test/{}/images/{}/{}", session_id, cell.candidate, cell.block);
}

// Fewer pairs than it takes to claim anything: nothing is stated.
json::value encode_difference(const quality::Estimate& estimate) {
    if (estimate.pairs < quality::kPairsMin) return nullptr;
    return json::object{{"points", estimate.points},
                        {"low", estimate.interval.low},
                        {"high", estimate.interval.high},
                        {"pairs", estimate.pairs}};
}

json::object encode_setting(const quality::Setting& setting) {
    return {{"checkpoint", setting.checkpoint},
            {"width", setting.width},
            {"height", setting.height},
            {"steps", setting.steps},
            {"cfg", setting.cfg},
            {"sampler", setting.sampler},
            {"scheduler", setting.scheduler},
            {"vaeTiling", setting.vae_tiling}};
}

json::object encode_candidate(const quality::Session& session, const quality::Verdict& verdict,
                              const quality::Cost& cost) {
    const quality::SessionPlan& plan = session.plan();
    const quality::Entrant& entrant = plan.entrants[verdict.candidate];
    const auto& racing = session.progress().racing;
    const bool seen = verdict.to_reference.pairs > 0;
    return {{"candidate", verdict.candidate},
            {"words", quality::setting_words(entrant.setting)},
            {"setting", encode_setting(entrant.setting)},
            {"forecastSeconds", entrant.forecast.seconds},
            {"forecastPeakBytes", entrant.forecast.peak.count},
            {"seconds", cost.seconds},
            {"peakBytes", cost.peak.count},
            {"leftOut", text_or_null(entrant.left_out)},
            {"isRacing", std::ranges::find(racing, verdict.candidate) != racing.end()},
            {"finding", quality::finding_name(verdict.finding)},
            {"comparedBy", verdict.basis == quality::Basis::RetentionAndDefects
                               ? "retention_and_defects"
                               : "defects"},
            {"quality", seen ? json::value(verdict.quality) : json::value(nullptr)},
            {"toReference", encode_difference(verdict.to_reference)},
            {"toBest", encode_difference(verdict.to_best)},
            {"isTied", verdict.tied},
            {"isOnFront", verdict.on_front},
            {"worstDefect", text_or_null(verdict.worst_defect)},
            {"why", text_or_null(verdict.why)}};
}

json::object encode_picture(const std::string& session_id, const quality::Picture& picture) {
    const bool drawn = picture.state == quality::PictureState::Drawn;
    json::object measures;
    for (const auto& [measure, value] : picture.seen.measures)
        measures[quality::facts_of(measure).name] = value;
    return {{"candidate", picture.cell.candidate},
            {"block", picture.cell.block},
            {"state", drawn                                           ? "drawn"
                      : picture.state == quality::PictureState::Asked ? "asked"
                                                                      : "failed"},
            {"imageUrl", drawn ? json::value(image_url(session_id, picture.cell)) : nullptr},
            {"seconds", drawn ? json::value(picture.seconds) : nullptr},
            {"distance",
             picture.seen.distance ? json::value(*picture.seen.distance) : json::value(nullptr)},
            {"whyNoDistance", text_or_null(picture.seen.why_no_distance)},
            {"measures", std::move(measures)},
            {"why", text_or_null(picture.why)}};
}

json::value encode_answer(const quality::Answer& answer, const quality::SessionPlan& plan) {
    json::array tied;
    json::array front;
    for (const quality::Verdict& verdict : answer.verdicts) {
        if (verdict.tied) tied.emplace_back(verdict.candidate);
        if (verdict.on_front) front.emplace_back(verdict.candidate);
    }
    return json::object{
        {"chosen", answer.chosen ? json::value(*answer.chosen) : json::value(nullptr)},
        {"settings", answer.chosen
                         ? json::value(encode_setting(plan.entrants[*answer.chosen].setting))
                         : json::value(nullptr)},
        {"best", answer.chosen ? json::value(answer.best) : json::value(nullptr)},
        {"grade", quality::grade_name(answer.grade)},
        {"words", answer.words},
        {"tied", std::move(tied)},
        {"front", std::move(front)}};
}

}  // namespace

json::object encode_quality(const service::QualityView& view) {
    const quality::Session& session = view.session;
    const quality::SessionPlan& plan = session.plan();
    const quality::Bound bound = quality::bound_of(plan);
    const quality::Session::Count count = session.count();
    const quality::Answer answer = session.answer();
    const std::vector<quality::Cost> costs = session.costs();
    json::array prompts;
    for (const std::string& prompt : plan.prompts) prompts.emplace_back(prompt);
    json::array blocks;
    for (const quality::Block& block : quality::blocks_of(plan))
        blocks.push_back(
            json::object{{"prompt", block.prompt}, {"seed", quality::seed_of(plan, block)}});
    json::array candidates;
    for (const quality::Verdict& verdict : answer.verdicts)
        candidates.push_back(encode_candidate(session, verdict, costs[verdict.candidate]));
    json::array pictures;
    for (const auto& [cell, picture] : session.pictures())
        pictures.push_back(encode_picture(plan.session_id, picture));
    return {{"sessionId", plan.session_id},
            {"model", plan.model},
            {"testType", quality::test_kind_name(plan.kind)},
            {"state", quality::session_state_name(session.progress().state)},
            {"why", text_or_null(session.progress().why)},
            {"isDrawing", view.is_drawing},
            {"waitsFor", text_or_null(view.waits_for)},
            {"createdMs", plan.created_ms},
            {"marginPoints", plan.rules.margin},
            {"imagesMax", bound.images},
            {"secondsMax", bound.seconds},
            {"secondsLimit", plan.seconds_max},
            {"drawn", count.drawn},
            {"drawnAtMost", count.at_most},
            {"secondsSpent", count.seconds_spent},
            {"secondsLeft", count.seconds_left},
            {"prompts", std::move(prompts)},
            {"negative", plan.negative},
            {"blocks", std::move(blocks)},
            {"reference", plan.reference},
            {"candidates", std::move(candidates)},
            {"answer", encode_answer(answer, plan)},
            {"votes", view.votes},
            {"pictures", std::move(pictures)}};
}

json::object encode_quality_sessions(const std::vector<history::QualitySession>& sessions) {
    json::array out;
    for (const history::QualitySession& row : sessions) {
        const auto plan = quality::parse_plan(row.plan_json);
        const auto progress = quality::parse_progress(row.progress_json);
        if (!plan || !progress) continue;
        out.push_back(json::object{{"sessionId", row.session_id},
                                   {"model", row.model},
                                   {"testType", quality::test_kind_name(plan->kind)},
                                   {"state", quality::session_state_name(progress->state)},
                                   {"why", text_or_null(progress->why)},
                                   {"createdMs", row.created_ms}});
    }
    return {{"sessions", std::move(out)}};
}

json::object encode_pair(const service::BlindPair& pair) {
    const auto side = [&](const quality::Cell& cell) {
        return json::object{{"candidate", cell.candidate},
                            {"block", cell.block},
                            {"imageUrl", image_url(pair.session_id, cell)}};
    };
    return {{"sessionId", pair.session_id},
            {"prompt", pair.prompt},
            {"left", side(pair.left)},
            {"right", side(pair.right)}};
}

json::object encode_votes(const std::string& session_id, const service::VoteCount& count) {
    json::array standings;
    for (const std::size_t candidate : count.candidates) {
        const quality::Strength& strength = count.standings.strengths[candidate];
        standings.push_back(json::object{{"candidate", candidate},
                                         {"strength", strength.value},
                                         {"low", strength.interval.low},
                                         {"high", strength.interval.high},
                                         {"winShare", strength.wins_against_all}});
    }
    return {{"sessionId", session_id},
            {"votes", count.standings.votes},
            {"votesMin", quality::kVotesMin},
            {"isEnough", count.standings.enough()},
            {"standings", std::move(standings)}};
}

}  // namespace plimsoll::wire
