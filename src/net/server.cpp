// SPDX-License-Identifier: Apache-2.0
#include "net/server.h"

#include "base/log.h"
#include "net/server_connection.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::net {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr milliseconds kCutWait{1000};  // chosen: closing sockets takes no time
constexpr milliseconds kRetryWait{20};  // chosen: when no descriptor was left for a new connection

// A connection's coroutine ended. Only the library below us throws: out of memory, most likely.
void report(const std::exception_ptr& problem) {
    if (!problem) return;
    try {
        std::rethrow_exception(problem);
    } catch (const std::exception& error) {
        log::error("a connection ended with an exception: {}", error.what());
    }
}

class AsioServer final : public Server {
  public:
    AsioServer(ServerOptions options, Handler handler)
        : io_(options.threads), acceptor_(io_), retry_(io_) {
        shared_.options = std::move(options);
        shared_.handler = std::move(handler);
    }
    ~AsioServer() override { stop(milliseconds(0)); }
    AsioServer(const AsioServer&) = delete;
    AsioServer& operator=(const AsioServer&) = delete;

    Result<void> listen() {
        const ServerOptions& options = shared_.options;
        error_code error;
        const auto address = asio::ip::make_address(options.address, error);
        if (error || options.port < 0 || options.port > 65535)
            return fail(Errc::InvalidInput, fmt::format("'{}:{}' is no address to listen on",
                                                        options.address, options.port));
        const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(options.port));
        acceptor_.open(endpoint.protocol(), error);
        if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
        if (!error) acceptor_.bind(endpoint, error);
        if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
        if (error)
            return fail(Errc::Unavailable,
                        fmt::format("cannot listen on {}:{}: {}", options.address, options.port,
                                    error.message()));
        port_ = acceptor_.local_endpoint().port();
        asio::co_spawn(io_, accept(), report);
        for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { io_.run(); });
        return {};
    }

    [[nodiscard]] int port() const override { return port_; }

    void post(std::function<void()> function) override { asio::post(io_, std::move(function)); }

    void stop(milliseconds grace) override {
        if (threads_.empty()) return;
        shared_.stopping = true;
        asio::post(io_, [this] {
            error_code ignored;
            acceptor_.close(ignored);
            retry_.cancel();
        });
        for (const auto& one : shared_.registry.living()) one->end_politely();
        if (!shared_.registry.wait_empty(grace)) {
            for (const auto& one : shared_.registry.living()) one->end_now();
            shared_.registry.wait_empty(kCutWait);
        }
        work_.reset();
        io_.stop();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

  private:
    Task<void> accept() {
        while (!shared_.stopping) {
            auto [error, socket] = co_await acceptor_.async_accept(asio::make_strand(io_), kToken);
            if (shared_.stopping) co_return;
            if (error) {
                retry_.expires_after(kRetryWait);
                (void)co_await retry_.async_wait(kToken);
                continue;
            }
            if (shared_.registry.size() >=
                static_cast<std::size_t>(shared_.options.connections_max))
                continue;  // the socket closes: the client sees a reset and may come again
            const auto connection = std::make_shared<Connection>(shared_, std::move(socket));
            shared_.registry.add(connection);
            asio::co_spawn(
                connection->executor(), [connection] { return connection->run(); }, report);
        }
    }

    // Declared before the context: connections in it refer to it until they are destroyed.
    ServerShared shared_;
    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
    tcp::acceptor acceptor_;
    asio::steady_timer retry_;
    int port_ = 0;
    std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, Handler handler) {
    auto server = std::make_unique<AsioServer>(std::move(options), std::move(handler));
    TRY_DO(server->listen());
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace plimsoll::net
