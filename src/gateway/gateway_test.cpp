// SPDX-License-Identifier: Apache-2.0
// Goal: what a hook says is done, what it fails to say changes nothing, and what passes is heard
// without being held up. Method: a hook that does what the test says, between a client and a server
// that say exactly what they are told.
#include "gateway/gateway.h"

#include "net/relay/frame_tap.h"
#include "net/relay/relay_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>

namespace plimsoll::gateway {
namespace {

using net::RawPeer;
using net::RawServer;

class TestHook final : public PromptHook {
  public:
    std::function<PromptDecision(PromptCall&)> decision;
    std::function<std::optional<Answer>(const ClientRequest&)> own_answer;
    std::function<std::optional<Answer>(const ClientRequest&, const Answer&)> change;
    std::atomic<std::int64_t> held = 0;
    std::atomic<HookDoor*> door = nullptr;

    void attach(HookDoor& given) override { door = &given; }
    void detach() override { door = nullptr; }
    PromptDecision decide(PromptCall& call) override {
        return decision ? decision(call) : PromptDecision(Forward{});
    }
    [[nodiscard]] bool wants(Route route) const noexcept override {
        return route == Route::GetQueue && (own_answer || change);
    }
    std::optional<Answer> answer(const ClientRequest& request) override {
        return own_answer ? own_answer(request) : std::nullopt;
    }
    std::optional<Answer> amend(const ClientRequest& request, const Answer& upstream) override {
        return change ? change(request, upstream) : std::nullopt;
    }
    [[nodiscard]] std::int64_t held_jobs() const noexcept override { return held; }
};

class TestObserver final : public GatewayObserver {
  public:
    void on_message(const UpstreamMessage& message) override {
        note((message.binary ? "b " : "t ") + message.client_id + " " + message.bytes);
    }
    void on_prompt_answered(std::uint64_t, int status, const std::string& body) override {
        note("prompt " + std::to_string(status) + " " + body);
    }
    void on_client(const std::string& client_id, bool connected) override {
        note((connected ? "open " : "closed ") + client_id);
    }
    void on_upstream(bool reachable, const std::string&) override {
        note(reachable ? "up" : "down");
    }
    void wait_for(const std::string& what) {
        std::unique_lock lock(mutex_);
        EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] {
            return std::ranges::find(heard_, what) != heard_.end();
        })) << what;
    }
    [[nodiscard]] std::vector<std::string> heard() {
        const std::lock_guard lock(mutex_);
        return heard_;
    }

  private:
    void note(std::string what) {
        {
            const std::lock_guard lock(mutex_);
            heard_.push_back(std::move(what));
        }
        changed_.notify_all();
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> heard_;
};

std::unique_ptr<Gateway> gateway_to(int port, PromptHook* hook, GatewayObserver* observer = nullptr,
                                    std::chrono::milliseconds wait = std::chrono::minutes(1)) {
    GatewayOptions options;
    options.port = 0;
    options.upstream = {.host = "127.0.0.1", .port = port};
    options.hook = hook;
    options.observer = observer;
    options.hook_wait = wait;
    auto gateway = Gateway::start(std::move(options));
    EXPECT_TRUE(gateway) << gateway.error().message;
    return std::move(*gateway);
}

std::string post(const std::string& body, const std::string& lines = "") {
    return "POST /prompt HTTP/1.1\r\nHost: 127.0.0.1:8189\r\n" + lines +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Answers a prompt with its own body in "got"; counts prompts.
struct Comfy {
    std::atomic<int> prompts = 0;
    RawServer server{[this](RawPeer& peer, int) {
        for (;;) {
            const std::string head = peer.read_until("\r\n\r\n");
            if (head.empty()) return;
            std::string body;
            if (const auto at = head.find("Content-Length: "); at != std::string::npos)
                body = peer.read_exactly(std::stoul(head.substr(at + 16)));
            if (head.starts_with("POST /prompt")) ++prompts;
            const std::string answer = head.starts_with("POST")
                                           ? "{\"got\": \"" + body + "\", \"node_errors\": {}}"
                                           : std::string("{\"queue_running\": []}");
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                "Content-Length: " +
                std::to_string(answer.size()) + "\r\n\r\n" + answer);
        }
    }};
};

