// SPDX-License-Identifier: Apache-2.0
#include "service/quality/findings.h"

#include "base/json.h"
#include "quality/lab/session_json.h"
#include "quality/votes/minded.h"
#include "service/quality/votes.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::service {
namespace {

constexpr std::size_t kFindingsMax = 64;  // of a session: it has no more candidates

std::optional<MeasuredQuality> finding_of(const json::value& value) {
    MeasuredQuality out;
    const auto number = [&](std::string_view key) {
        return find_number(value, key).value_or(std::nan(""));
    };
    const auto text = [&](std::string_view key) {
        return std::string(find_string(value, key).value_or(""));
    };
    out.setting.checkpoint = text("checkpoint");
    out.setting.width = static_cast<int>(find_int(value, "width").value_or(0));
    out.setting.height = static_cast<int>(find_int(value, "height").value_or(0));
    out.setting.steps = static_cast<int>(find_int(value, "steps").value_or(0));
    out.setting.cfg = number("cfg");
    out.setting.sampler = text("sampler");
    out.setting.scheduler = text("scheduler");
    out.setting.vae_tiling = find_bool(value, "vaeTiling").value_or(false);
    out.quality = number("quality");
    out.interval = {.low = number("low"), .high = number("high")};
    out.pairs =
        static_cast<std::size_t>(std::max<std::int64_t>(0, find_int(value, "pairs").value_or(0)));
    out.seconds = number("seconds");
    out.peak_bytes = find_int(value, "peakBytes").value_or(0);
    out.is_chosen = find_bool(value, "chosen").value_or(false);
    out.closely = find_bool(value, "closely").value_or(false);
    const bool whole = out.setting.width > 0 && out.setting.height > 0 && out.setting.steps > 0 &&
                       std::isfinite(out.setting.cfg) && std::isfinite(out.quality) &&
                       std::isfinite(out.interval.low) && std::isfinite(out.interval.high) &&
                       std::isfinite(out.seconds);
    return whole ? std::optional(std::move(out)) : std::nullopt;
}

std::string_view file_of(std::string_view name) {
    return name.substr(name.find_last_of("/\\") + 1);
}

// What the session's votes say beside its points. Votes about settings without points say nothing
// here.
Result<std::vector<quality::PricedVote>> priced_votes(history::Store& store,
                                                      const history::QualitySession& session,
                                                      const std::vector<MeasuredQuality>& findings,
                                                      std::string_view voter) {
    std::vector<quality::PricedVote> out;
    TRY_ASSIGN(const auto rows, store.list_votes(session.session_id));
    if (rows.empty()) return out;
    const auto plan = quality::parse_plan(session.plan_json);
    if (!plan) return out;
    const auto points_of = [&](std::size_t candidate) -> std::optional<double> {
        if (candidate >= plan->entrants.size()) return std::nullopt;
        const auto found = std::ranges::find(findings, plan->entrants[candidate].setting,
                                             &MeasuredQuality::setting);
        if (found == findings.end() || !found->closely) return std::nullopt;
        return found->quality;
    };
    for (const history::QualityVote& row : rows) {
        const auto cast = parse_vote(row.vote_json);
        if (!cast || (!voter.empty() && cast->voter != voter)) continue;
        const auto first = points_of(cast->vote.first);
        const auto second = points_of(cast->vote.second);
        if (first && second)
            out.push_back({.points = *first - *second, .preferred = cast->vote.preferred});
    }
    return out;
}

advisor::SettingQuality evidence_of(const MeasuredQuality& one) {
    return {.settings = settings_of(one.setting, one.setting.checkpoint),
            .quality = one.quality,
            .low = one.interval.low,
            .high = one.interval.high,
            .pairs = one.pairs};
}

}  // namespace

advisor::Settings settings_of(const quality::Setting& setting, std::string model) {
    advisor::Settings out;
    out.model = std::move(model);
    out.width = setting.width;
    out.height = setting.height;
    out.steps = setting.steps;
    out.cfg = setting.cfg;
    out.sampler = setting.sampler;
    out.scheduler = setting.scheduler;
    out.vae_tiling = setting.vae_tiling;
    return out;
}

bool draws_as(const quality::Setting& setting, const advisor::Settings& settings) {
    return settings.width == setting.width && settings.height == setting.height &&
           settings.steps == setting.steps && settings.cfg == setting.cfg &&
           settings.sampler == setting.sampler && settings.scheduler == setting.scheduler &&
           settings.vae_tiling == setting.vae_tiling;
}

bool is_of_profile(const quality::Setting& setting, const advisor::ModelProfile& profile) {
    const std::string& file = setting.checkpoint;
    return file == profile.checkpoint || file.ends_with("/" + profile.checkpoint) ||
           file.ends_with("\\" + profile.checkpoint);
}

