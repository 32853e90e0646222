// SPDX-License-Identifier: Apache-2.0
//
// plimsoll simulate: a simulated ComfyUI as a process of its own. It lives here because `cli` may
// not see `simulator`.
#pragma once
#include "cli/commands.h"

namespace plimsoll::daemon {

void add_simulate(cli::Commands& commands);

}  // namespace plimsoll::daemon