std::string answer_to(Gateway& gateway, const std::string& request) {
    const auto client = RawPeer::connect(gateway.port());
    client->send(request);
    std::string head = client->read_until("\r\n\r\n");
    const auto at = head.find("Content-Length: ");
    if (at == std::string::npos) return head;
    return head + client->read_exactly(std::stoul(head.substr(at + 16)));
}

TEST(Gateway, is_a_plain_proxy_without_a_hook) {
    Comfy comfy;
    const auto gateway = gateway_to(comfy.server.port(), nullptr);
    EXPECT_TRUE(answer_to(*gateway, post("x")).ends_with(R"({"got": "x", "node_errors": {}})"));
}

TEST(Gateway, forwards_with_edits_and_says_so) {
    Comfy comfy;
    TestHook hook;
    hook.decision = [](PromptCall& call) -> PromptDecision {
        EXPECT_EQ(call.body()->client_id, "me");
        EXPECT_EQ(call.request().route, Route::PostPrompt);
        return Forward{.body = "changed",
                       .answer_headers = {{"X-Plimsoll-Edits", "1"}},
                       .node_errors = R"({"5": {}})"};
    };
    const auto gateway = gateway_to(comfy.server.port(), &hook);
    const std::string answer = answer_to(*gateway, post(R"({"client_id": "me"})"));
    EXPECT_NE(answer.find("X-Plimsoll-Edits: 1\r\n"), std::string::npos);
    EXPECT_TRUE(answer.ends_with(R"({"got": "changed", "node_errors": {"5": {}}})")) << answer;
}

