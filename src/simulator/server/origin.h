// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's guard against pages of other sites: on a loopback host, Host and Origin must agree.
// Pure.
#pragma once
#include "net/http_message.h"

namespace plimsoll::simulator {

[[nodiscard]] bool origin_allowed(const net::RequestHead& request);

}  // namespace plimsoll::simulator
