// SPDX-License-Identifier: Apache-2.0
#include "guard/facts.h"

#include "base/json.h"
#include "base/phrase_json.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace plimsoll::guard {

namespace {

json::value number_or_null(const std::optional<double>& value) {
    return value ? json::value(*value) : json::value(nullptr);
}
json::value bytes_or_null(const std::optional<Bytes>& value) {
    return value ? json::value(value->count) : json::value(nullptr);
}
std::optional<Bytes> bytes_at(const json::value& object, std::string_view key) {
    const auto count = find_int(object, key);
    return count ? std::optional(Bytes(*count)) : std::nullopt;
}
std::string text_at(const json::value& object, std::string_view key) {
    return std::string(find_string(object, key).value_or(""));
}
std::vector<std::string> texts_at(const json::value& object, std::string_view key) {
    std::vector<std::string> texts;
    const json::value* const list = find(object, key);
    if (list == nullptr || !list->is_array()) return texts;
    for (const json::value& one : list->get_array())
        if (one.is_string()) texts.emplace_back(one.get_string());
    return texts;
}
int count_at(const json::value& object, std::string_view key) {
    return static_cast<int>(std::clamp<std::int64_t>(find_int(object, key).value_or(0), 0, 1000));
}
json::array array_of(const std::vector<std::string>& texts) {
    json::array list;
    for (const std::string& text : texts) list.emplace_back(text);
    return list;
}

// A version before this one wrote the sentence alone.
Phrase phrase_at(const json::value& object, std::string_view key) {
    const json::value* const value = find(object, key);
    return value == nullptr ? Phrase() : phrase_from_json(*value);
}
Phrases phrases_at(const json::value& object, std::string_view key) {
    Phrases phrases;
    const json::value* const list = find(object, key);
    if (list == nullptr || !list->is_array()) return phrases;
    for (const json::value& one : list->get_array()) phrases.push_back(phrase_from_json(one));
    return phrases;
}
json::array array_of(const Phrases& phrases) {
    json::array list;
    for (const Phrase& phrase : phrases) list.emplace_back(phrase_to_json(phrase));
    return list;
}

json::value latent_or_null(const std::optional<LatentCut>& cut) {
    if (!cut) return nullptr;
    return json::object{{"samplerId", cut->sampler_id},
                        {"slot", cut->slot},
                        {"decodeId", cut->decode_id},
                        {"stem", cut->stem},
                        {"state", static_cast<std::int64_t>(cut->state)}};
}
std::optional<LatentCut> latent_at(const json::value& facts) {
    const json::value* const cut = find(facts, "latent");
    if (cut == nullptr || !cut->is_object()) return std::nullopt;
    constexpr auto kLast = static_cast<std::int64_t>(LatentCut::State::Loaded);
    const std::int64_t state = find_int(*cut, "state").value_or(0);
    return LatentCut{.sampler_id = text_at(*cut, "samplerId"),
                     .slot = count_at(*cut, "slot"),
                     .decode_id = text_at(*cut, "decodeId"),
                     .stem = text_at(*cut, "stem"),
                     .state = state >= 0 && state <= kLast ? static_cast<LatentCut::State>(state)
                                                           : LatentCut::State::Saving};
}

}  // namespace

std::string_view stop_cause_name(StopCause cause) {
    switch (cause) {
        case StopCause::Heat:
            return "heat";
        case StopCause::Time:
            return "time";
        case StopCause::Spilled:
            return "spilled";
        case StopCause::Stalled:
            return "stalled";
        case StopCause::Drifted:
            return "drifted";
        case StopCause::Crept:
            return "crept";
    }
    return "time";
}

std::optional<StopCause> parse_stop_cause(std::string_view name) {
    for (const StopCause cause : {StopCause::Heat, StopCause::Time, StopCause::Spilled,
                                  StopCause::Stalled, StopCause::Drifted, StopCause::Crept})
        if (stop_cause_name(cause) == name) return cause;
    return std::nullopt;
}

std::optional<Failure> failure_of(StopCause cause) {
    switch (cause) {
        case StopCause::Heat:
        case StopCause::Time:
            return std::nullopt;
        case StopCause::Spilled:
            return Failure::Spilled;
        case StopCause::Stalled:
            return Failure::Stalled;
        case StopCause::Drifted:
            return Failure::Drifted;
        case StopCause::Crept:
            return Failure::Crept;
    }
    return std::nullopt;
}

