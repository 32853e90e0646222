// SPDX-License-Identifier: Apache-2.0
//
// The simulated ComfyUI as a server of ours, for `generate --simulate` and `serve --simulate`.
//
// Threads: as service::OwnServer and service::ComfyAtHand.
#pragma once
#include "base/error.h"
#include "cli/world.h"
#include "service/comfy_at_hand.h"
#include "service/own_server.h"

#include <memory>
#include <string>
#include <vector>

namespace plimsoll::daemon {

// Starts nothing yet. NotFound for a card that cannot be simulated, with those that can.
[[nodiscard]] Result<std::unique_ptr<service::OwnServer>> make_simulated_server(
    const cli::SimulationWish& wish);

// The same at hand for a daemon: whoever reaches for it first starts it with `flags`.
class SimulatedComfyUiAtHand : public service::OwnServer, public service::ComfyAtHand {};
[[nodiscard]] Result<std::unique_ptr<SimulatedComfyUiAtHand>> make_simulated_at_hand(
    const cli::SimulationWish& wish, std::vector<std::string> flags);

}  // namespace plimsoll::daemon
