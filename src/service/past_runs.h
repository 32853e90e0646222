// SPDX-License-Identifier: Apache-2.0
//
// What the history tells about a model, as the advisor needs it to name its best settings.
//
// Enters through: history::Store.   Leaves through: PastRun.   Threads: as the Store.
#pragma once
#include "advisor/resource_manager.h"
#include "base/error.h"
#include "history/store.h"

#include <span>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// Chosen: of each number of steps (which is what quality hangs on) this many settings are looked
// at, the fastest first. More would only matter where all of these fit no longer.
inline constexpr int kPastSettingsMax = 16;

// Settings with which runs of the model came to their end, with the mean of their seconds and the
// highest of their peaks, from the running summaries: the cost does not grow with the number of
// runs. `model` is a profile's name or a checkpoint. Settings that a quality session has measured
// have that quality, of 1, also where no run used them; others what they promise: draft 0.25,
// optimized 0.5, high 0.75, ultra 1. No seed is among them.
[[nodiscard]] Result<std::vector<advisor::PastRun>> past_runs_of(
    history::Store& store, std::string_view model, std::span<const advisor::ModelProfile> profiles);

}  // namespace plimsoll::service
