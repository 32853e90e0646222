// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/session_json.h"

#include "base/json.h"
#include "base/phrase_json.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace plimsoll::quality {
namespace {

// Reads fields and remembers the first that is missing or wrong.
class Fields {
  public:
    explicit Fields(const json::value& value) : value_(value) {}

    std::string text(std::string_view key) {
        const auto found = find_string(value_, key);
        if (!found) miss(key);
        return std::string(found.value_or(""));
    }
    double number(std::string_view key) {
        const auto found = find_number(value_, key);
        if (!found || !std::isfinite(*found)) miss(key);
        return found.value_or(0);
    }
    std::int64_t whole(std::string_view key, std::int64_t least, std::int64_t most) {
        const auto found = find_int(value_, key);
        if (!found || *found < least || *found > most) {
            miss(key);
            return least;
        }
        return *found;
    }
    std::size_t index(std::string_view key, std::size_t most) {
        return static_cast<std::size_t>(whole(key, 0, static_cast<std::int64_t>(most)));
    }
    bool flag(std::string_view key) {
        const auto found = find_bool(value_, key);
        if (!found) miss(key);
        return found.value_or(false);
    }
    const json::value* maybe(std::string_view key) { return find(value_, key); }
    const json::array& list(std::string_view key, std::size_t most) {
        static const json::array kNone;
        const json::value* const found = find(value_, key);
        if (found == nullptr || !found->is_array() || found->get_array().size() > most) {
            miss(key);
            return kNone;
        }
        return found->get_array();
    }
    void miss(std::string_view key) {
        if (missed_.empty()) missed_ = key;
    }
    void take(const Fields& inner) {
        if (!inner.missed_.empty()) miss(inner.missed_);
    }
    [[nodiscard]] Result<void> check(std::string_view what) const {
        if (missed_.empty()) return {};
        return fail(Errc::Corrupt, fmt::format("{} lacks a proper '{}'", what, missed_));
    }

