// SPDX-License-Identifier: Apache-2.0
//
// plimsoll serve: the daemon. It lives here because it names the concrete classes of every folder.
#pragma once
#include "cli/commands.h"

namespace plimsoll::daemon {

void add_serve(cli::Commands& commands);

}  // namespace plimsoll::daemon
