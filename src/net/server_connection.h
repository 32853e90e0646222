// SPDX-License-Identifier: Apache-2.0
//
// One client connection: reads requests one after the other and hands each to the handler. It is
// its own Exchange. Private to net: includes Beast.
// Threads: everything on its strand but end_politely and end_now.
#pragma once
#include "net/server.h"
#include "net/server_registry.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <atomic>
#include <memory>
#include <optional>

namespace plimsoll::net {

// What all connections of a server share; outlives them.
struct ServerShared {
    ServerOptions options;
    Handler handler;
    Registry registry;
    std::atomic<bool> stopping = false;
};

class Connection final : public Exchange,
                         public Endable,
                         public std::enable_shared_from_this<Connection> {
  public:
    Connection(ServerShared& shared, boost::asio::ip::tcp::socket socket);
    ~Connection() override;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] auto executor() { return stream_.get_executor(); }
    // The whole life of the connection.
    [[nodiscard]] Task<void> run();

    [[nodiscard]] const RequestHead& head() const override { return head_; }
    [[nodiscard]] Task<Result<std::string>> read_body(std::uint64_t bytes_max) override;
    [[nodiscard]] Task<Result<std::size_t>> read_some(std::span<char> into) override;
    [[nodiscard]] Task<Result<void>> respond(Response response) override;
    [[nodiscard]] Task<Result<void>> start(Response head) override;
    [[nodiscard]] Task<Result<void>> write(std::string bytes) override;
    [[nodiscard]] Task<Result<void>> finish() override;
    [[nodiscard]] Task<Result<std::shared_ptr<ServerSocket>>> accept_websocket(
        SocketOptions options) override;
    [[nodiscard]] Task<void> pause(std::chrono::milliseconds time) override;
    [[nodiscard]] std::function<void()> waker() override;
    [[nodiscard]] bool is_ending() const override { return ending_ || cut_ || shared_.stopping; }
    [[nodiscard]] Task<void> wait_gone() override;
    void hang_up() override { close(); }

    void end_politely() override;
    void end_now() override;

  private:
    enum class Answer { None, Started, Done, Upgraded };
    using Parser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;

    Task<bool> read_head();  // false: the connection is over
    Task<void> refuse(BadRequest why);
    Task<bool> drain_body();
    Task<Result<void>> send(std::string bytes);
    Task<Result<void>> send_file(FileSlice slice);
    [[nodiscard]] std::string encode_head(Response& response) const;
    void close();

    ServerShared& shared_;
    boost::beast::tcp_stream stream_;
    boost::asio::steady_timer pause_;
    boost::beast::flat_buffer buffer_;
    std::optional<Parser> parser_;
    RequestHead head_;
    Answer answer_ = Answer::None;
    bool keep_ = true;          // the connection may serve another request
    bool chunked_ = false;      // the streamed answer in progress is framed
    bool bodiless_ = false;     // the answer in progress has no body whatever its headers say
    bool expects_100_ = false;  // the client waits for 100 Continue before it sends the body
    bool idle_ = false;         // waits for the first byte of a request
    bool ending_ = false;
    bool cut_ = false;
    bool woken_ = false;  // a waker was called since the last pause
    std::optional<std::chrono::steady_clock::time_point> body_deadline_;
};

// Takes over the connection's stream; answers the handshake.
[[nodiscard]] Task<Result<std::shared_ptr<ServerSocket>>> accept_server_socket(
    ServerShared& shared, boost::beast::tcp_stream stream,
    boost::beast::http::request<boost::beast::http::buffer_body> request, SocketOptions options);

}  // namespace plimsoll::net
