// SPDX-License-Identifier: Apache-2.0
//
// A ComfyUI of ours: Plimsoll starts it, and starts it again with the flags that a plan asks for,
// so that the load line holds in what is observed (docs/adr/0001). The daemon knows the real ones;
// the first is the simulated ComfyUI.
//
// Threads: as Upstream.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "service/comfyui/upstream.h"

#include <string>
#include <vector>

namespace plimsoll::service {

class OwnServer {
  public:
    virtual ~OwnServer() = default;

    // "simulated": stands behind the card's name in the history.
    [[nodiscard]] virtual std::string kind() const = 0;
    // Starts it with these flags; what ran before is stopped, its queue and its models are gone.
    // The Upstream is the server's own and is valid until the next start.
    [[nodiscard]] virtual Result<Upstream*> start(const std::vector<std::string>& flags) = 0;
    // The server's time, for deadlines: a simulated card may run faster than ours.
    [[nodiscard]] virtual const Clock& clock() const = 0;
    // What durations are measured with: it passes while the server works and may stand still
    // otherwise.
    [[nodiscard]] virtual const Clock& stopwatch() const = 0;
    // Its seconds in one of ours; 0: as fast as it can, durations mean nothing.
    [[nodiscard]] virtual double speed() const = 0;
};

}  // namespace plimsoll::service
