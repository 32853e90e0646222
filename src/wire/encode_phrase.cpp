// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_phrase.h"

#include <string>
#include <variant>

namespace plimsoll::wire {

namespace {

json::value encode_value(const PhraseValue& value, PhraseUnit unit) {
    if (const auto* text = std::get_if<std::string>(&value)) return json::value(*text);
    if (const auto* count = std::get_if<std::int64_t>(&value)) return *count;
    if (const auto* number = std::get_if<double>(&value)) return *number;
    if (const auto* bytes = std::get_if<Bytes>(&value)) return bytes->count;
    const auto& phrases = std::get<Phrases>(value);
    if (unit != PhraseUnit::Phrase) return encode_phrases(phrases);
    return phrases.empty() ? json::value(nullptr) : json::value(encode_phrase(phrases.front()));
}

}  // namespace

json::object encode_phrase(const Phrase& phrase) {
    json::object params;
    for (const Phrase::Param& param : phrase.params())
        params[param.name] = json::object{{"unit", phrase_unit_name(param.unit)},
                                          {"value", encode_value(*param.value, param.unit)}};
    return {{"code", phrase.code()}, {"params", std::move(params)}, {"message", phrase.message()}};
}

json::array encode_phrases(const Phrases& phrases) {
    json::array list;
    for (const Phrase& phrase : phrases) list.emplace_back(encode_phrase(phrase));
    return list;
}

json::value phrase_or_null(const Phrase& phrase) {
    return phrase.empty() ? json::value(nullptr) : json::value(encode_phrase(phrase));
}

}  // namespace plimsoll::wire
