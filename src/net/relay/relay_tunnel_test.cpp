// SPDX-License-Identifier: Apache-2.0
// Goal: a WebSocket passes both ways, is heard, spoken into and given up as the server needs it.
// Method: real sockets whose two ends say exactly what the test tells them.
#include "net/relay/relay_test_parts.h"

namespace plimsoll::net {
namespace {

TEST(RelayTunnel, passes_both_ways_and_offers_no_packing) {
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int) {
        seen.set_value(peer.read_until("\r\n\r\n"));
        peer.send(kSwitch + text_frame("first"));
        const std::string got = peer.read_exactly(8);
        peer.send(got);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake + "12345678");  // no frames: they pass all the same
    EXPECT_EQ(client->read_until("\r\n\r\n"), kSwitch);
    EXPECT_EQ(client->read_exactly(7), text_frame("first"));
    EXPECT_EQ(client->read_exactly(8), "12345678");
    EXPECT_EQ(seen.get_future().get().find("permessage"), std::string::npos);
    client->finish();
    EXPECT_EQ(client->read_to_end(), "");
}

TEST(RelayTunnel, ends_with_either_side) {
    RawServer server([](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch);
        if (number == 1) (void)peer.read_to_end();  // else the server leaves first
    });
    const auto relay = relay_to(server.port());
    const auto first = RawPeer::connect(relay->port());
    first->send(kHandshake);
    EXPECT_EQ(first->read_to_end(), kSwitch);
    first->close();
    const auto second = RawPeer::connect(relay->port());
    second->send(kHandshake);
    EXPECT_EQ(second->read_exactly(kSwitch.size()), kSwitch);
    second->reset();
    while (relay->counts().sessions != 0) std::this_thread::sleep_for(milliseconds(1));
}

TEST(RelayTunnel, leaves_a_server_that_another_one_follows) {
    std::promise<void> shaking;
    std::promise<void> go_on;
    RawServer former([&](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        if (number == 1) {
            shaking.set_value();
            go_on.get_future().wait();
        }
        peer.send(kSwitch);
        (void)peer.read_to_end();
    });
    RawServer current(answers(kOk));
    const auto relay = relay_to(former.port());
    const auto open = RawPeer::connect(relay->port());
    open->send(kHandshake);
    EXPECT_EQ(open->read_exactly(kSwitch.size()), kSwitch);
    const auto opening = RawPeer::connect(relay->port());
    opening->send(kHandshake);
    shaking.get_future().wait();
    ASSERT_TRUE(relay->set_upstream({.host = "127.0.0.1", .port = current.port()}));
    const std::string goodbye = encode_frame(8, std::string("\x03\xe9", 2), Sender::Server);
    EXPECT_EQ(open->read_to_end(), goodbye);
    go_on.set_value();
    EXPECT_EQ(opening->read_to_end(), kSwitch + goodbye);
}

