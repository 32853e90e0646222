// SPDX-License-Identifier: Apache-2.0
//
// What the relay's tests share: a relay to a port, what both sides say most, a clock and a policy
// of the test's. Only tests include this.
#pragma once
#include "net/relay/frame_tap.h"
#include "net/relay/relay.h"
#include "net/relay/relay_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::net {

using std::chrono::milliseconds;

inline std::unique_ptr<Relay> relay_to(int port, RelayPolicy* policy = nullptr,
                                       RelayOptions options = {}) {
    options.upstream = {.host = "127.0.0.1", .port = port};
    auto relay = Relay::start(std::move(options), policy);
    EXPECT_TRUE(relay) << relay.error().message;
    return std::move(*relay);
}

inline const std::string kGet = "GET /queue HTTP/1.1\r\nHost: localhost:8189\r\n\r\n";
inline const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: Python\r\n\r\n{}";

// Answers every request without a body with `answer`.
inline RawServer::Serve answers(std::string answer) {
    return [answer = std::move(answer)](RawPeer& peer, int) {
        while (!peer.read_until("\r\n\r\n").empty()) peer.send(answer);
    };
}

// A clock that a test moves while the relay looks at it.
class TestClock final : public Clock {
  public:
    [[nodiscard]] std::chrono::nanoseconds steady() const override {
        return std::chrono::nanoseconds(now_.load());
    }
    [[nodiscard]] std::int64_t unix_ms() const override { return 0; }
    void advance(milliseconds by) { now_ += std::chrono::nanoseconds(by).count(); }

  private:
    std::atomic<std::int64_t> now_ = 1'000'000'000;
};

// Lets time pass until the client's connection ends; what it was told before.
inline std::string told_in_the_end(Relay& relay, TestClock& clock, RawPeer& client) {
    auto end = std::async(std::launch::async, [&] { return client.read_to_end(); });
    while (end.wait_for(milliseconds(2)) != std::future_status::ready) {
        clock.advance(milliseconds(1000));
        relay.post([] {});
    }
    return end.get();
}

inline const std::string kHandshake =
    "GET /ws?clientId=A HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: k\r\n\r\n";
inline const std::string kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";

inline std::string text_frame(std::string_view text) {
    return encode_frame(1, text, Sender::Server);
}

// A policy that records and does what the test says.
class TestPolicy final : public RelayPolicy {
  public:
    std::function<void(std::shared_ptr<RelayCall>)> request;
    std::function<void(std::shared_ptr<RelayCall>, RelayAnswer)> answer_hook;
    std::function<std::optional<std::string>(std::string_view)> exchange;
    std::string path = "/prompt";
    bool keyed = false;
    std::mutex mutex;
    std::vector<std::string> heard;
    std::vector<TunnelId> open;

    Passage passage(const RequestView& view) override {
        return view.target == path ? Passage::Whole : Passage::Through;
    }
    void on_request(std::shared_ptr<RelayCall> call) override { request(std::move(call)); }
    void on_answer(std::shared_ptr<RelayCall> call, RelayAnswer answer) override {
        if (answer_hook)
            answer_hook(std::move(call), std::move(answer));
        else
            call->pass();
    }
    std::string tunnel_key(const RequestView& view) override {
        return keyed ? std::string(view.target) : "";
    }
    bool listens(const RequestView&) override { return true; }
    void on_tunnel_open(TunnelId id, const std::string&) override {
        const std::lock_guard lock(mutex);
        open.push_back(id);
    }
    void on_tunnel_close(TunnelId id) override {
        const std::lock_guard lock(mutex);
        std::erase(open, id);
    }
    void on_tunnel_message(TunnelId, bool binary, bool, std::string_view bytes) override {
        const std::lock_guard lock(mutex);
        heard.push_back((binary ? "b:" : "t:") + std::string(bytes));
    }
    bool rewrites() override { return exchange != nullptr; }
    std::optional<std::string> rewrite(std::string_view text) override { return exchange(text); }
};

inline const std::string kPrompt =
    "POST /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

}  // namespace plimsoll::net
