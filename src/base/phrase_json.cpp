// SPDX-License-Identifier: Apache-2.0
#include "base/phrase_json.h"

#include "base/parse_phrase.h"
#include "base/phrase_catalogue.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace plimsoll {
namespace {

json::array list_to_json(const Phrases& phrases) {
    json::array list;
    for (const Phrase& phrase : phrases) list.emplace_back(phrase_to_json(phrase));
    return list;
}

json::value value_to_json(const PhraseValue& value, PhraseUnit unit) {
    if (const auto* text = std::get_if<std::string>(&value)) return json::value(*text);
    if (const auto* count = std::get_if<std::int64_t>(&value)) return *count;
    if (const auto* number = std::get_if<double>(&value)) return *number;
    if (const auto* bytes = std::get_if<Bytes>(&value)) return bytes->count;
    const auto& phrases = std::get<Phrases>(value);
    if (unit != PhraseUnit::Phrase) return list_to_json(phrases);
    return phrases.empty() ? json::value(nullptr) : json::value(phrase_to_json(phrases.front()));
}

// Of its place's kind; parse_json bounds how deep sentences lie within sentences.
std::optional<PhraseValue> value_from_json(const json::value& param, PhraseUnit unit) {
    const json::value* const value = find(param, "value");
    if (value == nullptr) return std::nullopt;
    switch (unit) {
        case PhraseUnit::Text:
        case PhraseUnit::Word:
            if (value->is_object()) return phrase_from_json(*value).message();
            if (!value->is_string()) return std::nullopt;
            return std::string(value->get_string());
        case PhraseUnit::Count:
            if (const auto count = find_int(param, "value")) return *count;
            return std::nullopt;
        case PhraseUnit::Bytes:
        case PhraseUnit::Gib:
            if (const auto bytes = find_int(param, "value")) return Bytes(*bytes);
            return std::nullopt;
        case PhraseUnit::Number:
        case PhraseUnit::Seconds:
        case PhraseUnit::Percent:
        case PhraseUnit::Celsius:
            if (const auto number = find_number(param, "value")) return *number;
            return std::nullopt;
        case PhraseUnit::Phrase:
            return Phrases{phrase_from_json(*value)};
        case PhraseUnit::Details:
        case PhraseUnit::Clauses:
            break;
    }
    if (!value->is_array()) return std::nullopt;
    Phrases list;
    for (const json::value& one : value->get_array()) list.push_back(phrase_from_json(one));
    return list;
}

std::optional<Phrase> coded(const json::value& value) {
    const auto code = find_string(value, "code");
    const json::value* const params = find(value, "params");
    if (!code || params == nullptr) return std::nullopt;
    const auto* const entry = std::ranges::find(kPhrases, *code, &PhraseEntry::code);
    if (entry == kPhrases.end()) return std::nullopt;
    std::vector<PhraseValue> values;
    std::string_view rest = entry->english;
    while (!rest.empty()) {
        const PhrasePlace place = next_place(rest);
        if (place.name.empty() || place.chooses) continue;
        const json::value* const param = find(*params, place.name);
        auto held =
            param == nullptr ? std::nullopt : value_from_json(*param, unit_of_place(place.unit));
        if (!held) return std::nullopt;
        values.push_back(std::move(*held));
    }
    return Phrase(*entry, std::move(values));
}

// A reason that was handed on as an error's text may be a sentence of ours all the same.
Phrase reason_of(const Phrase::Param& param) {
    const auto* const text = std::get_if<std::string>(param.value);
    return text != nullptr && param.name == "why" ? parse_phrase(*text) : Phrase();
}

}  // namespace

json::object phrase_to_json(const Phrase& phrase) {
    json::object params;
    for (const Phrase::Param& param : phrase.params()) {
        if (const Phrase reason = reason_of(param); !reason.code().empty())
            params[param.name] =
                json::object{{"unit", "phrase"}, {"value", phrase_to_json(reason)}};
        else
            params[param.name] = json::object{{"unit", phrase_unit_name(param.unit)},
                                              {"value", value_to_json(*param.value, param.unit)}};
    }
    return {{"code", phrase.code()}, {"params", std::move(params)}, {"message", phrase.message()}};
}

Phrase phrase_from_json(const json::value& value) {
    if (value.is_string()) return {std::string(value.get_string())};
    if (auto phrase = coded(value)) return std::move(*phrase);
    return {std::string(find_string(value, "message").value_or(""))};
}

}  // namespace plimsoll