TEST(RelayTunnel, passes_on_a_refused_handshake) {
    RawServer server(answers("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake);
    EXPECT_TRUE(client->read_until("\r\n\r\n").starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

TEST(RelayTunnel, forgets_the_key_of_a_handshake_that_was_refused) {
    const std::string refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    const auto shake = [](std::string_view id) {
        return "GET /ws?clientId=" + std::string(id) +
               " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    };
    std::promise<void> asked;
    std::promise<void> go_on;
    std::atomic<int> count = 0;
    RawServer server([&](RawPeer& peer, int) {
        while (!peer.read_until("\r\n\r\n").empty()) {
            if (count++ == 0) {
                asked.set_value();
                go_on.get_future().wait();
            }
            peer.send(refused);
        }
    });
    TestPolicy policy;
    policy.keyed = true;
    const auto relay = relay_to(server.port(), &policy);
    const auto first = RawPeer::connect(relay->port());
    first->send(shake("A"));
    asked.get_future().wait();
    // It waits for the first, whose connection stays.
    const auto second = RawPeer::connect(relay->port());
    second->send(shake("A"));
    while (relay->counts().requests < 2) std::this_thread::sleep_for(milliseconds(1));
    go_on.set_value();
    EXPECT_EQ(first->read_exactly(refused.size()), refused);
    EXPECT_EQ(second->read_exactly(refused.size()), refused);
    // The same connection under another key, then none: nobody finds it under the first.
    first->send(shake("B"));
    EXPECT_EQ(first->read_exactly(refused.size()), refused);
    first->close();
    second->close();
    while (relay->counts().sessions != 0) std::this_thread::sleep_for(milliseconds(1));
    const auto third = RawPeer::connect(relay->port());
    third->send(shake("A"));
    EXPECT_EQ(third->read_exactly(refused.size()), refused);
}

TEST(RelayTunnel, lets_a_third_wait_for_what_the_second_no_longer_waits_for) {
    std::promise<void> go_on;
    std::atomic<bool> first_is_over = false;
    std::atomic<int> too_early = 0;
    RawServer server([&](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        if (number != 0 && !first_is_over) ++too_early;
        peer.send(kSwitch);
        (void)peer.read_exactly(8);  // the relay's goodbye
        if (number == 0) go_on.get_future().wait();
        first_is_over = true;
    });
    TestPolicy policy;
    policy.keyed = true;
    TestClock clock;  // the first one's time for its goodbye does not run out
    RelayOptions options;
    options.clock = &clock;
    const auto relay = relay_to(server.port(), &policy, options);
    const auto first = RawPeer::connect(relay->port());
    first->send(kHandshake);
    EXPECT_EQ(first->read_exactly(kSwitch.size()), kSwitch);
    const auto second = RawPeer::connect(relay->port());
    second->send(kHandshake);
    while (relay->counts().requests < 2) std::this_thread::sleep_for(milliseconds(1));
    second->reset();
    while (relay->counts().sessions != 1) std::this_thread::sleep_for(milliseconds(1));
    const auto third = RawPeer::connect(relay->port());
    third->send(kHandshake);
    while (relay->counts().requests < 3) std::this_thread::sleep_for(milliseconds(1));
    go_on.set_value();
    EXPECT_EQ(third->read_exactly(kSwitch.size()), kSwitch);
    EXPECT_EQ(too_early, 0);
    third->close();
}

TEST(RelayTunnel, stops_reading_an_orphan_that_takes_no_answers) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch);
        (void)peer.read_exactly(8);  // our goodbye
    });
    TestPolicy policy;
    policy.keyed = true;
    const auto relay = relay_to(server.port(), &policy);
    const auto older = RawPeer::connect(relay->port());
    older->set_receive_room(4096);
    older->send(kHandshake);
    EXPECT_EQ(older->read_exactly(kSwitch.size()), kSwitch);
    const auto newer = RawPeer::connect(relay->port());
    newer->send(kHandshake);
    EXPECT_EQ(newer->read_exactly(kSwitch.size()), kSwitch);
    // Pings without end: what is not read back fills the way to the relay, not its memory.
    const std::string ping = encode_frame(9, std::string(125, 'p'), Sender::Client);
    std::string many;
    for (int i = 0; i < 10'000; ++i) many += ping;
    const timeval patience{.tv_sec = 0, .tv_usec = 200'000};
    ::setsockopt(older->descriptor(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    bool taken = true;
    for (int i = 0; i < 100 && taken; ++i) taken = older->send(many);  // 130 MB in all
    EXPECT_FALSE(taken);
}

TEST(RelayTunnel, waits_for_a_server_that_is_not_there_yet) {
    int port = 0;
    {
        RawServer gone(answers(kOk));
        port = gone.port();
    }
    std::unique_ptr<RawServer> server;  // outlives the relay
    RelayOptions options;
    options.handshake_retry = milliseconds(5);
    const auto relay = relay_to(port, nullptr, options);
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake);
    while (relay->counts().requests == 0) std::this_thread::sleep_for(milliseconds(1));
    server = std::make_unique<RawServer>(
        [](RawPeer& peer, int) {
            (void)peer.read_until("\r\n\r\n");
            peer.send(kSwitch);
            (void)peer.read_to_end();
        },
        port);
    ASSERT_TRUE(server->is_open());
    EXPECT_EQ(client->read_exactly(kSwitch.size()), kSwitch);
}

TEST(RelayTunnel, never_lets_the_server_wait_for_a_client_that_does_not_read) {
    constexpr std::size_t kPieces = 256;
    std::promise<void> all_sent;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch);
        const std::string frame = encode_frame(2, std::string(1U << 17U, 'x'), Sender::Server);
        for (std::size_t i = 0; i < kPieces; ++i) peer.send(frame);  // 32 MiB
        all_sent.set_value();
        while (peer.send(frame)) {  // until it is cut off
        }
    });
    TestClock clock;
    RelayOptions options;
    options.clock = &clock;
    options.tunnel_queue_bytes_max = 48U << 20U;
    const auto relay = relay_to(server.port(), nullptr, options);
    const auto client = RawPeer::connect(relay->port());
    client->set_receive_room(4096);
    client->send(kHandshake);
    all_sent.get_future().wait();  // no time has passed
    while (relay->counts().sessions != 0) {
        clock.advance(milliseconds(1000));
        std::this_thread::sleep_for(milliseconds(1));
    }
}

TEST(RelayTunnel, lets_a_client_that_reads_have_more_than_may_wait_for_it) {
    const std::string frame = encode_frame(2, std::string(8U << 20U, 'x'), Sender::Server);
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch);
        for (int i = 0; i < 8; ++i) peer.send(frame);
        (void)peer.read_to_end();
    });
    RelayOptions options;
    options.tunnel_queue_bytes_max = 1U << 20U;
    const auto relay = relay_to(server.port(), nullptr, options);
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake);
    EXPECT_EQ(client->read_exactly(kSwitch.size()), kSwitch);
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(client->read_exactly(frame.size()) == frame);
}

