// SPDX-License-Identifier: Apache-2.0
//
// The simulated ComfyUI as a server of ours, for `generate --simulate`.
//
// Threads: as service::OwnServer.
#pragma once
#include "base/error.h"
#include "cli/world.h"
#include "service/own_server.h"

#include <memory>

namespace plimsoll::daemon {

// Starts nothing yet. NotFound for a card that cannot be simulated, with those that can.
[[nodiscard]] Result<std::unique_ptr<service::OwnServer>> make_simulated_server(
    const cli::SimulationWish& wish);

}  // namespace plimsoll::daemon