  private:
    const json::value& value_;
    std::string missed_;
};

constexpr std::int64_t kSideMax = 16'384;  // pixels; chosen, far above what is drawn
constexpr std::int64_t kWholeMax = std::int64_t{1} << 53;

// The sentence for whoever reads the history, the phrase for a page in another language.
void put_phrase(json::object& out, std::string_view key, const Phrase& phrase) {
    out[key] = phrase.message();
    if (!phrase.code().empty()) out[fmt::format("{}Phrase", key)] = phrase_to_json(phrase);
}
// Sessions of earlier versions have the sentence alone.
Phrase phrase_of(Fields& fields, std::string_view key) {
    const json::value* const phrase = fields.maybe(fmt::format("{}Phrase", key));
    Phrase plain(fields.text(key));
    return phrase == nullptr ? plain : phrase_from_json(*phrase);
}

json::object object_of(const Entrant& entrant) {
    const Setting& s = entrant.setting;
    json::object out{{"checkpoint", s.checkpoint},
                     {"width", s.width},
                     {"height", s.height},
                     {"steps", s.steps},
                     {"cfg", s.cfg},
                     {"sampler", s.sampler},
                     {"scheduler", s.scheduler},
                     {"vaeTiling", s.vae_tiling},
                     {"forecastSeconds", entrant.forecast.seconds},
                     {"forecastPeakBytes", entrant.forecast.peak.count}};
    put_phrase(out, "leftOut", entrant.left_out);
    return out;
}

Entrant entrant_of(const json::value& value, Fields& outer) {
    Fields fields(value);
    Entrant out;
    out.setting.checkpoint = fields.text("checkpoint");
    out.setting.width = static_cast<int>(fields.whole("width", 8, kSideMax));
    out.setting.height = static_cast<int>(fields.whole("height", 8, kSideMax));
    out.setting.steps = static_cast<int>(fields.whole("steps", 1, 10'000));
    out.setting.cfg = fields.number("cfg");
    out.setting.sampler = fields.text("sampler");
    out.setting.scheduler = fields.text("scheduler");
    out.setting.vae_tiling = fields.flag("vaeTiling");
    out.forecast.seconds = fields.number("forecastSeconds");
    out.forecast.peak = Bytes(fields.whole("forecastPeakBytes", 0, kWholeMax));
    out.left_out = phrase_of(fields, "leftOut");
    outer.take(fields);
    return out;
}

template <class Enum, class Namer>
Enum enum_of(Fields& fields, std::string_view key, std::size_t count, Namer name_of_value) {
    const std::string text = fields.text(key);
    for (std::size_t i = 0; i < count; ++i)
        if (name_of_value(static_cast<Enum>(i)) == text) return static_cast<Enum>(i);
    fields.miss(key);
    return Enum{};
}

std::string_view picture_state_name(PictureState state) {
    return state == PictureState::Asked   ? "asked"
           : state == PictureState::Drawn ? "drawn"
                                          : "failed";
}

json::value or_null(const std::optional<double>& value) {
    return value ? json::value(*value) : json::value(nullptr);
}
std::optional<double> maybe_number(Fields& fields, std::string_view key) {
    const json::value* const found = fields.maybe(key);
    if (found == nullptr || found->is_null()) return std::nullopt;
    return fields.number(key);
}

}  // namespace

std::string encode_plan(const SessionPlan& plan) {
    json::array entrants;
    for (const Entrant& entrant : plan.entrants) entrants.push_back(object_of(entrant));
    json::array prompts;
    for (const std::string& prompt : plan.prompts) prompts.emplace_back(prompt);
    json::object out{{"sessionId", plan.session_id},
                     {"testType", test_kind_name(plan.kind)},
                     {"model", plan.model},
                     {"drawnBy", plan.drawn_by},
                     {"createdMs", plan.created_ms},
                     {"entrants", std::move(entrants)},
                     {"reference", plan.reference},
                     {"prompts", std::move(prompts)},
                     {"negative", plan.negative},
                     {"seed", plan.seed},
                     {"blocksFirst", plan.rules.blocks_first},
                     {"blocksMax", plan.rules.blocks_max},
                     {"finalists", plan.rules.finalists},
                     {"margin", plan.rules.margin},
                     {"secondsMax", plan.seconds_max}};
    if (plan.second_reference) out["secondReference"] = *plan.second_reference;
    json::array scorers;
    for (const ScorerRules& scorer : plan.scorers)
        scorers.push_back(json::object{{"name", scorer.name},
                                       {"higherIsBetter", scorer.higher_is_better},
                                       {"margin", or_null(scorer.margin)}});
    if (!scorers.empty()) out["scorers"] = std::move(scorers);
    if (plan.in_background) out["inBackground"] = true;
    return json::serialize(out);
}

Result<SessionPlan> parse_plan(std::string_view text) {
    TRY_ASSIGN(const json::value value, parse_json(text));
    Fields fields(value);
    SessionPlan plan;
    plan.session_id = fields.text("sessionId");
    plan.kind = enum_of<TestKind>(fields, "testType", 2, test_kind_name);
    plan.model = fields.text("model");
    plan.drawn_by = fields.text("drawnBy");
    plan.created_ms = fields.whole("createdMs", 0, kWholeMax);
    for (const json::value& entrant : fields.list("entrants", kCandidatesMax))
        plan.entrants.push_back(entrant_of(entrant, fields));
    plan.reference = fields.index("reference", kCandidatesMax);
    if (fields.maybe("secondReference") != nullptr)
        plan.second_reference = fields.index("secondReference", kCandidatesMax);
    for (const json::value& prompt : fields.list("prompts", kPromptsMax)) {
        if (!prompt.is_string())
            fields.miss("prompts");
        else
            plan.prompts.emplace_back(prompt.get_string());
    }
    plan.negative = fields.text("negative");
    plan.seed = static_cast<std::uint64_t>(fields.whole("seed", 0, kWholeMax));
    plan.rules.blocks_first = fields.index("blocksFirst", kBlocksMax);
    plan.rules.blocks_max = fields.index("blocksMax", kBlocksMax);
    plan.rules.finalists = fields.index("finalists", kCandidatesMax);
    plan.rules.margin = fields.number("margin");
    plan.seconds_max = fields.number("secondsMax");
    plan.in_background = find_bool(value, "inBackground").value_or(false);
    // Sessions of earlier versions have none.
    if (fields.maybe("scorers") != nullptr)
        for (const json::value& scorer : fields.list("scorers", kScorersMax)) {
            Fields inner(scorer);
            plan.scorers.push_back({.name = inner.text("name"),
                                    .higher_is_better = inner.flag("higherIsBetter"),
                                    .margin = maybe_number(inner, "margin")});
            fields.take(inner);
        }
    TRY_DO(fields.check("a quality session's plan"));
    return plan;
}

std::string encode_progress(const SessionProgress& progress) {
    json::array racing;
    for (const std::size_t candidate : progress.racing) racing.emplace_back(candidate);
    json::object out{{"state", session_state_name(progress.state)},
                     {"isGone", progress.is_gone},
                     {"timesGone", progress.times_gone},
                     {"stage", progress.stage},
                     {"racing", std::move(racing)}};
    put_phrase(out, "why", progress.why);
    return json::serialize(out);
}

Result<SessionProgress> parse_progress(std::string_view text) {
    TRY_ASSIGN(const json::value value, parse_json(text));
    Fields fields(value);
    SessionProgress out;
    out.state = enum_of<SessionState>(fields, "state", 6, session_state_name);
    out.why = phrase_of(fields, "why");
    // Sessions of earlier versions have neither.
    out.is_gone = find_bool(value, "isGone").value_or(false);
    if (fields.maybe("timesGone") != nullptr)
        out.times_gone = static_cast<int>(fields.whole("timesGone", 0, 1000));
    out.stage = fields.index("stage", kBlocksMax);
    for (const json::value& candidate : fields.list("racing", kCandidatesMax)) {
        if (!candidate.is_int64() || candidate.get_int64() < 0)
            fields.miss("racing");
        else
            out.racing.push_back(static_cast<std::size_t>(candidate.get_int64()));
    }
    TRY_DO(fields.check("a quality session's progress"));
    return out;
}

std::string encode_picture(const Picture& picture) {
    json::object measures;
    for (const auto& [measure, value] : picture.seen.measures)
        measures[facts_of(measure).name] = value;
    json::object scores;
    for (const auto& [name, score] : picture.seen.scores) scores[name] = score;
    json::object unscored;
    for (const auto& [name, why] : picture.seen.unscored) unscored[name] = why;
    json::object out{{"candidate", picture.cell.candidate},
                     {"block", picture.cell.block},
                     {"state", picture_state_name(picture.state)},
                     {"attempts", picture.attempts},
                     {"promptId", picture.prompt_id},
                     {"seconds", picture.seconds},
                     {"peakBytes", picture.peak.count},
                     {"file", picture.file},
                     {"distance", or_null(picture.seen.distance)},
                     {"distanceToOther", or_null(picture.seen.distance_to_other)},
                     {"measures", std::move(measures)},
                     {"scores", std::move(scores)},
                     {"unscored", std::move(unscored)}};
    put_phrase(out, "whyNoDistance", picture.seen.why_no_distance);
    put_phrase(out, "why", picture.why);
    return json::serialize(out);
}

Result<Picture> parse_picture(std::string_view text) {
    TRY_ASSIGN(const json::value value, parse_json(text));
    Fields fields(value);
    Picture out;
    out.cell = {.candidate = fields.index("candidate", kCandidatesMax),
                .block = fields.index("block", kBlocksMax)};
    out.state = enum_of<PictureState>(fields, "state", 3, picture_state_name);
    out.attempts = static_cast<int>(fields.whole("attempts", 0, 1000));
    out.prompt_id = fields.text("promptId");
    out.seconds = fields.number("seconds");
    out.peak = Bytes(fields.whole("peakBytes", 0, kWholeMax));
    out.file = fields.text("file");
    out.seen.distance = maybe_number(fields, "distance");
    out.seen.why_no_distance = phrase_of(fields, "whyNoDistance");
    out.seen.distance_to_other = maybe_number(fields, "distanceToOther");
    out.why = phrase_of(fields, "why");
    const json::value* const measures = fields.maybe("measures");
    if (measures == nullptr || !measures->is_object()) {
        fields.miss("measures");
    } else {
        for (const auto& entry : measures->get_object()) {
            // A measure that this version does not know is passed over.
            const auto measure = find_measure(entry.key());
            const auto number = find_number(*measures, entry.key());
            if (measure && number && std::isfinite(*number))
                out.seen.measures.emplace(*measure, *number);
        }
    }
    // Pictures of earlier versions have neither.
    if (const json::value* const scores = fields.maybe("scores"); scores && scores->is_object())
        for (const auto& entry : scores->get_object())
            if (const auto number = find_number(*scores, entry.key());
                number && std::isfinite(*number) && out.seen.scores.size() < kScorersMax)
                out.seen.scores.emplace(entry.key(), *number);
    if (const json::value* const why = fields.maybe("unscored"); why && why->is_object())
        for (const auto& entry : why->get_object())
            if (const auto reason = find_string(*why, entry.key());
                reason && out.seen.unscored.size() < kScorersMax)
                out.seen.unscored.emplace(entry.key(), *reason);
    TRY_DO(fields.check("a picture of a quality session"));
    return out;
}

}  // namespace plimsoll::quality
