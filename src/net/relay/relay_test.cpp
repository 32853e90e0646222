// SPDX-License-Identifier: Apache-2.0
// Goal: what either side says reaches the other as it was said, and each hazard ends where it
// should. Method: real sockets whose two ends say exactly what the test tells them; time passes
// only as a test says where a wait is the matter.
#include "net/relay/relay_test_parts.h"

namespace plimsoll::net {
namespace {

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

TEST(Relay, asks_the_new_server_even_if_the_former_was_answering_when_it_came) {
    std::promise<void> asked;
    std::promise<void> go_on;
    RawServer former([&](RawPeer& peer, int number) {
        for (int request = 0; !peer.read_until("\r\n\r\n").empty(); ++request) {
            if (number == 0 && request == 0) {
                asked.set_value();
                go_on.get_future().wait();
            }
            peer.send(kOk);
        }
    });
    const std::string made = "HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\n{}";
    RawServer current(answers(made));
    const auto relay = relay_to(former.port());
    const auto client = RawPeer::connect(relay->port());
    client->send(kGet);
    asked.get_future().wait();
    ASSERT_TRUE(relay->set_upstream({.host = "127.0.0.1", .port = current.port()}));
    (void)relay->counts();  // it has come to that
    go_on.set_value();
    EXPECT_EQ(client->read_exactly(kOk.size()), kOk);
    EXPECT_EQ(relay->counts().idle_legs, 0);
    client->send(kGet);
    EXPECT_EQ(client->read_exactly(made.size()), made);
    // The same server once more: what rests there goes on resting.
    ASSERT_TRUE(relay->set_upstream({.host = "127.0.0.1", .port = current.port()}));
    EXPECT_EQ(relay->counts().idle_legs, 1);
    EXPECT_EQ(current.connections(), 1);
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
