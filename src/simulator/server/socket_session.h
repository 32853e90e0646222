// SPDX-License-Identifier: Apache-2.0
//
// One client on /ws, from handshake to farewell. Threads: the server's thread.
#pragma once
#include "net/server.h"
#include "simulator/server/app.h"

namespace plimsoll::simulator {

// Also answers requests on /ws that are no proper handshake.
[[nodiscard]] net::Task<void> run_socket(App& app, net::Exchange& exchange);

}  // namespace plimsoll::simulator
