// SPDX-License-Identifier: Apache-2.0
//
// What the encoders share. Private to wire.
#pragma once
#include "advisor/forecaster.h"
#include "base/json.h"
#include "base/phrase.h"
#include "base/units.h"
#include "wire/encode_phrase.h"

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::wire {

[[nodiscard]] inline json::array texts(const std::vector<std::string>& list) {
    json::array array;
    for (const std::string& text : list) array.emplace_back(text);
    return array;
}

[[nodiscard]] inline json::array texts(const Phrases& list) {
    return texts(messages_of(list));
}

[[nodiscard]] inline json::value message_or_null(const Phrase& phrase) {
    return phrase.empty() ? json::value(nullptr) : json::value(phrase.message());
}

template <class T>
[[nodiscard]] json::value or_null(const std::optional<T>& value) {
    if (value) return json::value(*value);
    return nullptr;
}

[[nodiscard]] inline json::value bytes_or_null(const std::optional<Bytes>& value) {
    if (value) return json::value(value->count);
    return nullptr;
}

[[nodiscard]] json::object encode_judgement(const advisor::Judgement& judged);
[[nodiscard]] json::array encode_phases(const advisor::PricedForecast& priced);
// The numbers that every answer about a forecast has.
[[nodiscard]] json::object encode_priced(const advisor::PricedForecast& priced,
                                         const advisor::Budget& budget, memory::Verdict verdict,
                                         const advisor::Judgement& judged);

}  // namespace plimsoll::wire
