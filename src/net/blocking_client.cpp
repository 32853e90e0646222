// SPDX-License-Identifier: Apache-2.0
#include "net/blocking_client.h"

#include "base/text.h"
#include "net/blocking_steps.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMessageBytesMax =
    256ULL << 20U;  // chosen: custom nodes send whole videos as previews
constexpr milliseconds kCloseWait{2000};

class BeastSocket final : public ClientSocket {
  public:
    explicit BeastSocket(Endpoint endpoint) : endpoint_(std::move(endpoint)), socket_(io_) {}
    ~BeastSocket() override { close(); }
    BeastSocket(const BeastSocket&) = delete;
    BeastSocket& operator=(const BeastSocket&) = delete;

    Result<void> open(const std::string& target, const Patience& patience) {
        auto& stream = beast::get_lowest_layer(socket_);
        TRY_DO(connect(io_, stream, endpoint_, patience.connect));
        stream.expires_never();
        socket_.set_option(websocket::stream_base::timeout{patience.connect,
                                                           websocket::stream_base::none(), false});
        socket_.read_message_max(kMessageBytesMax);
        const error_code error = wait_for(io_, [&](auto done) {
            socket_.async_handshake(host_header(endpoint_), target, std::move(done));
        });
        if (error) return lost(endpoint_, "opening a WebSocket", error);
        open_ = true;
        start_read();
        return {};
    }

    Result<std::optional<SocketMessage>> read(milliseconds wait) override {
        if (!open_)
            return fail(Errc::Unavailable,
                        fmt::format("{}: the WebSocket is closed", endpoint_.text()));
        const auto until = std::chrono::steady_clock::now() + wait;
        io_.restart();
        while (!read_done_ && io_.run_one_until(until) > 0) {
        }
        if (!read_done_) return std::optional<SocketMessage>();
        if (read_error_) {
            open_ = false;
            return lost(endpoint_, "listening", read_error_);
        }
        SocketMessage message{socket_.got_binary(), beast::buffers_to_string(buffer_.data())};
        buffer_.consume(buffer_.size());
        start_read();
        return std::optional<SocketMessage>(std::move(message));
    }

    void close() override {
        const auto until = std::chrono::steady_clock::now() + kCloseWait;
        bool said = !open_;
        if (open_)
            socket_.async_close(websocket::close_code::normal,
                                [&said](const error_code&) { said = true; });
        open_ = false;
        io_.restart();
        while (!said && io_.run_one_until(until) > 0) {
        }
        error_code ignored;
        beast::get_lowest_layer(socket_).socket().close(ignored);
        // What is still outstanding refers to this object: it ends now that the socket is closed.
        while ((!said || !read_done_) && io_.run_one() > 0) {
        }
    }

  private:
    void start_read() {
        read_done_ = false;
        socket_.async_read(buffer_, [this](const error_code& error, std::size_t) {
            read_done_ = true;
            read_error_ = error;
        });
    }

    Endpoint endpoint_;
    asio::io_context io_{1};
    websocket::stream<beast::tcp_stream> socket_;
    beast::flat_buffer buffer_;
    error_code read_error_;
    bool read_done_ = true;  // no read is outstanding
    bool open_ = false;
};

}  // namespace

std::string Endpoint::text() const {
    return fmt::format("http://{}:{}",
                       host.find(':') == std::string::npos ? host : "[" + host + "]", port);
}

Result<Endpoint> parse_endpoint(std::string_view url) {
    const auto refuse = [&] {
        return fail(Errc::InvalidInput,
                    fmt::format("'{}' is no address such as http://localhost:8188", url));
    };
    constexpr std::string_view kScheme = "http://";
    if (!url.starts_with(kScheme)) return refuse();
    std::string_view rest = url.substr(kScheme.size());
    if (rest.ends_with('/')) rest.remove_suffix(1);
    if (rest.find_first_of("/?#@ \t\r\n") != std::string_view::npos) return refuse();
    Endpoint endpoint;
    std::string_view port;
    if (rest.starts_with('[')) {
        const auto end = rest.find(']');
        if (end == std::string_view::npos) return refuse();
        endpoint.host = rest.substr(1, end - 1);
        port = rest.substr(end + 1);
    } else {
        const auto colon = rest.find(':');
        endpoint.host = rest.substr(0, colon);
        port = colon == std::string_view::npos ? std::string_view() : rest.substr(colon);
    }
    if (endpoint.host.empty()) return refuse();
    if (!port.empty()) {
        const auto number = port.front() == ':' ? parse_integer(port.substr(1)) : std::nullopt;
        if (!number || *number < 1 || *number > 65535) return refuse();
        endpoint.port = static_cast<int>(*number);
    }
    return endpoint;
}

Result<HttpReply> call_http(const Endpoint& endpoint, const HttpCall& call,
                            const Patience& patience) {
    asio::io_context io{1};
    beast::tcp_stream stream(io);
    TRY_DO(connect(io, stream, endpoint, patience.connect));
    const http::request<http::string_body> request = request_of(endpoint, call);
    stream.expires_after(patience.whole);
    error_code error =
        wait_for(io, [&](auto done) { http::async_write(stream, request, std::move(done)); });
    if (error) return lost(endpoint, "sending a request", error);
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(patience.body_bytes_max);
    parser.header_limit(kHeaderBytesMax);
    error =
        wait_for(io, [&](auto done) { http::async_read(stream, buffer, parser, std::move(done)); });
    if (error)
        return lost(endpoint,
                    fmt::format("waiting for {}", call.target.substr(0, call.target.find('?'))),
                    error);
    http::response<http::string_body> response = parser.release();
    HttpReply reply{.status = static_cast<int>(response.result_int()),
                    .content_type = std::string(response[http::field::content_type]),
                    .body = {},
                    .content_range = std::string(response[http::field::content_range]),
                    .last_modified = std::string(response[http::field::last_modified]),
                    .date = std::string(response[http::field::date])};
    reply.body = std::move(response.body());
    return reply;
}

Result<std::unique_ptr<ClientSocket>> ClientSocket::open(const Endpoint& endpoint,
                                                         const std::string& target,
                                                         const Patience& patience) {
    auto socket = std::make_unique<BeastSocket>(endpoint);
    TRY_DO(socket->open(target, patience));
    return std::unique_ptr<ClientSocket>(std::move(socket));
}

std::string encode_component(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        encoded +=
            plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return encoded;
}

}  // namespace plimsoll::net
