// SPDX-License-Identifier: Apache-2.0
//
// Goal: work that blocks leaves the connections free, too much of it is refused, and a stream is
// woken when there is something to send. Method: a server whose handlers use workers.
#include "net/workers.h"

#include "net/blocking_client.h"
#include "net/server.h"

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <future>
#include <semaphore>

namespace plimsoll::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Response said(std::string words) {
    Response response;
    response.body = std::move(words);
    return response;
}

HttpReply get(int port, const std::string& target) {
    HttpCall call;
    call.target = target;
    return call_http({.host = "127.0.0.1", .port = port}, call).value();
}

TEST(Workers, a_handler_that_waits_for_its_work_holds_up_nobody_else) {
    std::binary_semaphore go(0);
    std::binary_semaphore begun(0);
    const auto workers = Workers::create(1, 4);
    const auto server = Server::start({}, [&](Exchange& exchange) -> Task<void> {
                            if (exchange.head().target == "/slow") {
                                std::string word;
                                (void)co_await workers->run([&] {
                                    begun.release();
                                    go.acquire();
                                    word = "worked";
                                });
                                (void)co_await exchange.respond(said(word));
                                co_return;
                            }
                            (void)co_await exchange.respond(said("at once"));
                        }).value();
    auto slow = std::async(std::launch::async, [&] { return get(server->port(), "/slow"); });
    begun.acquire();
    EXPECT_EQ(get(server->port(), "/").body, "at once");
    go.release();
    EXPECT_EQ(slow.get().body, "worked");
}

TEST(Workers, what_is_too_much_is_refused_and_nothing_of_it_runs) {
    std::binary_semaphore go(0);
    std::binary_semaphore begun(0);
    const auto workers = Workers::create(1, 0);
    const auto server = Server::start({}, [&](Exchange& exchange) -> Task<void> {
                            const bool ran = co_await workers->run([&] {
                                begun.release();
                                go.acquire();
                            });
                            (void)co_await exchange.respond(said(ran ? "ran" : "refused"));
                        }).value();
    auto first = std::async(std::launch::async, [&] { return get(server->port(), "/"); });
    begun.acquire();
    EXPECT_EQ(get(server->port(), "/").body, "refused");
    go.release();
    EXPECT_EQ(first.get().body, "ran");
}

TEST(Server, a_pause_ends_when_its_waker_is_called_also_when_that_was_before) {
    std::function<void()> wake;
    std::promise<void> ready;
    const auto server = Server::start({}, [&](Exchange& exchange) -> Task<void> {
                            if (exchange.head().target == "/before") {
                                exchange.waker()();
                            } else {
                                wake = exchange.waker();
                                ready.set_value();
                            }
                            co_await exchange.pause(std::chrono::hours(1));
                            (void)co_await exchange.respond(said("woken"));
                        }).value();
    auto waiting = std::async(std::launch::async, [&] { return get(server->port(), "/"); });
    ready.get_future().wait();
    wake();
    EXPECT_EQ(waiting.get().body, "woken");
    EXPECT_EQ(get(server->port(), "/before").body, "woken");
    wake();  // its exchange is over: nothing happens
}

TEST(Server, a_body_that_trickles_is_cut_off_at_its_deadline) {
    std::promise<Result<std::string>> read;
    ServerOptions options;
    options.body_wait = milliseconds(10'000);
    options.body_whole = milliseconds(50);
    const auto server = Server::start(options, [&](Exchange& exchange) -> Task<void> {
                            read.set_value(co_await exchange.read_body(1000));
                        }).value();
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket socket(io);
    socket.connect(
        {boost::asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(server->port())});
    boost::asio::write(socket, boost::asio::buffer(std::string(
                                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")));
    const auto began = steady_clock::now();
    const auto body = read.get_future().get();
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().code, Errc::Unavailable);
    EXPECT_LT(steady_clock::now() - began, options.body_wait);
}

}  // namespace
}  // namespace plimsoll::net
