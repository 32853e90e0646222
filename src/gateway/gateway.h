// SPDX-License-Identifier: Apache-2.0
//
// The gateway: a transparent proxy in front of ComfyUI. Every request, answer and WebSocket frame
// passes as it came (net/relay); a PromptHook, where there is one, decides about prompts and
// amends the answers that must show held jobs. It fails open: whatever goes wrong in the hook, the
// client gets what ComfyUI says.
//
// Enters through: TCP connections, PromptHook.   Leaves through: TCP connections, GatewayObserver.
// Threads: it owns its own. Made and stopped by one thread.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "gateway/prompt_hook.h"
#include "net/relay/relay.h"

#include <chrono>
#include <memory>
#include <string>

namespace plimsoll::gateway {

struct GatewayOptions {
    std::string address = "127.0.0.1";
    int port = 8189;             // 0: any free one
    net::Endpoint upstream;      // ComfyUI
    PromptHook* hook = nullptr;  // null: a plain proxy. Outlives the gateway, as the next does.
    GatewayObserver* observer = nullptr;
    // For an answer of the hook; afterwards the request goes on as if there were none.
    std::chrono::milliseconds hook_wait{1'000};  // chosen: a hundred forecasts
    int hook_threads = 2;                        // chosen: one may read a model's header meanwhile
    const Clock* clock = &system_clock();
    // Waits and limits of the relay; its address, port, upstream and clock are set from the above.
    net::RelayOptions relay = {};  // NOLINT(readability-redundant-member-init)
};

class Gateway {
  public:
    // Unavailable when the port is taken or ComfyUI's name is unknown; InvalidInput where it would
    // stand in front of itself. ComfyUI need not be there yet.
    [[nodiscard]] static Result<std::unique_ptr<Gateway>> start(GatewayOptions options);
    virtual ~Gateway() = default;
    [[nodiscard]] virtual int port() const = 0;
    // Where requests go from now on; see Relay.
    [[nodiscard]] virtual Result<void> set_upstream(const net::Endpoint& upstream) = 0;
    [[nodiscard]] virtual net::RelayCounts counts() = 0;
    // Answers in progress end, WebSockets are told goodbye; what is left after `grace` is cut off.
    virtual void stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace plimsoll::gateway
