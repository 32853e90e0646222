// SPDX-License-Identifier: Apache-2.0
//
// JSON as JavaScript writes it: every number is a double and is written the shortest way, 5.0 as 5,
// 18446744073709551615 as 18446744073709552000. The front end reads and writes whole workflows so.
//
// Threads: pure.
#pragma once
#include "base/json.h"

#include <string>

namespace plimsoll::workflow {

// Two spaces for each level, starting at `indent` levels, as the front end's export.
void append_script_json(std::string& out, const json::value& value, std::size_t indent);

// The text that JavaScript makes of a value beside another text: 5, true, null, the text itself.
[[nodiscard]] std::string script_text(const json::value& value);

}  // namespace plimsoll::workflow
