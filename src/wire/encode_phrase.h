// SPDX-License-Identifier: Apache-2.0
//
// What is said to people: {"code", "params", "message"} (docs/openapi.yaml, Phrase), so that a page
// words the code in its reader's language and has the English sentence where it knows none.
//
// Enters through: Phrase.   Leaves through: JSON.   Threads: no shared state.
#pragma once
#include "base/json.h"
#include "base/phrase.h"

namespace plimsoll::wire {

[[nodiscard]] json::object encode_phrase(const Phrase& phrase);
[[nodiscard]] json::array encode_phrases(const Phrases& phrases);
// null where nothing is said.
[[nodiscard]] json::value phrase_or_null(const Phrase& phrase);
// An error's details with "phrase", which says its message; as they are where its words are
// somebody else's.
[[nodiscard]] json::value with_phrase(json::value details, const Phrase& message);

}  // namespace plimsoll::wire
