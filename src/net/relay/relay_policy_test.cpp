// SPDX-License-Identifier: Apache-2.0
// Goal: a policy can look, hold, change and answer, from any thread; what is too large passes
// unseen. Method: a policy that does what the test says, between two ends that say what they are
// told.
#include "net/relay/relay_test_parts.h"

namespace plimsoll::net {
namespace {

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
            EXPECT_NE(head.find("\r\naccept-encoding: identity\r\n"), std::string::npos);
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
    client->send("GET /queue HTTP/1.1\r\naccept-encoding: gzip, br\r\n\r\n");
    EXPECT_EQ(client->read_until("0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
    change = true;
    client->send("GET /queue HTTP/1.1\r\naccept-encoding: gzip, br\r\n\r\n");
    EXPECT_EQ(client->read_until("[1]"),
              "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Type: application/json; charset=utf-8\r\n"
              "Content-Length: 3\r\n\r\n[1]");
}

TEST(RelayPolicy, keeps_no_more_of_all_requests_together_than_it_may) {
    // Three that never say how long they will be: each alone would be kept.
    std::atomic<int> passed = 0;
    RawServer server([&](RawPeer& peer, int) {
        if (peer.read_until("\r\n\r\n").empty()) return;
        (void)peer.read_until("0\r\n\r\n");
        ++passed;
        peer.send(kOk);
        (void)peer.read_to_end();
    });
    TestPolicy policy;
    std::atomic<int> seen = 0;
    policy.request = [&](const std::shared_ptr<RelayCall>& call) {
        ++seen;
        call->answer({.status = 200, .body = "{}"});
    };
    RelayOptions options;
    options.all_whole_bytes_max = 25'000;
    const auto relay = relay_to(server.port(), &policy, options);
    const std::string chunk = "2710\r\n" + std::string(10'000, 'x') + "\r\n";
    std::vector<std::unique_ptr<RawPeer>> clients;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(RawPeer::connect(relay->port()));
        clients.back()->send("POST /prompt HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk);
        // It has been read before the next one comes.
        while (relay->counts().whole_bytes < 10'000 * (static_cast<std::size_t>(i) + 1))
            std::this_thread::sleep_for(milliseconds(1));
    }
    // The last one passes; when it is over there is room again for the others to be looked at.
    for (const int i : {2, 0, 1}) {
        const auto& client = clients[static_cast<std::size_t>(i)];
        client->send("0\r\n\r\n");
        EXPECT_TRUE(client->read_until("{}").starts_with("HTTP/1.1 200 OK"));
        (void)relay->counts();  // the exchange has ended
    }
    EXPECT_EQ(seen, 2);
    EXPECT_EQ(passed, 1);
    EXPECT_EQ(relay->counts().whole_bytes, 0U);  // given back with the exchange
}

TEST(RelayPolicy, lets_go_of_a_call_whose_client_has_left) {
    std::promise<void> asked;
    RawServer server([&](RawPeer& peer, int) {
        if (peer.read_until("abc").empty()) return;
        asked.set_value();
        (void)peer.read_to_end();
    });
    TestPolicy policy;
    std::weak_ptr<void> companion;
    policy.request = [&](const std::shared_ptr<RelayCall>& call) {
        call->companion = std::make_shared<int>(1);
        companion = call->companion;
        call->forward({.answer_bytes_max = 1000});
    };
    const auto relay = relay_to(server.port(), &policy);
    const auto client = RawPeer::connect(relay->port());
    client->send(kPrompt);
    asked.get_future().wait();
    EXPECT_FALSE(companion.expired());
    client->reset();
    while (relay->counts().sessions != 0) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_TRUE(companion.expired());
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

}  // namespace
}  // namespace plimsoll::net
