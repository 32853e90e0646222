// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_quality.h"

#include "quality/lab/session_json.h"
#include "quality/lab/setting.h"
#include "service/quality/findings.h"
#include "wire/encode_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::wire {
namespace {

// The English sentence and the phrase, side by side.
void put_phrase(json::object& out, std::string_view key, const Phrase& phrase) {
    out[key] = message_or_null(phrase);
    out[fmt::format("{}Phrase", key)] = phrase_or_null(phrase);
}

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

// Where it stands on the scale of 0 to 100, as findings are kept.
json::value encode_measured(const std::vector<service::MeasuredQuality>& findings,
                            const quality::Setting& setting) {
    const auto found = std::ranges::find(findings, setting, &service::MeasuredQuality::setting);
    if (found == findings.end()) return nullptr;
    return json::object{{"points", found->quality},
                        {"low", found->interval.low},
                        {"high", found->interval.high},
                        {"pairs", found->pairs}};
}

// In the scorer's own units.
json::array encode_scores(const quality::Answer& answer, const quality::Verdict& verdict) {
    const auto difference = [](const quality::Estimate& estimate) -> json::value {
        if (estimate.pairs < quality::kPairsMin) return nullptr;
        return json::object{{"difference", estimate.points},
                            {"low", estimate.interval.low},
                            {"high", estimate.interval.high},
                            {"pairs", estimate.pairs}};
    };
    json::array out;
    for (std::size_t j = 0; j < verdict.scorers.size(); ++j)
        out.push_back(json::object{{"scorer", answer.scorers[j].rules.name},
                                   {"toReference", difference(verdict.scorers[j].to_reference)},
                                   {"toBest", difference(verdict.scorers[j].to_best)}});
    return out;
}

json::array encode_scorers(const quality::Answer& answer) {
    json::array out;
    for (const quality::ScorerPart& part : answer.scorers)
        out.push_back(json::object{
            {"name", part.rules.name},
            {"higherIsBetter", part.rules.higher_is_better},
            {"margin", part.rules.margin ? json::value(*part.rules.margin) : json::value(nullptr)},
            {"decides", part.decides},
            {"scored", part.scored},
            {"whySilent", text_or_null(part.why_silent)},
            {"whyFailed", text_or_null(part.why_failed)}});
    return out;
}

json::object encode_candidate(const quality::Session& session, const quality::Answer& answer,
                              const quality::Verdict& verdict, const quality::Cost& cost,
                              const std::vector<service::MeasuredQuality>& findings) {
    const quality::SessionPlan& plan = session.plan();
    const quality::Entrant& entrant = plan.entrants[verdict.candidate];
    const auto& racing = session.progress().racing;
    const bool seen = verdict.to_reference.pairs > 0;
    json::object out{{"candidate", verdict.candidate},
                     {"words", quality::setting_words(entrant.setting)},
                     {"setting", encode_setting(entrant.setting)},
                     {"forecastSeconds", entrant.forecast.seconds},
                     {"forecastPeakBytes", entrant.forecast.peak.count},
                     {"seconds", cost.seconds},
                     {"peakBytes", cost.peak.count},
                     {"isRacing", std::ranges::find(racing, verdict.candidate) != racing.end()},
                     {"finding", quality::finding_name(verdict.finding)},
                     {"comparedBy", verdict.basis == quality::Basis::RetentionAndDefects
                                        ? "retention_and_defects"
                                        : "defects"},
                     {"quality", seen ? json::value(verdict.quality) : json::value(nullptr)},
                     {"measured", encode_measured(findings, entrant.setting)},
                     {"toReference", encode_difference(verdict.to_reference)},
                     {"toBest", encode_difference(verdict.to_best)},
                     {"isTied", verdict.tied},
                     {"isOnFront", verdict.on_front},
                     {"worstDefect", text_or_null(verdict.worst_defect)},
                     {"scorers", encode_scores(answer, verdict)},
                     {"why", text_or_null(verdict.why)}};
    put_phrase(out, "leftOut", entrant.left_out);
    return out;
}

std::string map_url(const std::string& session_id, const quality::Cell& cell) {
    return fmt::format("/api/quality-test/{}/maps/{}/{}", session_id, cell.candidate, cell.block);
}

json::object encode_picture(const quality::SessionPlan& plan, const quality::Picture& picture,
                            const std::optional<quality::Marks>& marks) {
    const std::string& session_id = plan.session_id;
    const bool drawn = picture.state == quality::PictureState::Drawn;
    json::object measures;
    for (const auto& [measure, value] : picture.seen.measures)
        measures[quality::facts_of(measure).name] = value;
    json::object scores;
    for (const auto& [name, score] : picture.seen.scores) scores[name] = score;
    json::object unscored;
    for (const auto& [name, why] : picture.seen.unscored) unscored[name] = why;
    json::object out{
        {"candidate", picture.cell.candidate},
        {"block", picture.cell.block},
        {"state", drawn                                           ? "drawn"
                  : picture.state == quality::PictureState::Asked ? "asked"
                                                                  : "failed"},
        {"imageUrl", drawn ? json::value(image_url(session_id, picture.cell)) : nullptr},
        {"mapUrl", drawn && picture.seen.distance && picture.cell.candidate != plan.reference
                       ? json::value(map_url(session_id, picture.cell))
                       : nullptr},
        {"seconds", drawn ? json::value(picture.seconds) : nullptr},
        {"retention", marks && marks->retention ? json::value(*marks->retention) : nullptr},
        {"defects", marks ? json::value(marks->defects) : nullptr},
        {"worstDefect", text_or_null(marks ? marks->worst_defect : std::string())},
        {"distance",
         picture.seen.distance ? json::value(*picture.seen.distance) : json::value(nullptr)},
        {"measures", std::move(measures)},
        {"scores", std::move(scores)},
        {"unscored", std::move(unscored)}};
    put_phrase(out, "whyNoDistance", picture.seen.why_no_distance);
    put_phrase(out, "why", picture.why);
    return out;
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
    const std::vector<service::MeasuredQuality> findings =
        service::findings_of(plan, answer, costs);
    const quality::Table table = session.table();
    json::array candidates;
    for (const quality::Verdict& verdict : answer.verdicts)
        candidates.push_back(
            encode_candidate(session, answer, verdict, costs[verdict.candidate], findings));
    json::array pictures;
    for (const auto& [cell, picture] : session.pictures())
        pictures.push_back(encode_picture(plan, picture, table.scores[cell.candidate][cell.block]));
    json::object out{{"sessionId", plan.session_id},
                     {"model", plan.model},
                     {"testType", quality::test_kind_name(plan.kind)},
                     {"state", quality::session_state_name(session.progress().state)},
                     {"isDrawing", view.is_drawing},
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
                     {"scorers", encode_scorers(answer)},
                     {"candidates", std::move(candidates)},
                     {"answer", encode_answer(answer, plan)},
                     {"votes", view.votes},
                     {"pictures", std::move(pictures)}};
    put_phrase(out, "why", session.progress().why);
    put_phrase(out, "waitsFor", view.waits_for);
    return out;
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
                                   {"why", message_or_null(progress->why)},
                                   {"createdMs", row.created_ms}});
    }
    return {{"sessions", std::move(out)}};
}

