// SPDX-License-Identifier: Apache-2.0
//
// JSON lines in, JSON lines out: one answer for each line, in order, as soon as it is there.
//
// Enters through: World::in.   Leaves through: World::out.   Threads: runs in the caller's.
#pragma once
#include "base/error.h"
#include "cli/exit.h"

#include <functional>
#include <string>
#include <string_view>

namespace plimsoll::cli {

class Session;

using AnswerLine = std::function<Result<std::string>(std::string_view)>;

// A line that cannot be answered is answered with {"error":...} and its number; then the exit code
// is 1 at the end. Empty lines are skipped. Memory does not grow with the input: a line longer than
// kLineBytesMax is such an error too.
[[nodiscard]] Result<Exit> answer_lines(Session& session, const AnswerLine& answer);

inline constexpr std::size_t kLineBytesMax = 8ULL << 20U;  // chosen: the longest recorded has 10 KB

}  // namespace plimsoll::cli