TEST(RelayTunnel, is_heard_exchanged_and_spoken_into) {
    std::promise<void> go_on;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kSwitch + text_frame("one") + text_frame("status 1"));
        go_on.get_future().wait();
        peer.send(encode_frame(2, "two", Sender::Server));
        (void)peer.read_to_end();
    });
    TestPolicy policy;
    policy.exchange = [](std::string_view text) -> std::optional<std::string> {
        if (text != "status 1") return std::nullopt;
        return "status 4";
    };
    const auto relay = relay_to(server.port(), &policy);
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake);
    EXPECT_EQ(client->read_exactly(kSwitch.size()), kSwitch);
    const std::string first = text_frame("one") + text_frame("status 4");
    EXPECT_EQ(client->read_exactly(first.size()), first);
    relay->send_to(policy.open.at(0), "ours");
    EXPECT_EQ(client->read_exactly(6), text_frame("ours"));
    go_on.set_value();
    EXPECT_EQ(client->read_exactly(5), encode_frame(2, "two", Sender::Server));
    const std::lock_guard lock(policy.mutex);
    EXPECT_EQ(policy.heard, (std::vector<std::string>{"t:one", "t:status 4", "b:two"}));
}

// The server has one socket for each id; when the older of two ends, it forgets both. So the older
// must have ended before the newer opens.
TEST(RelayTunnel, lets_the_older_of_two_with_one_key_end_first) {
    std::mutex mutex;
    std::vector<std::string> happened;
    const auto note = [&](std::string what) {
        const std::lock_guard lock(mutex);
        happened.push_back(std::move(what));
    };
    RawServer server([&](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        note("open " + std::to_string(number));
        peer.send(kSwitch);
        const std::string goodbye = peer.read_exactly(8);  // a close frame with its mask
        note("close " + std::to_string(number));
        if (number == 0) {
            EXPECT_EQ(goodbye, encode_frame(8, "\x03\xe8", Sender::Client));
            peer.send(encode_frame(8, "\x03\xe8", Sender::Server));
        }
    });
    TestPolicy policy;
    policy.keyed = true;
    const auto relay = relay_to(server.port(), &policy);
    const auto older = RawPeer::connect(relay->port());
    older->send(kHandshake);
    EXPECT_EQ(older->read_exactly(kSwitch.size()), kSwitch);
    const auto newer = RawPeer::connect(relay->port());
    newer->send(kHandshake);
    EXPECT_EQ(newer->read_exactly(kSwitch.size()), kSwitch);
    {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(happened, (std::vector<std::string>{"open 0", "close 0", "open 1"}));
    }
    // The older client's socket stays open and silent, and still answers pings.
    older->send(encode_frame(9, "there?", Sender::Client));
    EXPECT_EQ(older->read_exactly(8), encode_frame(10, "there?", Sender::Server));
    older->send(encode_frame(8, "\x03\xe8", Sender::Client));
    EXPECT_EQ(older->read_to_end(), encode_frame(8, "\x03\xe8", Sender::Server));
    EXPECT_EQ(relay->counts().tunnels, 1);
}

}  // namespace
}  // namespace plimsoll::net
