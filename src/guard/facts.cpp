// SPDX-License-Identifier: Apache-2.0
#include "guard/facts.h"

#include "base/json.h"

#include <algorithm>
#include <cstdint>

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

}  // namespace

std::string encode_facts(const Facts& facts) {
    json::array edits;
    for (const Edit& edit : facts.edits)
        edits.push_back(json::object{{"knob", edit.knob},
                                     {"nodeId", edit.node_id},
                                     {"input", edit.input},
                                     {"from", edit.from},
                                     {"to", edit.to},
                                     {"what", edit.what}});
    return json::serialize(json::object{{"client", facts.client},
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
                                   .what = text_at(edit, "what")});
    facts.tries = {.as_it_is = count_at(*parsed, "asItIs"),
                   .plan_level = count_at(*parsed, "planLevel"),
                   .servers_lost = count_at(*parsed, "serversLost")};
    facts.events = texts_at(*parsed, "events");
    return facts;
}

}  // namespace plimsoll::guard