json::object encode_quality_plan(const quality::SessionPlan& plan) {
    const quality::Bound bound = quality::bound_of(plan);
    json::array prompts;
    for (const std::string& prompt : plan.prompts) prompts.emplace_back(prompt);
    json::array candidates;
    std::int64_t peak = 0;
    for (std::size_t k = 0; k < plan.entrants.size(); ++k) {
        const quality::Entrant& entrant = plan.entrants[k];
        if (entrant.left_out.empty()) peak = std::max(peak, entrant.forecast.peak.count);
        json::object one{{"candidate", k},
                         {"words", quality::setting_words(entrant.setting)},
                         {"setting", encode_setting(entrant.setting)},
                         {"forecastSeconds", entrant.forecast.seconds},
                         {"forecastPeakBytes", entrant.forecast.peak.count}};
        put_phrase(one, "leftOut", entrant.left_out);
        candidates.push_back(std::move(one));
    }
    return {{"model", plan.model},
            {"testType", quality::test_kind_name(plan.kind)},
            {"marginPoints", plan.rules.margin},
            {"imagesMax", bound.images},
            {"secondsMax", bound.seconds},
            {"secondsLimit", plan.seconds_max},
            {"peakBytesMax", peak},
            {"blocks", plan.rules.blocks_max},
            {"prompts", std::move(prompts)},
            {"negative", plan.negative},
            {"reference", plan.reference},
            {"candidates", std::move(candidates)}};
}

