// SPDX-License-Identifier: Apache-2.0
//
// What a Guard is given: the machine around it, what its user wants, and whom it tells.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "guard/foresight.h"
#include "guard/held_view.h"
#include "guard/ledger.h"
#include "guard/policy.h"
#include "service/comfy_at_hand.h"
#include "service/place.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

struct GuardOptions {
    Policy policy = Policy::Fit;
    std::map<std::string, Policy> policy_of_client;  // by client_id
    std::optional<double> target_c;                  // for quiet nights
};

struct GuardParts {
    std::function<std::shared_ptr<const service::Place>()> place;
    service::ComfyAtHand& comfyui;
    // Where it fails jobs go on without being kept, and it is said.
    Ledger::Open open_store;
    const Clock& clock;
    std::uint64_t seed = 0;  // of ids
    GuardOptions options = {};
    // Starts ComfyUI anew; empty: nobody may.
    std::function<Result<void>()> restart_comfyui = nullptr;
    // Tests' law; nullptr: the real forecaster on the model files of this machine.
    Foresight::Make forecaster = nullptr;
};

// They come without a lock of the guard's held.
struct GuardCallbacks {
    std::function<void(const HeldView&)> on_job;  // something changed
    std::function<void(std::string_view code, const std::string& prompt_id, const Phrase& message)>
        on_warning;
    std::function<void(bool)> on_busy;  // a job is with ComfyUI, or none is any more
};

}  // namespace plimsoll::guard
