// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C and SIGTERM, for commands that have something to finish.
//
// Threads: any.
#pragma once
#include <atomic>

namespace plimsoll::daemon {

// From the first call on: the first signal sets the flag, the second ends the process at once, as
// signals do by default. Waits of the process are woken.
[[nodiscard]] const std::atomic<bool>& watch_interrupts();

// From the first call on SIGHUP sets the flag instead of ending the process. Whoever acts on it
// clears it.
[[nodiscard]] std::atomic<bool>& watch_hangups();

}  // namespace plimsoll::daemon
