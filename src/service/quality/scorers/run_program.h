// SPDX-License-Identifier: Apache-2.0
//
// Runs a program of the user's with a text on its standard input and takes what it prints. Without
// a shell, in a session of its own, with limits; at the deadline it and all that it started are
// killed.
//
// Enters through: a process's standard output.   Leaves through: text.   Threads: any; the caller
// waits.
#pragma once
#include "base/error.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::service {

struct ProgramRun {
    std::span<const std::string> command;  // its program is looked for in PATH
    std::string_view input;
    std::chrono::milliseconds deadline{30'000};
    std::size_t output_bytes_max = std::size_t{64} << 10U;
    const std::atomic<bool>* left = nullptr;  // set: killed at once
};

// What it printed, when it ended by itself with 0. NotFound (no such program), Unavailable (ended
// otherwise, with the last line of its standard error; the deadline; `left`), LimitExceeded (it
// printed more).
[[nodiscard]] Result<std::string> run_program(const ProgramRun& run);

// Control characters as spaces: what programs print is shown in lines.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace plimsoll::service