Result<advisor::QualityEvidence> quality_evidence(history::Store& store,
                                                  std::string_view checkpoint,
                                                  std::string_view voter) {
    advisor::QualityEvidence out;
    if (checkpoint.empty()) return out;
    std::vector<quality::PricedVote> votes;
    TRY_ASSIGN(const auto sessions, store.list_sessions());
    for (const history::QualitySession& session : sessions) {
        const auto findings = parse_findings(session.findings_json);
        if (!findings) continue;
        const bool of_model = std::ranges::any_of(*findings, [&](const MeasuredQuality& one) {
            return file_of(one.setting.checkpoint) == file_of(checkpoint);
        });
        if (!of_model) continue;
        for (const MeasuredQuality& one : *findings) {
            if (!one.closely) continue;
            advisor::SettingQuality known = evidence_of(one);
            // The newest counts.
            if (std::ranges::find(out.settings, known.settings,
                                  &advisor::SettingQuality::settings) == out.settings.end())
                out.settings.push_back(std::move(known));
        }
        TRY_ASSIGN(const auto more, priced_votes(store, session, *findings, voter));
        votes.insert(votes.end(), more.begin(), more.end());
    }
    const quality::Minded minded = quality::how_much_is_minded(votes);
    out.minding = {.weight = minded.weight,
                   .low = minded.interval.low,
                   .high = minded.interval.high,
                   .votes = minded.enough() ? minded.votes : 0};
    return out;
}

std::vector<MeasuredQuality> findings_of(const quality::Session& session) {
    return findings_of(session.plan(), session.answer(), session.costs());
}

std::vector<MeasuredQuality> findings_of(const quality::SessionPlan& plan,
                                         const quality::Answer& answer,
                                         const std::vector<quality::Cost>& costs) {
    const auto& reference = answer.verdicts.at(plan.reference);
    std::vector<MeasuredQuality> out;
    for (const quality::Verdict& verdict : answer.verdicts) {
        if (verdict.to_reference.pairs < quality::kPairsMin) continue;
        const auto points = [&](double difference) {
            return std::clamp(reference.quality + difference, 0.0, 100.0);
        };
        out.push_back({.setting = plan.entrants[verdict.candidate].setting,
                       .quality = points(verdict.to_reference.points),
                       .interval = {.low = points(verdict.to_reference.interval.low),
                                    .high = points(verdict.to_reference.interval.high)},
                       .pairs = verdict.to_reference.pairs,
                       .seconds = costs[verdict.candidate].seconds,
                       .peak_bytes = costs[verdict.candidate].peak.count,
                       .is_chosen = answer.chosen == verdict.candidate,
                       .closely = verdict.basis == quality::Basis::RetentionAndDefects});
    }
    return out;
}

std::string encode_findings(const std::vector<MeasuredQuality>& findings) {
    json::array out;
    for (const MeasuredQuality& one : findings)
        out.push_back(json::object{{"checkpoint", one.setting.checkpoint},
                                   {"width", one.setting.width},
                                   {"height", one.setting.height},
                                   {"steps", one.setting.steps},
                                   {"cfg", one.setting.cfg},
                                   {"sampler", one.setting.sampler},
                                   {"scheduler", one.setting.scheduler},
                                   {"vaeTiling", one.setting.vae_tiling},
                                   {"quality", one.quality},
                                   {"low", one.interval.low},
                                   {"high", one.interval.high},
                                   {"pairs", one.pairs},
                                   {"seconds", one.seconds},
                                   {"peakBytes", one.peak_bytes},
                                   {"chosen", one.is_chosen},
                                   {"closely", one.closely}});
    return json::serialize(out);
}

Result<std::vector<MeasuredQuality>> parse_findings(std::string_view text) {
    TRY_ASSIGN(const json::value value, parse_json(text));
    if (!value.is_array() || value.get_array().size() > kFindingsMax)
        return fail(Errc::Corrupt, "findings of a quality session are no list");
    std::vector<MeasuredQuality> out;
    for (const json::value& one : value.get_array())
        if (auto finding = finding_of(one)) out.push_back(std::move(*finding));
    return out;
}

Result<std::vector<MeasuredQuality>> measured_of(history::Store& store, std::string_view model) {
    TRY_ASSIGN(const auto sessions, store.list_sessions());
    std::vector<MeasuredQuality> out;
    for (const history::QualitySession& session : sessions) {
        if (session.model != model) continue;
        const auto findings = parse_findings(session.findings_json);
        if (!findings) continue;
        for (const MeasuredQuality& one : *findings)
            if (std::ranges::find(out, one.setting, &MeasuredQuality::setting) == out.end())
                out.push_back(one);
    }
    return out;
}

}  // namespace plimsoll::service
