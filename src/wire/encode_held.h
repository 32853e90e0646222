// SPDX-License-Identifier: Apache-2.0
//
// The gateway's queue as JSON.
#pragma once
#include "base/json.h"
#include "guard/held_view.h"

namespace plimsoll::wire {

[[nodiscard]] json::object encode_held_job(const guard::HeldView& job);
[[nodiscard]] json::object encode_gateway(const guard::GuardView& view);

}  // namespace plimsoll::wire
