// SPDX-License-Identifier: Apache-2.0
//
// A WebSocket on the server's side: one reader, and a queue from which one write after the other is
// started.
#include "net/server_connection.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket.hpp>

#include <deque>
#include <utility>

namespace plimsoll::net {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kHandshakeWait{10};  // chosen: also for the closing handshake

class BeastServerSocket final : public ServerSocket,
                                public Endable,
                                public std::enable_shared_from_this<BeastServerSocket> {
  public:
    BeastServerSocket(ServerShared& shared, beast::tcp_stream stream, std::size_t queue_bytes_max)
        : shared_(shared), stream_(std::move(stream)), queue_bytes_max_(queue_bytes_max) {}
    ~BeastServerSocket() override { shared_.registry.remove(this); }
    BeastServerSocket(const BeastServerSocket&) = delete;
    BeastServerSocket& operator=(const BeastServerSocket&) = delete;

    Task<Result<void>> accept(http::request<http::buffer_body> request, SocketOptions options) {
        const auto self = shared_from_this();
        beast::get_lowest_layer(stream_).expires_never();
        // No deadline on silence: a client may listen for days. A dead one is found by TCP.
        error_code ignored;
        beast::get_lowest_layer(stream_).socket().set_option(asio::socket_base::keep_alive(true),
                                                             ignored);
        stream_.set_option(
            websocket::stream_base::timeout{kHandshakeWait, websocket::stream_base::none(), false});
        stream_.set_option(
            websocket::stream_base::decorator([&options](websocket::response_type& response) {
                for (const Header& header : options.headers)
                    response.insert(header.name, header.value);
            }));
        if (options.deflate) {
            websocket::permessage_deflate deflate;
            deflate.server_enable = true;
            stream_.set_option(deflate);
        }
        stream_.read_message_max(options.message_bytes_max);
        const auto [error] = co_await stream_.async_accept(request, kToken);
        if (error)
            co_return fail(Errc::Unavailable, "the WebSocket handshake failed: " + error.message());
        open_ = true;
        co_return Result<void>();
    }

    Task<Result<ServerMessage>> read() override {
        const auto self = shared_from_this();
        const auto [error, bytes] = co_await stream_.async_read(buffer_, kToken);
        if (error) {
            open_ = false;
            co_return fail(Errc::Unavailable, "the WebSocket is closed: " + error.message());
        }
        ServerMessage message{stream_.got_binary(), beast::buffers_to_string(buffer_.data())};
        buffer_.consume(buffer_.size());
        co_return message;
    }

    void send(std::shared_ptr<const std::string> bytes, bool binary) override {
        queued_bytes_ += bytes->size();
        asio::post(stream_.get_executor(),
                   [self = shared_from_this(), bytes = std::move(bytes), binary]() mutable {
                       self->enqueue({std::move(bytes), binary});
                   });
    }

    void close() override {
        asio::post(stream_.get_executor(), [self = shared_from_this()] {
            self->closing_ = true;
            if (!self->writing_) self->write_next();
        });
    }

    void cut() override {
        asio::post(stream_.get_executor(), [self = shared_from_this()] { self->cut_now(); });
    }

    void cut_when_sent() override {
        asio::post(stream_.get_executor(), [self = shared_from_this()] {
            self->cutting_ = true;
            if (!self->writing_) self->write_next();
        });
    }

    [[nodiscard]] std::size_t queued_bytes() const override { return queued_bytes_; }
    void end_politely() override { close(); }
    void end_now() override { cut(); }

  private:
    struct Outgoing {
        std::shared_ptr<const std::string> bytes;
        bool binary = false;
    };

    void enqueue(Outgoing message) {
        if (!open_ || closing_ || cutting_) {
            queued_bytes_ -= message.bytes->size();
            return;
        }
        if (queued_bytes_ > queue_bytes_max_) return cut_now();
        queue_.push_back(std::move(message));
        if (!writing_) write_next();
    }

    void write_next() {
        if (!open_) return;
        if (queue_.empty()) {
            if (cutting_) return cut_now();
            if (!closing_) return;
            open_ = false;
            stream_.async_close(
                websocket::close_code::going_away,
                [self = shared_from_this()](const error_code&) { self->cut_now(); });
            return;
        }
        writing_ = true;
        stream_.binary(queue_.front().binary);
        stream_.async_write(asio::buffer(*queue_.front().bytes),
                            [self = shared_from_this()](const error_code& error, std::size_t) {
                                self->writing_ = false;
                                self->queued_bytes_ -= self->queue_.front().bytes->size();
                                self->queue_.pop_front();
                                if (error) return self->cut_now();
                                self->write_next();
                            });
    }

    void cut_now() {
        open_ = false;
        beast::get_lowest_layer(stream_).close();
    }

    ServerShared& shared_;
    websocket::stream<beast::tcp_stream> stream_;
    beast::flat_buffer buffer_;
    std::deque<Outgoing> queue_;
    std::atomic<std::size_t> queued_bytes_ = 0;
    std::size_t queue_bytes_max_;
    bool open_ = false;
    bool writing_ = false;
    bool closing_ = false;
    bool cutting_ = false;
};

}  // namespace

Task<Result<std::shared_ptr<ServerSocket>>> accept_server_socket(
    ServerShared& shared, beast::tcp_stream stream, http::request<http::buffer_body> request,
    SocketOptions options) {
    const auto socket =
        std::make_shared<BeastServerSocket>(shared, std::move(stream), options.queue_bytes_max);
    shared.registry.add(socket);
    CO_TRY_DO(co_await socket->accept(std::move(request), std::move(options)));
    co_return std::shared_ptr<ServerSocket>(socket);
}

}  // namespace plimsoll::net
