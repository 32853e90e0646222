// SPDX-License-Identifier: Apache-2.0
//
// Goal: a handler sees a request byte for byte and decides its answer byte for byte; nothing that a
// client does makes the server wait for ever or forget to stop. Method: raw bytes over sockets.
#include "net/server.h"

#include "net/blocking_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace plimsoll::net {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using testing::HasSubstr;

std::unique_ptr<Server> serve(Handler handler, ServerOptions options = {}) {
    return Server::start(std::move(options), std::move(handler)).value();
}

// Sends bytes, closes the sending half, gives all that comes back.
std::string talk(int port, const std::string& bytes) {
    asio::io_context io;
    asio::ip::tcp::socket socket(io);
    socket.connect({asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(port)});
    boost::system::error_code error;
    asio::write(socket, asio::buffer(bytes), error);
    socket.shutdown(asio::ip::tcp::socket::shutdown_send, error);
    std::string received;
    std::array<char, 4096> piece{};
    for (;;) {
        const auto count = socket.read_some(asio::buffer(piece), error);
        received.append(piece.data(), count);
        if (error) return received;
    }
}

Task<void> echo(Exchange& exchange) {
    const auto body = co_await exchange.read_body(1000);
    Response response;
    response.headers = {{"X-Target", exchange.head().target}, {"x-odd-CASE", "1"}};
    response.body = exchange.head().method + " " + body.value_or("(too large)");
    (void)co_await exchange.respond(std::move(response));
}

