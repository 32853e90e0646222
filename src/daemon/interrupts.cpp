// SPDX-License-Identifier: Apache-2.0
#include "daemon/interrupts.h"

#include <csignal>

namespace plimsoll::daemon {

namespace {

std::atomic<bool> interrupted = false;
std::atomic<bool> hung_up = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler writes it");

// Either signal gives both back to the system: Ctrl-C after a SIGTERM leaves at once too.
void note_interrupt(int /*signal*/) {
    interrupted = true;
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

void note_hangup(int /*signal*/) {
    hung_up = true;
}

}  // namespace

std::atomic<bool>& watch_hangups() {
    struct sigaction action{};
    action.sa_handler = note_hangup;  // NOLINT(cppcoreguidelines-pro-type-union-access)
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGHUP, &action, nullptr);
    return hung_up;
}

const std::atomic<bool>& watch_interrupts() {
    struct sigaction action{};
    action.sa_handler = note_interrupt;  // NOLINT(cppcoreguidelines-pro-type-union-access)
    sigemptyset(&action.sa_mask);
    action.sa_flags = 0;  // no SA_RESTART: a blocked read returns
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    return interrupted;
}

}  // namespace plimsoll::daemon
