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

inline constexpr int kPastRunsMax = 1000;  // chosen: the newest of a model; older ones fade

// The finished runs of a model whose settings are known, newest first; `model` is a profile's name
// or a checkpoint. Pictures are not measured yet, so a run has the quality that its settings
// promise: draft 0.25, optimized 0.5, high 0.75, ultra 1.
[[nodiscard]] Result<std::vector<advisor::PastRun>> past_runs_of(
    history::Store& store, std::string_view model, std::span<const advisor::ModelProfile> profiles);

}  // namespace plimsoll::service
