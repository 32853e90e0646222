// SPDX-License-Identifier: Apache-2.0
//
// The door of `cli`: reads the arguments, runs the command that they name, returns the exit code.
//
// Enters through: arguments, World.   Leaves through: World's streams.   Threads: runs in the
// caller's.
#pragma once
#include "cli/commands.h"
#include "cli/world.h"

#include <functional>
#include <string>
#include <vector>

namespace plimsoll::cli {

// `add_more` declares commands that live elsewhere (the daemon's); may be empty.
[[nodiscard]] int run_command_line(const std::vector<std::string>& arguments, const World& world,
                                   const std::function<void(Commands&)>& add_more = {});

}  // namespace plimsoll::cli
