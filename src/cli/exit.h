// SPDX-License-Identifier: Apache-2.0
//
// Exit codes, the same for every command.
#pragma once
#include "base/error.h"

#include <cstdint>

namespace plimsoll::cli {

enum class Exit : std::uint8_t {
    Done = 0,
    Failed = 1,
    BadUsage = 2,
    DoesNotFit = 3,
    Unreachable = 4,  // ComfyUI
};

// Of an error on this machine. base/error.h maps Unavailable to 4 for errors of ComfyUI; a file or
// a database that cannot be used is Failed.
[[nodiscard]] constexpr Exit exit_of(const Error& error) {
    return error.code == Errc::InvalidInput ? Exit::BadUsage : Exit::Failed;
}

}  // namespace plimsoll::cli