void note_event(Facts& facts, Phrase event) {
    facts.events.push_back(std::move(event));
    if (facts.events.size() > kEventsMax) facts.events.erase(facts.events.begin());
}

std::string encode_facts(const Facts& facts) {
    json::array edits;
    for (const Edit& edit : facts.edits)
        edits.push_back(json::object{{"knob", edit.knob},
                                     {"nodeId", edit.node_id},
                                     {"input", edit.input},
                                     {"from", edit.from},
                                     {"to", edit.to},
                                     {"what", phrase_to_json(edit.what)}});
    return json::serialize(
        json::object{{"client", facts.client},
                     {"number", facts.number},
                     {"model", facts.model},
                     {"shape", facts.shape},
                     {"digest", facts.digest},
                     {"strict", facts.strict},
                     {"mayChange", facts.may_change},
                     {"anyway", facts.anyway},
                     {"stopLate", facts.stop_late},
                     {"pins", array_of(facts.pins)},
                     {"peakBytes", bytes_or_null(facts.peak)},
                     {"floorBytes", bytes_or_null(facts.floor)},
                     {"seconds", number_or_null(facts.seconds)},
                     {"loadSeconds", facts.load_seconds},
                     {"edits", std::move(edits)},
                     {"asItIs", facts.tries.as_it_is},
                     {"planLevel", facts.tries.plan_level},
                     {"serversLost", facts.tries.servers_lost},
                     {"stops", facts.tries.stops},
                     {"sentMs", facts.sent_ms},
                     {"stopping", facts.stopping ? json::value(stop_cause_name(*facts.stopping))
                                                 : json::value(nullptr)},
                     {"stopReason", phrase_to_json(facts.stop_reason)},
                     {"latent", latent_or_null(facts.latent)},
                     {"drift", facts.drift},
                     {"events", array_of(facts.events)}});
}

Facts decode_facts(std::string_view text) {
    Facts facts;
    const auto parsed = parse_json(text);
    if (!parsed) return facts;
    facts.client = text_at(*parsed, "client");
    facts.number = text_at(*parsed, "number");
    if (facts.number.empty()) facts.number = "0";
    facts.model = text_at(*parsed, "model");
    facts.shape = text_at(*parsed, "shape");
    facts.digest = text_at(*parsed, "digest");
    facts.strict = find_bool(*parsed, "strict").value_or(false);
    facts.may_change = find_bool(*parsed, "mayChange").value_or(false);
    facts.anyway = find_bool(*parsed, "anyway").value_or(false);
    facts.stop_late = find_bool(*parsed, "stopLate").value_or(false);
    facts.pins = texts_at(*parsed, "pins");
    facts.peak = bytes_at(*parsed, "peakBytes");
    facts.floor = bytes_at(*parsed, "floorBytes");
    facts.seconds = find_number(*parsed, "seconds");
    facts.load_seconds = find_number(*parsed, "loadSeconds").value_or(0);
    const json::value* const edits = find(*parsed, "edits");
    if (edits != nullptr && edits->is_array())
        for (const json::value& edit : edits->get_array())
            facts.edits.push_back({.knob = text_at(edit, "knob"),
                                   .node_id = text_at(edit, "nodeId"),
                                   .input = text_at(edit, "input"),
                                   .from = text_at(edit, "from"),
                                   .to = text_at(edit, "to"),
                                   .what = phrase_at(edit, "what")});
    facts.tries = {.as_it_is = count_at(*parsed, "asItIs"),
                   .plan_level = count_at(*parsed, "planLevel"),
                   .servers_lost = count_at(*parsed, "serversLost"),
                   .stops = count_at(*parsed, "stops")};
    facts.sent_ms = find_int(*parsed, "sentMs").value_or(0);
    facts.stopping = parse_stop_cause(text_at(*parsed, "stopping"));
    facts.stop_reason = phrase_at(*parsed, "stopReason");
    facts.latent = latent_at(*parsed);
    constexpr double kDriftMax = 1'000;  // chosen: above any card's bytes over a forecast's
    facts.drift = std::clamp(find_number(*parsed, "drift").value_or(1), 1.0, kDriftMax);
    facts.events = phrases_at(*parsed, "events");
    return facts;
}

}  // namespace plimsoll::guard
