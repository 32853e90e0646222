// SPDX-License-Identifier: Apache-2.0
//
// The command by which the user lets ComfyUI be started anew.
#pragma once
#include "base/error.h"

#include <functional>
#include <string>

namespace plimsoll::daemon {

// Empty where the command is. It is run by /bin/sh in a session of its own and not waited for: it
// may stay and be ComfyUI. Its output goes where the daemon's goes.
[[nodiscard]] std::function<Result<void>()> restart_by_command(std::string command);

}  // namespace plimsoll::daemon
