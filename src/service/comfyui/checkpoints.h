// SPDX-License-Identifier: Apache-2.0
//
// Which checkpoints a ComfyUI has, and what it calls them.
//
// Enters through: Upstream.   Leaves through: a name.   Threads: as Upstream.
#pragma once
#include "base/error.h"
#include "service/comfyui/upstream.h"

#include <string>

namespace plimsoll::service {

// The name under which this ComfyUI lists a checkpoint ("xl/model.safetensors" for
// "model.safetensors"). NotFound with the nearest names.
[[nodiscard]] Result<std::string> name_on_server(Upstream& upstream, const std::string& checkpoint);

}  // namespace plimsoll::service
