// SPDX-License-Identifier: Apache-2.0
//
// A phrase as JSON, {"code", "params": {name: {"unit", "value"}}, "message"}: for the wire, and for
// what is kept in the history until a page words it (docs/openapi.yaml, Phrase).
//
// Enters through: Phrase, JSON.   Leaves through: JSON, Phrase.   Threads: no shared state.
#pragma once
#include "base/json.h"
#include "base/phrase.h"

namespace plimsoll {

[[nodiscard]] json::object phrase_to_json(const Phrase& phrase);
// As it was written. A code that this version does not know, or whose values are others by now, is
// what its message said in English; null, or no phrase at all: nothing is said. A text, as earlier
// versions kept it, is a plain phrase.
[[nodiscard]] Phrase phrase_from_json(const json::value& value);

}  // namespace plimsoll