TEST(Gateway, holds_and_refuses_in_comfyuis_words_without_asking_it) {
    Comfy comfy;
    TestHook hook;
    hook.decision = [](PromptCall&) -> PromptDecision {
        return Hold{.prompt_id = "p-1", .number = "3"};
    };
    const auto gateway = gateway_to(comfy.server.port(), &hook);
    const std::string held = answer_to(*gateway, post("{}"));
    EXPECT_TRUE(held.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_NE(held.find("Content-Type: application/json; charset=utf-8\r\n"), std::string::npos);
    EXPECT_TRUE(held.ends_with(R"({"prompt_id": "p-1", "number": 3, "node_errors": {}})"));
    hook.decision = [](PromptCall&) -> PromptDecision {
        return Refusal{
            .type = "plimsoll_over_budget", .message = "too large", .details = "by 1 GiB"};
    };
    const std::string refused = answer_to(*gateway, post("{}"));
    EXPECT_TRUE(refused.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_NE(refused.find(R"("type": "plimsoll_over_budget")"), std::string::npos);
    EXPECT_EQ(comfy.prompts, 0);
}

TEST(Gateway, forwards_unchanged_when_the_hook_throws) {
    Comfy comfy;
    TestHook hook;
    const auto gateway = gateway_to(comfy.server.port(), &hook);
    for (const bool takes : {false, true}) {
        hook.decision = [takes](PromptCall& call) -> PromptDecision {
            if (takes) EXPECT_TRUE(call.take());
            throw std::runtime_error("out of order");
        };
        EXPECT_TRUE(answer_to(*gateway, post("x")).ends_with(R"({"got": "x", "node_errors": {}})"));
    }
    EXPECT_EQ(comfy.prompts, 2);
}

TEST(Gateway, forwards_once_when_the_hook_is_late_and_listens_to_it_no_more) {
    Comfy comfy;
    TestHook hook;
    std::promise<void> go_on;
    std::promise<bool> could_take;
    hook.decision = [&](PromptCall& call) -> PromptDecision {
        go_on.get_future().wait();
        could_take.set_value(call.take());
        return Hold{.prompt_id = "too late"};
    };
    const auto gateway =
        gateway_to(comfy.server.port(), &hook, nullptr, std::chrono::milliseconds(20));
    EXPECT_TRUE(answer_to(*gateway, post("x")).ends_with(R"({"got": "x", "node_errors": {}})"));
    go_on.set_value();
    EXPECT_FALSE(could_take.get_future().get());
    EXPECT_EQ(comfy.prompts, 1);
}

TEST(Gateway, waits_beyond_the_deadline_for_a_prompt_that_the_hook_took) {
    Comfy comfy;
    TestHook hook;
    hook.decision = [&](PromptCall& call) -> PromptDecision {
        EXPECT_TRUE(call.take());
        std::this_thread::sleep_for(std::chrono::milliseconds(60));  // three deadlines
        return Hold{.prompt_id = "kept"};
    };
    const auto gateway =
        gateway_to(comfy.server.port(), &hook, nullptr, std::chrono::milliseconds(20));
    const std::string answer = answer_to(*gateway, post("x"));
    // Unless the machine was so slow that it came too late to take it: then it was forwarded.
    EXPECT_EQ(answer.find("kept") != std::string::npos, comfy.prompts == 0);
}

TEST(Gateway, keeps_what_another_site_sends_from_the_hook) {
    Comfy comfy;
    TestHook hook;
    std::atomic<int> asked = 0;
    hook.decision = [&](PromptCall&) -> PromptDecision {
        ++asked;
        return Hold{.prompt_id = "p"};
    };
    const auto gateway = gateway_to(comfy.server.port(), &hook);
    EXPECT_NE(answer_to(*gateway, post("x", "Origin: http://evil.example\r\n")).find("got"),
              std::string::npos);
    EXPECT_EQ(asked, 0);
    EXPECT_NE(answer_to(*gateway, post("x", "Origin: http://127.0.0.1:8189\r\n")).find("\"p\""),
              std::string::npos);
    EXPECT_EQ(asked, 1);
}

const std::string kQueue = "GET /api/queue HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(Gateway, lets_the_hook_answer_and_amend_the_queues_routes) {
    Comfy comfy;
    TestHook hook;
    hook.change = [](const ClientRequest& request,
                     const Answer& upstream) -> std::optional<Answer> {
        EXPECT_EQ(request.target, "/api/queue");
        Answer mine = upstream;
        mine.body = mine.body.substr(0, mine.body.size() - 1) + ", \"held\": 1}";
        return mine;
    };
    const auto gateway = gateway_to(comfy.server.port(), &hook);
    EXPECT_TRUE(answer_to(*gateway, kQueue).ends_with(R"({"queue_running": [], "held": 1})"));
    hook.change = [](const ClientRequest&, const Answer&) -> std::optional<Answer> {
        throw std::runtime_error("out of order");
    };
    EXPECT_TRUE(answer_to(*gateway, kQueue).ends_with(R"({"queue_running": []})"));
    hook.own_answer = [](const ClientRequest&) { return Answer{.headers = {}, .body = "[]"}; };
    EXPECT_TRUE(answer_to(*gateway, kQueue).ends_with("\r\n\r\n[]"));
}

TEST(Gateway, shows_the_hook_that_comfyui_is_gone) {
    int port = 0;
    {
        Comfy gone;
        port = gone.server.port();
    }
    TestHook hook;
    hook.change = [](const ClientRequest&, const Answer& upstream) -> std::optional<Answer> {
        EXPECT_EQ(upstream.status, 502);
        return Answer{.headers = {}, .body = "{\"held\": 1}"};
    };
    const auto gateway = gateway_to(port, &hook);
    EXPECT_TRUE(answer_to(*gateway, kQueue).ends_with("{\"held\": 1}"));
    EXPECT_TRUE(answer_to(*gateway, post("x")).starts_with("HTTP/1.1 502"));
}

const std::string kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";

std::string status(int remaining, const std::string& sid = "") {
    return net::encode_frame(
        1,
        R"({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": )" +
            std::to_string(remaining) + "}}" + (sid.empty() ? "" : ", \"sid\": \"" + sid + "\"") +
            "}}",
        net::Sender::Server);
}

