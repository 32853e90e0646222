// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_phrase.h"

#include "base/phrase_json.h"

#include <utility>

namespace plimsoll::wire {

json::object encode_phrase(const Phrase& phrase) {
    return phrase_to_json(phrase);
}

json::array encode_phrases(const Phrases& phrases) {
    json::array list;
    for (const Phrase& phrase : phrases) list.emplace_back(encode_phrase(phrase));
    return list;
}

json::value phrase_or_null(const Phrase& phrase) {
    return phrase.empty() ? json::value(nullptr) : json::value(encode_phrase(phrase));
}

json::value with_phrase(json::value details, const Phrase& message) {
    if (message.code().empty()) return details;
    json::object more;
    if (details.is_object()) more = std::move(details.get_object());
    more["phrase"] = encode_phrase(message);
    return more;
}

}  // namespace plimsoll::wire
