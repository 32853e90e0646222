// SPDX-License-Identifier: Apache-2.0
//
// Goal: a client cannot tell the gateway from ComfyUI. Method: the recorded exchanges, which the
// simulator answers as the real server did (simulator/replay), once more through the gateway, with
// the same comparisons byte for byte; and once with a hook that looks at every prompt and lets it
// go.
#include "gateway/gateway.h"
#include "simulator/replay/replay.h"

namespace plimsoll::gateway {
namespace {

class LooksOnly final : public PromptHook {
  public:
    PromptDecision decide(PromptCall& call) override {
        (void)call.body();
        ++decided;
        return Forward{};
    }
    [[nodiscard]] bool wants(Route) const noexcept override { return true; }
    std::atomic<int> decided = 0;
};

std::unique_ptr<Gateway> gateway_to(int port, PromptHook* hook = nullptr) {
    GatewayOptions options;
    options.port = 0;
    options.upstream = {.host = "127.0.0.1", .port = port};
    options.hook = hook;
    options.hook_wait = std::chrono::minutes(1);  // however slow the machine is
    return Gateway::start(std::move(options)).value();
}

TEST(GatewayReplay, the_server_without_previews_answers_as_recorded) {
    std::unique_ptr<Gateway> gateway;
    simulator::replay_server_without_previews([&](int port) {
        gateway = gateway_to(port);
        return gateway->port();
    });
    EXPECT_GT(gateway->counts().requests, 100U);
}

TEST(GatewayReplay, the_server_with_previews_answers_as_recorded) {
    std::unique_ptr<Gateway> gateway;
    simulator::replay_server_with_previews([&](int port) {
        gateway = gateway_to(port);
        return gateway->port();
    });
    EXPECT_GT(gateway->counts().requests, 50U);
}

TEST(GatewayReplay, a_hook_that_only_looks_changes_nothing) {
    LooksOnly hook;
    std::unique_ptr<Gateway> gateway;
    simulator::replay_server_without_previews([&](int port) {
        gateway = gateway_to(port, &hook);
        return gateway->port();
    });
    EXPECT_GT(hook.decided, 20);
}

}  // namespace
}  // namespace plimsoll::gateway
