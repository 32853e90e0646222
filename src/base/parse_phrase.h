// SPDX-License-Identifier: Apache-2.0
//
// The way back: an English sentence that say() made and that was handed on as a text, in an Error
// or a run of the history, as the phrase that says it, so that a page can word it in its reader's
// language. Only sentences that are said whole are looked for: errors, and how a job ended.
//
// Enters through: text.   Leaves through: Phrase.   Threads: no shared state.
#pragma once
#include "base/phrase.h"

#include <string_view>

namespace plimsoll {

// Always reads as `english` does; without a code where no sentence of ours is it. Values are as
// exact as the text has them: "4352 MiB" is 4352 MiB.
[[nodiscard]] Phrase parse_phrase(std::string_view english);

}  // namespace plimsoll