TEST(Server, targets_and_header_names_come_through_and_go_out_as_they_are) {
    const auto server = serve([](Exchange& exchange) -> Task<void> {
        Response response;
        std::string names;
        for (const Header& header : exchange.head().headers) names += header.name + ";";
        response.headers = {{"b", "2"}, {"A", "1"}};
        response.body = exchange.head().target + " " + names;
        (void)co_await exchange.respond(std::move(response));
    });
    EXPECT_EQ(talk(server->port(),
                   "GET //a%2Fb/../c?x=%zz HTTP/1.1\r\nhOsT: x\r\nFoo: 1\r\nfoo: 2\r\n"
                   "Connection: close\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nb: 2\r\nA: 1\r\nContent-Length: 43\r\nConnection: close\r\n\r\n"
              "//a%2Fb/../c?x=%zz hOsT;Foo;foo;Connection;");
}

TEST(Server, a_connection_serves_request_after_request_even_when_they_come_at_once) {
    const auto server = serve(echo);
    const std::string answer = talk(
        server->port(),
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
        "POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n"
        "0\r\n\r\nHEAD /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(answer, HasSubstr("POST one"));
    EXPECT_THAT(answer, HasSubstr("POST two"));
    EXPECT_THAT(answer, HasSubstr("X-Target: /3"));
    EXPECT_THAT(answer, testing::Not(HasSubstr("HEAD")));
}

TEST(Server, a_body_over_the_limit_is_refused_and_the_connection_lives) {
    const auto server = serve(echo);
    const std::string answer =
        talk(server->port(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" +
                                 std::string(5000, 'x') + "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(answer, HasSubstr("POST (too large)"));
    EXPECT_THAT(answer, HasSubstr("X-Target: /next"));
}

TEST(Server, a_client_that_expects_100_continue_is_told_to) {
    const auto server = serve(echo);
    EXPECT_THAT(talk(server->port(),
                     "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
                     "2\r\n\r\nhi"),
                testing::StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"));
}

TEST(Server, http_1_0_is_answered_in_kind_and_closed) {
    const auto server = serve(echo);
    const std::string answer = talk(server->port(), "GET / HTTP/1.0\r\n\r\n");
    EXPECT_THAT(answer, testing::StartsWith("HTTP/1.0 200 OK\r\n"));
    EXPECT_THAT(answer, testing::Not(HasSubstr("Connection:")));
}

TEST(Server, what_is_no_request_is_refused_by_the_callers_own_answer) {
    ServerOptions options;
    options.target_bytes_max = 20;
    options.header_bytes_max = 500;
    options.refuse = [](const BadRequest& why) {
        Response response;
        response.status = 400;
        response.body = std::to_string(static_cast<int>(why.why));
        return response;
    };
    const auto server = serve(echo, options);
    EXPECT_THAT(
        talk(server->port(), "GET /" + std::string(30, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n"),
        testing::EndsWith("\r\n\r\n0"));
    EXPECT_THAT(talk(server->port(), "GET / HTTP/1.1\r\nA: " + std::string(900, 'x') + "\r\n\r\n"),
                testing::EndsWith("\r\n\r\n1"));
    EXPECT_THAT(talk(server->port(), "hello there\r\n\r\n"), testing::EndsWith("\r\n\r\n2"));
}

TEST(Server, files_and_streams_leave_in_pieces) {
    const auto path = std::filesystem::temp_directory_path() / "plimsoll_server_test.bin";
    std::ofstream(path, std::ios::binary) << std::string(200'000, 'a') << "end";
    const auto server = serve([&path](Exchange& exchange) -> Task<void> {
        if (exchange.head().target == "/file") {
            Response response;
            response.body = FileSlice{path, 199'998, 5};
            (void)co_await exchange.respond(std::move(response));
            co_return;
        }
        Response head;
        head.headers = {{"Transfer-Encoding", "chunked"}};
        (void)co_await exchange.start(std::move(head));
        for (const auto* const piece : {"one", "two"}) (void)co_await exchange.write(piece);
        (void)co_await exchange.finish();
    });
    EXPECT_EQ(call_http({"127.0.0.1", server->port()}, {.target = "/file", .body = {}})->body,
              "aaend");
    EXPECT_EQ(call_http({"127.0.0.1", server->port()}, {.target = "/", .body = {}})->body,
              "onetwo");
    std::filesystem::remove(path);
}

TEST(Server, a_silent_client_is_left_at_the_deadline) {
    ServerOptions options;
    options.header_wait = milliseconds(30);
    const auto server = serve(echo, options);
    asio::io_context io;
    asio::ip::tcp::socket socket(io);
    socket.connect(
        {asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(server->port())});
    asio::write(socket, asio::buffer(std::string("GET / HT")));
    char byte = 0;
    boost::system::error_code error;
    socket.read_some(asio::buffer(&byte, 1), error);
    EXPECT_EQ(error, asio::error::eof);
}

TEST(Server, a_websocket_hears_what_is_sent_from_any_thread_in_order) {
    std::shared_ptr<ServerSocket> held;
    std::mutex mutex;
    const auto server = serve([&](Exchange& exchange) -> Task<void> {
        auto accepted = co_await exchange.accept_websocket([] {
            SocketOptions options;
            options.deflate = true;
            return options;
        }());
        if (!accepted) co_return;
        {
            const std::lock_guard lock(mutex);
            held = *accepted;
        }
        (void)co_await (*accepted)->read();
    });
    const auto socket = ClientSocket::open({"127.0.0.1", server->port()}, "/ws").value();
    for (int i = 0; i < 200; ++i) {
        const std::lock_guard lock(mutex);
        if (held) break;
        std::this_thread::sleep_for(milliseconds(5));
    }
    for (int i = 0; i < 50; ++i)
        held->send(std::make_shared<const std::string>(std::to_string(i)), i % 2 == 1);
    for (int i = 0; i < 50; ++i) {
        const auto message = socket->read(milliseconds(5000)).value();
        ASSERT_TRUE(message);
        EXPECT_EQ(message->bytes, std::to_string(i));
        EXPECT_EQ(message->binary, i % 2 == 1);
    }
    held->cut_when_sent();
    EXPECT_FALSE(socket->read(milliseconds(5000)));
    server->stop(milliseconds(0));
    held.reset();
}

TEST(Server, a_client_that_does_not_listen_is_cut_off_when_its_queue_is_full) {
    std::shared_ptr<ServerSocket> held;
    std::atomic<bool> gone = false;
    const auto server = serve([&](Exchange& exchange) -> Task<void> {
        auto accepted = co_await exchange.accept_websocket([] {
            SocketOptions options;
            options.queue_bytes_max = 1 << 20;
            return options;
        }());
        if (!accepted) co_return;
        held = *accepted;
        const auto big = std::make_shared<const std::string>(4 << 20, 'x');
        for (int i = 0; i < 8; ++i) held->send(big, true);
        while (co_await held->read()) {
        }
        gone = true;
    });
    const auto socket = ClientSocket::open({"127.0.0.1", server->port()}, "/ws").value();
    for (int i = 0; i < 1000 && !gone; ++i) std::this_thread::sleep_for(milliseconds(5));
    EXPECT_TRUE(gone);
    server->stop(milliseconds(0));
    held.reset();
}

TEST(Server, stopping_lets_a_request_finish_and_cuts_what_hangs) {
    std::atomic<int> entered = 0;
    const auto server = serve([&](Exchange& exchange) -> Task<void> {
        ++entered;
        if (exchange.head().target == "/hang") {
            co_await exchange.wait_gone();
            co_return;
        }
        co_await exchange.pause(milliseconds(50));
        Response response;
        response.body = "late";
        (void)co_await exchange.respond(std::move(response));
    });
    std::string late;
    std::string hung;
    std::thread first([&] { late = talk(server->port(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); });
    std::thread second([&] {
        const auto reply =
            call_http({"127.0.0.1", server->port()}, {.target = "/hang", .body = {}});
        hung = reply ? "answered" : "cut";
    });
    for (int i = 0; i < 1000 && entered < 2; ++i) std::this_thread::sleep_for(milliseconds(2));
    server->stop(milliseconds(300));
    first.join();
    second.join();
    EXPECT_THAT(late, HasSubstr("late"));
    EXPECT_EQ(hung, "cut");
}

TEST(Server, an_address_that_is_none_and_a_port_that_is_taken_are_errors) {
    ServerOptions options;
    options.address = "nowhere";
    EXPECT_EQ(Server::start(options, echo).error().code, Errc::InvalidInput);
    const auto first = serve(echo);
    options = {};
    options.port = first->port();
    EXPECT_THAT(Server::start(options, echo).error().message, HasSubstr("cannot listen"));
}

TEST(HttpMessage, queries_dates_and_escapes_are_read) {
    const auto fields = parse_query("a=1&b=x+y%20z&c&=d");
    ASSERT_EQ(fields.size(), 4U);
    EXPECT_EQ(fields[1].value, "x y z");
    EXPECT_EQ(fields[2].name, "c");
    EXPECT_EQ(decode_percent("%2Fa%zz%"), "/a%zz%");
    EXPECT_EQ(http_date(1795423873), "Mon, 23 Nov 2026 08:51:13 GMT");
    EXPECT_EQ(parse_http_date("Mon, 23 Nov 2026 08:51:13 GMT"), 1795423873);
    for (const char* const none :
         {"", "Mon, 23 Nov 2026 08:51:13 CET", "Mon, 23 Nov 2026 08:61:13 GMT",
          "Tue, 23 Nov 2026 08:51:13 GMT", "Mon, 31 Feb 2026 08:51:13 GMT"})
        EXPECT_FALSE(parse_http_date(none)) << none;
    EXPECT_EQ(reason_phrase(404), "Not Found");
}

}  // namespace
}  // namespace plimsoll::net