json::object encode_mark(const service::DefectMark& mark) {
    json::value place = nullptr;
    if (mark.place)
        place = json::object{
            {"x", mark.place->x},
            {"y", mark.place->y},
            {"width", mark.place->width},
            {"height", mark.place->height},
            {"here", mark.place->here},
            {"inReference",
             mark.place->in_reference ? json::value(*mark.place->in_reference) : nullptr}};
    return {{"candidate", mark.cell.candidate},
            {"block", mark.cell.block},
            {"width", mark.width},
            {"height", mark.height},
            {"defect", text_or_null(mark.defect)},
            {"place", std::move(place)},
            {"words", service::mark_words(mark)}};
}

namespace {

json::object encode_side(const std::string& session_id, const quality::Cell& cell) {
    return {{"candidate", cell.candidate},
            {"block", cell.block},
            {"imageUrl", image_url(session_id, cell)}};
}

json::object encode_bare_cell(const quality::Cell& cell) {
    return {{"candidate", cell.candidate}, {"block", cell.block}};
}

}  // namespace

json::object encode_pairs(const std::string& session_id, const service::PairList& pairs) {
    json::array out;
    for (const auto& [vote_id, pair] : pairs)
        out.push_back(json::object{{"voteId", vote_id},
                                   {"prompt", pair.prompt},
                                   {"left", encode_side(session_id, pair.left)},
                                   {"right", encode_side(session_id, pair.right)},
                                   {"preferred", nullptr}});
    return {{"sessionId", session_id}, {"pairs", std::move(out)}};
}

json::object encode_ballots(const std::string& session_id,
                            const std::vector<service::KeptBallot>& ballots) {
    constexpr std::array<std::string_view, 3> kNames{"left", "right", "neither"};
    json::array out;
    for (const auto& [ballot, voted_ms] : ballots) {
        json::object one{{"voteId", ballot.vote_id},
                         {"votedMs", voted_ms},
                         {"left", encode_bare_cell(ballot.left)},
                         {"right", encode_bare_cell(ballot.right)},
                         {"preferred", kNames.at(static_cast<std::size_t>(ballot.preferred))}};
        if (!ballot.voter.empty()) one["voter"] = ballot.voter;
        out.push_back(std::move(one));
    }
    return {{"sessionId", session_id}, {"ballots", std::move(out)}};
}

json::object encode_proposal(const service::QualityView& view) {
    const quality::SessionPlan& plan = view.session.plan();
    const quality::Bound bound = quality::bound_of(plan);
    json::array prompts;
    for (const std::string& prompt : plan.prompts) prompts.emplace_back(prompt);
    json::array settings;
    for (const quality::Entrant& entrant : plan.entrants)
        if (entrant.left_out.empty())
            settings.emplace_back(quality::setting_words(entrant.setting));
    return {{"sessionId", plan.session_id},
            {"model", plan.model},
            {"testType", quality::test_kind_name(plan.kind)},
            {"state", quality::session_state_name(view.session.progress().state)},
            {"createdMs", plan.created_ms},
            {"imagesMax", bound.images},
            {"secondsMax", bound.seconds},
            {"settings", std::move(settings)},
            {"prompts", std::move(prompts)}};
}

json::object encode_proposals(const std::vector<service::QualityView>& views) {
    json::array out;
    for (const service::QualityView& view : views) out.push_back(encode_proposal(view));
    return {{"proposals", std::move(out)}};
}

json::object encode_score(const service::QualityScore& score) {
    return {{"basis", service::score_basis_name(score.basis)},
            {"points", score.points},
            {"low", score.interval.low},
            {"high", score.interval.high},
            {"comparisons", score.comparisons},
            {"settingsKnown", score.settings_known},
            {"words", score.words.message()},
            {"wordsPhrase", encode_phrase(score.words)}};
}

json::object encode_pair(const service::BlindPair& pair) {
    return {{"sessionId", pair.session_id},
            {"prompt", pair.prompt},
            {"left", encode_side(pair.session_id, pair.left)},
            {"right", encode_side(pair.session_id, pair.right)}};
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