TEST(Gateway, counts_held_jobs_in_status_messages_and_speaks_to_its_clients) {
    std::promise<void> go_on;
    RawServer server([&](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch + status(2, number == 0 ? "made" : "B"));
        (void)peer.read_to_end();
    });
    TestHook hook;
    hook.held = 3;
    TestObserver observer;
    const auto gateway = gateway_to(server.port(), &hook, &observer);
    const auto open = [&](const std::string& target, const std::string& first) {
        auto client = RawPeer::connect(gateway->port());
        client->send("GET " + target +
                     " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        EXPECT_EQ(client->read_exactly(kSwitch.size()), kSwitch);
        EXPECT_EQ(client->read_exactly(first.size()), first);
        return client;
    };
    const auto made = open("/ws", status(5, "made"));
    const auto named = open("/api/ws?clientId=B", status(5, "B"));
    observer.wait_for("open made");
    observer.wait_for("open B");
    EXPECT_EQ(hook.door.load()->client_ids(), (std::vector<std::string>{"made", "B"}));
    hook.door.load()->send_to("made", "only you");
    hook.door.load()->broadcast("all");
    const auto frame = [](std::string_view text) {
        return net::encode_frame(1, text, net::Sender::Server);
    };
    EXPECT_EQ(made->read_exactly(15), frame("only you") + frame("all"));
    EXPECT_EQ(named->read_exactly(5), frame("all"));
    made->close();
    observer.wait_for("closed made");
}

TEST(Gateway, tells_an_observer_everything_and_waits_for_it_never) {
    std::promise<void> go_on;
    class Slow final : public GatewayObserver {
      public:
        explicit Slow(std::promise<void>& go_on) : until_(go_on.get_future().share()) {}
        void on_message(const UpstreamMessage&) override { until_.wait(); }

      private:
        std::shared_future<void> until_;
    } slow(go_on);
    const std::string picture =
        net::encode_frame(2, std::string(1 << 20, 'x'), net::Sender::Server);
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch);
        for (int i = 0; i < 100; ++i) peer.send(picture);
    });
    const auto gateway = gateway_to(server.port(), nullptr, &slow);
    const auto client = RawPeer::connect(gateway->port());
    client->send("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    // The observer is stuck with the first message; the client has them all.
    EXPECT_EQ(client->read_exactly(kSwitch.size() + 100 * picture.size()).size(),
              kSwitch.size() + 100 * picture.size());
    go_on.set_value();
}

TEST(Gateway, asks_the_hook_only_when_the_observer_has_heard_what_the_client_had) {
    // The observer takes its time, until the hook is asked or it would have been long ago.
    class SlowObserver final : public GatewayObserver {
      public:
        void on_message(const UpstreamMessage&) override {
            (void)asked.get_future().wait_for(std::chrono::milliseconds(50));
            heard = true;
        }
        std::promise<void> asked;
        std::atomic<bool> heard = false;
    };
    const std::string done = net::encode_frame(1, R"({"type": "executing"})", net::Sender::Server);
    RawServer server([&](RawPeer& peer, int) {
        const std::string head = peer.read_until("\r\n\r\n");
        if (!head.starts_with("GET /ws")) return;
        peer.send("HTTP/1.1 101 Switching Protocols\r\n\r\n" + done);
        (void)peer.read_to_end();
    });
    TestHook hook;
    SlowObserver observer;
    std::promise<bool> known;
    hook.decision = [&](PromptCall&) -> PromptDecision {
        known.set_value(observer.heard);
        observer.asked.set_value();
        return Refusal{};
    };
    const auto gateway = gateway_to(server.port(), &hook, &observer);
    const auto client = RawPeer::connect(gateway->port());
    client->send(
        "GET /ws?clientId=a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    (void)client->read_until(done);
    (void)answer_to(*gateway, post(R"({"prompt": {}})"));
    EXPECT_TRUE(known.get_future().get());
}

TEST(Gateway, tells_an_observer_how_prompts_were_answered) {
    Comfy comfy;
    TestObserver observer;
    TestHook hook;
    const auto gateway = gateway_to(comfy.server.port(), &hook, &observer);
    EXPECT_TRUE(answer_to(*gateway, post("x")).ends_with(R"({"got": "x", "node_errors": {}})"));
    observer.wait_for(R"(prompt 200 {"got": "x", "node_errors": {}})");
}

}  // namespace
}  // namespace plimsoll::gateway
