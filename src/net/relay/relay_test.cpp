// SPDX-License-Identifier: Apache-2.0
// Goal: what either side says reaches the other as it was said, each hazard ends where it should,
// and a policy can look, hold, change and answer. Method: real sockets whose two ends say exactly
// what the test tells them; time passes only as a test says where a wait is the matter.
#include "net/relay/relay.h"

#include "net/relay/frame_tap.h"
#include "net/relay/relay_fixture.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>

namespace plimsoll::net {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<Relay> relay_to(int port, RelayPolicy* policy = nullptr,
                                RelayOptions options = {}) {
    options.upstream = {.host = "127.0.0.1", .port = port};
    auto relay = Relay::start(std::move(options), policy);
    EXPECT_TRUE(relay) << relay.error().message;
    return std::move(*relay);
}

const std::string kGet = "GET /queue HTTP/1.1\r\nHost: localhost:8189\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: Python\r\n\r\n{}";

// Answers every request without a body with `answer`.
RawServer::Serve answers(std::string answer) {
    return [answer = std::move(answer)](RawPeer& peer, int) {
        while (!peer.read_until("\r\n\r\n").empty()) peer.send(answer);
    };
}

TEST(Relay, passes_both_heads_and_bodies_byte_for_byte) {
    const std::string request =
        "POST /userdata/a%2Fb?x=;90 HTTP/1.1\r\nhOsT:localhost:8189\r\nOrigin: null\r\n"
        "Content-Length: 5\r\n\r\n12345";
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int) {
        seen.set_value(peer.read_exactly(request.size()));
        peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(request);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    EXPECT_EQ(seen.get_future().get(), request);
}

TEST(Relay, keeps_connections_and_answers_pipelined_requests_in_order) {
    RawServer server([](RawPeer& peer, int) {
        for (;;) {
            const std::string head = peer.read_until("\r\n\r\n");
            if (head.empty()) return;
            const std::string path = head.substr(4, 2);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + path);
        }
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    std::string requests;
    for (const char name : {'a', 'b', 'c'})
        requests += std::string("GET /") + name + " HTTP/1.1\r\n\r\n";
    client->send(requests);
    for (const char name : {'a', 'b', 'c'}) {
        EXPECT_TRUE(client->read_until("\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
        EXPECT_EQ(client->read_exactly(2), std::string("/") + name);
    }
    EXPECT_EQ(server.connections(), 1);
    const RelayCounts counts = relay->counts();
    EXPECT_EQ(counts.requests, 3);
    EXPECT_EQ(counts.idle_legs, 1);
}

TEST(Relay, takes_a_request_in_single_bytes) {
    RawServer server(answers(kOk));
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    for (const char c : kGet) client->send({&c, 1});
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
}

TEST(Relay, passes_chunks_and_trailers_as_they_are_both_ways) {
    const std::string chunks = "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        seen.set_value(peer.read_exactly(chunks.size()));
        // In pieces that cut every line.
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Enco");
        peer.send("ding: chunked\r\n\r");
        peer.send("\n3;x=1\r");
        peer.send("\nabc\r\n0\r\n\r\n");
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
    EXPECT_EQ(client->read_until("0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\n\r\n");
    EXPECT_EQ(seen.get_future().get(), chunks);
}

TEST(Relay, ends_answers_without_a_body_at_their_head) {
    for (const std::string head : {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                                   "HTTP/1.1 204 No Content\r\n\r\n"}) {
        RawServer server(answers(head));
        const auto relay = relay_to(server.port());
        const auto client = RawPeer::connect(relay->port());
        client->send(kGet + kGet);
        EXPECT_EQ(client->read_exactly(2 * head.size()), head + head);
    }
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    RawServer server(answers(head));
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("HEAD / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(client->read_exactly(2 * head.size()), head + head);
}

TEST(Relay, passes_100_continue_and_other_interim_answers) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        if (peer.read_exactly(3) == "abc") peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    EXPECT_EQ(client->read_until("\r\n\r\n"), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    EXPECT_EQ(client->read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client->send("abc");
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
}

TEST(Relay, ends_the_clients_connection_where_the_server_does) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 500 x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n!");
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    EXPECT_EQ(client->read_to_end(),
              "HTTP/1.1 500 x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n!");
}

TEST(Relay, passes_a_body_that_ends_with_the_connection) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\n\r\nto the end");
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    EXPECT_EQ(client->read_to_end(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end");
}

TEST(Relay, serves_http_1_0) {
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int) {
        seen.set_value(peer.read_until("\r\n\r\n"));
        peer.send("HTTP/1.0 200 OK\r\n\r\nold");
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    EXPECT_EQ(client->read_to_end(), "HTTP/1.0 200 OK\r\n\r\nold");
    EXPECT_EQ(seen.get_future().get(), "GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n");
}

TEST(Relay, sends_a_repeatable_request_again_when_its_kept_connection_had_died) {
    RawServer server([](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kOk);
        // The first connection takes the second request and dies over it.
        if (number == 0) (void)peer.read_until("\r\n\r\n");
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    EXPECT_EQ(server.connections(), 2);
}

TEST(Relay, never_sends_a_post_twice) {
    RawServer server([](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        peer.send(kOk);
        if (number == 0) (void)peer.read_until("\r\n\r\n");
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    client->send("POST /prompt HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    EXPECT_TRUE(client->read_until("\r\n\r\n").starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    EXPECT_EQ(server.connections(), 1);
}

TEST(Relay, says_502_when_nobody_is_there_and_goes_on) {
    int port = 0;
    {
        RawServer gone(answers(kOk));
        port = gone.port();
    }
    std::unique_ptr<RawServer> back;  // outlives the relay, whose connections it waits for
    const auto relay = relay_to(port);
    const auto client = RawPeer::connect(relay->port());
    for (int i = 0; i < 2; ++i) {
        client->send(kGet);
        const std::string head = client->read_until("\r\n\r\n");
        EXPECT_TRUE(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n")) << head;
        const auto at = head.find("Content-Length: ");
        (void)client->read_exactly(std::stoul(head.substr(at + 16)));
    }
    back = std::make_unique<RawServer>(answers(kOk), port);
    ASSERT_TRUE(back->is_open());
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
}

TEST(Relay, does_not_let_half_an_answer_look_whole) {
    RawServer server([](RawPeer& peer, int) {
        const std::string head = peer.read_until("\r\n\r\n");
        if (head.starts_with("GET /length"))
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        else
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    const auto relay = relay_to(server.port());
    for (const char* const path : {"/length", "/chunks"}) {
        const auto client = RawPeer::connect(relay->port());
        client->send("GET " + std::string(path) + " HTTP/1.1\r\n\r\n");
        const std::string answer = client->read_to_end();
        EXPECT_NE(answer.find("half"), std::string::npos);
        EXPECT_EQ(answer.find("0\r\n\r\n"), std::string::npos);
    }
}

TEST(Relay, drops_what_a_server_says_twice) {
    RawServer server(answers(kOk + kOk));
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    for (int i = 0; i < 3; ++i) {
        client->send(kGet);
        EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
        EXPECT_EQ(relay->counts().idle_legs, 0);
    }
    client->finish();
    EXPECT_EQ(client->read_to_end(), "");
}

TEST(Relay, says_502_for_an_answer_that_is_no_http) {
    for (const std::string answer :
         {"ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/1.1 101 Switching Protocols\r\n\r\n", "\x16\x03\x01 what is this\r\n\r\n"}) {
        RawServer server(answers(answer));
        const auto relay = relay_to(server.port());
        const auto client = RawPeer::connect(relay->port());
        client->send(kGet);
        EXPECT_TRUE(client->read_until("\r\n").starts_with("HTTP/1.1 502")) << answer;
    }
}

TEST(Relay, refuses_what_could_be_two_requests_and_sends_none_of_it_on) {
    RawServer server(answers(kOk));
    const auto relay = relay_to(server.port());
    for (const std::string bytes :
         {"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET "
          "/x",
          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n folded\r\n\r\n",
          "GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
          "GET / HTTP/1.1\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n",
          "\x16\x03\x01\r\n\r\n"}) {
        const auto client = RawPeer::connect(relay->port());
        client->send(bytes);
        const std::string answer = client->read_to_end();
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << bytes << answer;
        EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    }
    EXPECT_EQ(server.connections(), 0);
}

TEST(Relay, cuts_a_body_off_where_its_chunks_break) {
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int) { seen.set_value(peer.read_to_end()); });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client->send("1;x\r\nd\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(client->read_to_end().starts_with("HTTP/1.1 400"));
    EXPECT_EQ(seen.get_future().get().find("hidden"), std::string::npos);
}

TEST(Relay, passes_an_early_answer_of_a_server_that_takes_no_more) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 413 x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        peer.finish();
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("POST / HTTP/1.1\r\nContent-Length: 5000000000\r\n\r\n" + std::string(1000, 'x'));
    EXPECT_EQ(client->read_to_end(),
              "HTTP/1.1 413 x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
}

TEST(Relay, goes_on_with_a_body_after_its_answer_where_the_server_does) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 413 x\r\nContent-Length: 3\r\n\r\nbig");
        if (peer.read_exactly(6) == "abcdef" && !peer.read_until("\r\n\r\n").empty())
            peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
    EXPECT_EQ(client->read_until("big"), "HTTP/1.1 413 x\r\nContent-Length: 3\r\n\r\nbig");
    client->send("def" + kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    EXPECT_EQ(server.connections(), 1);
}

TEST(Relay, holds_a_fast_server_back_for_a_slow_client) {
    constexpr std::size_t kBytes = 64U << 20U;
    std::atomic<std::size_t> sent = 0;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBytes) + "\r\n\r\n");
        const std::string piece(1U << 16U, 'x');
        while (sent < kBytes && peer.send(piece)) sent += piece.size();
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    (void)client->read_until("\r\n\r\n");
    // The client reads nothing: the server comes to a stop far before its end.
    std::size_t before = 1;
    while (sent != before) {
        before = sent;
        std::this_thread::sleep_for(milliseconds(100));
    }
    EXPECT_LT(sent, kBytes / 2);
    EXPECT_EQ(client->read_exactly(kBytes).size(), kBytes);
}

TEST(Relay, streams_an_upload_before_it_is_whole) {
    std::promise<std::string> first;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        first.set_value(peer.read_exactly(5));
        (void)peer.read_exactly(5);
        peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345");
    EXPECT_EQ(first.get_future().get(), "12345");  // while the rest is not sent yet
    client->send("67890");
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
}

TEST(Relay, answers_a_client_that_sends_no_more_and_lets_go_of_one_that_left) {
    RawServer server([](RawPeer& peer, int) {
        const std::string head = peer.read_until("\r\n\r\n");
        if (head.starts_with("GET /queue")) peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto half = RawPeer::connect(relay->port());
    half->send(kGet);
    half->finish();
    EXPECT_EQ(half->read_to_end(), kOk);
    const auto gone = RawPeer::connect(relay->port());
    gone->send("POST /never HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
    gone->finish();  // half a request: nobody waits for its answer
    EXPECT_EQ(gone->read_to_end(), "");
    while (relay->counts().sessions != 0) std::this_thread::sleep_for(milliseconds(1));
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
std::string told_in_the_end(Relay& relay, TestClock& clock, RawPeer& client) {
    auto end = std::async(std::launch::async, [&] { return client.read_to_end(); });
    while (end.wait_for(milliseconds(2)) != std::future_status::ready) {
        clock.advance(milliseconds(1000));
        relay.post([] {});
    }
    return end.get();
}

TEST(Relay, gives_up_on_clients_that_come_to_no_end) {
    RawServer server([](RawPeer& peer, int) { (void)peer.read_to_end(); });
    TestClock clock;
    RelayOptions options;
    options.clock = &clock;
    options.idle_wait = milliseconds(60'000);
    const auto relay = relay_to(server.port(), nullptr, options);
    const auto head = RawPeer::connect(relay->port());
    head->send("GET / HTTP/1.1\r\nHost: a");
    EXPECT_TRUE(told_in_the_end(*relay, clock, *head).starts_with("HTTP/1.1 408"));
    const auto body = RawPeer::connect(relay->port());
    body->send("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
    EXPECT_TRUE(told_in_the_end(*relay, clock, *body).starts_with("HTTP/1.1 408"));
    const auto idle = RawPeer::connect(relay->port());
    EXPECT_EQ(told_in_the_end(*relay, clock, *idle), "");
}

TEST(Relay, says_504_for_a_server_that_never_answers) {
    RawServer server([](RawPeer& peer, int) { (void)peer.read_to_end(); });
    TestClock clock;
    RelayOptions options;
    options.clock = &clock;
    options.answer_wait = milliseconds(30'000);
    const auto relay = relay_to(server.port(), nullptr, options);
    const auto client = RawPeer::connect(relay->port());
    client->send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(told_in_the_end(*relay, clock, *client).starts_with("HTTP/1.1 504"));
}

TEST(Relay, cuts_off_a_client_that_never_reads) {
    RawServer server([](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        const std::string piece(1U << 16U, 'x');
        while (peer.send(piece)) {
        }
    });
    TestClock clock;
    RelayOptions options;
    options.clock = &clock;
    const auto relay = relay_to(server.port(), nullptr, options);
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    while (relay->counts().sessions != 0) {
        clock.advance(milliseconds(1000));
        std::this_thread::sleep_for(milliseconds(2));
    }
}

// Tunnels.

const std::string kHandshake =
    "GET /ws?clientId=A HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: k\r\n\r\n";
const std::string kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";

std::string text_frame(std::string_view text) {
    return encode_frame(1, text, Sender::Server);
}

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

TEST(RelayTunnel, passes_on_a_refused_handshake) {
    RawServer server(answers("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    const auto relay = relay_to(server.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kHandshake);
    EXPECT_TRUE(client->read_until("\r\n\r\n").starts_with("HTTP/1.1 403 Forbidden\r\n"));
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

const std::string kPrompt = "POST /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

TEST(RelayPolicy, may_forward_a_request_changed_and_unchanged) {
    RawServer server([](RawPeer& peer, int) {
        for (;;) {
            const std::string head = peer.read_until("\r\n\r\n");
            if (head.empty()) return;
            const auto at = head.find("Content-Length: ");
            const std::string body = peer.read_exactly(std::stoul(head.substr(at + 16)));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                      "\r\n\r\n" + body);
        }
    });
    TestPolicy policy;
    bool change = false;
    policy.request = [&](const std::shared_ptr<RelayCall>& call) {
        EXPECT_EQ(call->body(), "abc");
        EXPECT_EQ(call->head().target, "/prompt");
        ForwardWish wish;
        if (change) wish.body = "changed";
        if (change) wish.answer_headers = {{"X-Edits", "1"}};
        call->forward(std::move(wish));
    };
    const auto relay = relay_to(server.port(), &policy);
    const auto client = RawPeer::connect(relay->port());
    client->send(kPrompt);
    const std::string first = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    EXPECT_EQ(client->read_exactly(first.size()), first);
    change = true;
    client->send(
        "POST /prompt HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n"
        "0\r\n\r\n");
    const std::string second = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Edits: 1\r\n\r\nchanged";
    EXPECT_EQ(client->read_exactly(second.size()), second);
}

TEST(RelayPolicy, may_answer_from_any_thread_and_later) {
    RawServer server(answers(kOk));
    TestPolicy policy;
    std::vector<std::thread> threads;
    policy.request = [&](std::shared_ptr<RelayCall> call) {
        threads.emplace_back([call = std::move(call)] {
            call->answer({.status = 200, .body = "{}"});
            call->answer({.status = 500});  // too late
            call->forward({});              // as well
        });
    };
    const auto relay = relay_to(server.port(), &policy);
    const auto client = RawPeer::connect(relay->port());
    client->send("POST /prompt HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    EXPECT_EQ(client->read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client->send("abc");
    EXPECT_EQ(client->read_until("{}"),
              "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
              "Content-Length: 2\r\n\r\n{}");
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    for (std::thread& one : threads) one.join();
    EXPECT_EQ(server.connections(), 1);
}

TEST(RelayPolicy, sees_an_answer_whole_and_may_amend_it) {
    RawServer server([](RawPeer& peer, int) {
        for (;;) {
            const std::string head = peer.read_until("\r\n\r\n");
            if (head.empty()) return;
            EXPECT_NE(head.find("Accept-Encoding: identity"), std::string::npos);
            peer.send(
                "HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: "
                "chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
        }
    });
    TestPolicy policy;
    policy.path = "/queue";
    policy.request = [](const std::shared_ptr<RelayCall>& call) {
        call->forward({.answer_bytes_max = 100});
    };
    bool change = false;
    policy.answer_hook = [&](const std::shared_ptr<RelayCall>& call, RelayAnswer answer) {
        EXPECT_EQ(answer.body, "[]");
        if (!change) return call->pass();
        answer.body = "[1]";
        call->answer(std::move(answer));
    };
    const auto relay = relay_to(server.port(), &policy);
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    EXPECT_EQ(client->read_until("0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
    change = true;
    client->send(kGet);
    EXPECT_EQ(client->read_until("[1]"),
              "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Type: application/json; charset=utf-8\r\n"
              "Content-Length: 3\r\n\r\n[1]");
}

TEST(RelayPolicy, lets_too_large_bodies_and_answers_pass_unseen) {
    const std::string large(1000, 'x');
    std::promise<std::string> seen;
    RawServer server([&](RawPeer& peer, int number) {
        (void)peer.read_until("\r\n\r\n");
        if (number == 0) seen.set_value(peer.read_until("0\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3E8\r\n" + large + "\r\n");
        peer.send("0\r\n\r\n");
        peer.finish();
    });
    TestPolicy policy;
    int asked = 0;
    policy.request = [&](const std::shared_ptr<RelayCall>& call) {
        ++asked;
        call->forward({.answer_bytes_max = 100});
    };
    policy.answer_hook = [](const std::shared_ptr<RelayCall>&, const RelayAnswer&) { FAIL(); };
    RelayOptions options;
    options.whole_bytes_max = 500;
    const auto relay = relay_to(server.port(), &policy, options);
    const auto client = RawPeer::connect(relay->port());
    const std::string chunks =
        "1F4\r\n" + large.substr(500) + "\r\n1F4\r\n" + large.substr(500) + "\r\n0\r\n\r\n";
    client->send("POST /prompt HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
    EXPECT_EQ(client->read_until("0\r\n\r\n").size(),
              std::string_view(
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3E8\r\n\r\n0\r\n\r\n")
                      .size() +
                  large.size());
    EXPECT_EQ(seen.get_future().get(), chunks);
    EXPECT_EQ(asked, 0);
    client->send(kPrompt);
    EXPECT_NE(client->read_until("0\r\n\r\n").find(large), std::string::npos);
    EXPECT_EQ(asked, 1);
}

TEST(Relay, refuses_to_stand_in_front_of_itself_and_on_a_busy_port) {
    RawServer server(answers(kOk));
    RelayOptions options;
    options.port = server.port();
    options.upstream = {.host = "127.0.0.1", .port = 1};
    const auto busy = Relay::start(options, nullptr);
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().code, Errc::Unavailable);
    const auto relay = relay_to(server.port());
    EXPECT_FALSE(relay->set_upstream({.host = "127.0.0.1", .port = relay->port()}));
}

TEST(Relay, lets_answers_in_progress_end_when_it_stops) {
    std::promise<void> asked;
    std::promise<void> go_on;
    RawServer server([&](RawPeer& peer, int) {
        (void)peer.read_until("\r\n\r\n");
        asked.set_value();
        go_on.get_future().wait();
        peer.send(kOk);
        (void)peer.read_to_end();
    });
    const auto relay = relay_to(server.port());
    const auto idle = RawPeer::connect(relay->port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    asked.get_future().wait();
    auto stopped = std::async(std::launch::async, [&] { relay->stop(milliseconds(20'000)); });
    EXPECT_EQ(idle->read_to_end(), "");
    go_on.set_value();
    EXPECT_TRUE(client->read_to_end().starts_with("HTTP/1.1 200 OK"));
    client->close();
    stopped.get();
}

}  // namespace
}  // namespace plimsoll::net
