// SPDX-License-Identifier: Apache-2.0
#include "net/server_connection.h"

#include "base/log.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include <algorithm>
#include <fstream>
#include <utility>

namespace plimsoll::net {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = 16U << 10U;   // measured elsewhere: small buffers are slow
constexpr std::size_t kPieceBytes = 64U << 10U;  // of a file on its way out

std::unexpected<Error> gone(std::string_view doing, const error_code& error) {
    return fail(Errc::Unavailable,
                fmt::format("the client is gone while {}: {}", doing, error.message()));
}

bool has_body(int status) {
    return status >= 200 && status != 204 && status != 304;
}

}  // namespace

Connection::Connection(ServerShared& shared, asio::ip::tcp::socket socket)
    : shared_(shared), stream_(std::move(socket)), pause_(stream_.get_executor()) {
    error_code ignored;
    stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    buffer_.reserve(kReadBytes);
}

Connection::~Connection() {
    shared_.registry.remove(this);
}

Task<void> Connection::run() {
    const auto self = shared_from_this();
    while (keep_ && !ending_ && co_await read_head()) {
        answer_ = Answer::None;
        co_await shared_.handler(*this);
        if (answer_ == Answer::Upgraded) co_return;
        if (answer_ != Answer::Done || cut_) break;
        if (!co_await drain_body()) break;
    }
    close();
}

Task<bool> Connection::read_head() {
    parser_.emplace();
    body_deadline_.reset();
    parser_->header_limit(shared_.options.header_bytes_max);
    parser_->body_limit(boost::none);
    if (buffer_.size() == 0) {
        idle_ = true;
        stream_.expires_after(shared_.options.idle_wait);
        const auto [error, bytes] =
            co_await stream_.async_read_some(buffer_.prepare(kReadBytes), kToken);
        idle_ = false;
        if (error || cut_) co_return false;
        buffer_.commit(bytes);
    }
    stream_.expires_after(shared_.options.header_wait);
    const auto [error, bytes] =
        co_await http::async_read_header(stream_, buffer_, *parser_, kToken);
    if (error) {
        if (error == http::error::header_limit || error == http::error::buffer_overflow)
            co_await refuse({BadRequest::Why::HeadersTooLarge, {}, error.message()});
        else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
                 error != http::error::end_of_stream && error != http::error::partial_message)
            co_await refuse({BadRequest::Why::Malformed, {}, error.message()});
        co_return false;
    }
    const auto& message = parser_->get();
    head_ = {.method = std::string(message.method_string()),
             .target = std::string(message.target()),
             .version_minor = static_cast<int>(message.version() % 10),
             .headers = {},
             .keep_alive = message.keep_alive(),
             .upgrades_to_websocket = beast::websocket::is_upgrade(message)};
    for (const auto& field : message)
        head_.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    expects_100_ =
        head_.version_minor > 0 && beast::iequals(message[http::field::expect], "100-continue");
    keep_ = head_.keep_alive;
    if (head_.target.size() > shared_.options.target_bytes_max) {
        co_await refuse({BadRequest::Why::TargetTooLong, head_.target, "the target is too long"});
        co_return false;
    }
    co_return true;
}

Task<void> Connection::refuse(BadRequest why) {
    Response response;
    if (shared_.options.refuse) {
        response = shared_.options.refuse(why);
    } else {
        response.status = 400;
        response.headers = {{"Content-Type", "text/plain; charset=utf-8"}};
        response.body = why.message;
    }
    response.close = true;
    head_.method = "GET";  // it is not known: the answer has its body
    (void)co_await respond(std::move(response));
}

Task<Result<std::string>> Connection::read_body(std::uint64_t bytes_max) {
    std::string body;
    if (const auto length = parser_->content_length(); length && *length > bytes_max)
        co_return fail(Errc::LimitExceeded,
                       fmt::format("body of {} bytes, limit {}", *length, bytes_max));
    std::string piece(kReadBytes, '\0');
    for (;;) {
        const auto read = co_await read_some(piece);
        if (!read) co_return std::unexpected(read.error());
        if (*read == 0) co_return body;
        if (body.size() + *read > bytes_max)
            co_return fail(Errc::LimitExceeded,
                           fmt::format("body over the limit of {} bytes", bytes_max));
        body.append(piece, 0, *read);
    }
}

Task<Result<std::size_t>> Connection::read_some(std::span<char> into) {
    if (std::exchange(expects_100_, false) && !parser_->is_done())
        CO_TRY_DO(co_await send("HTTP/1.1 100 Continue\r\n\r\n"));
    while (!parser_->is_done()) {
        auto& body = parser_->get().body();
        body.data = into.data();
        body.size = into.size();
        body.more = true;
        const auto now = std::chrono::steady_clock::now();
        if (!body_deadline_) body_deadline_ = now + shared_.options.body_whole;
        stream_.expires_at(std::min(now + shared_.options.body_wait, *body_deadline_));
        const auto [error, bytes] =
            co_await http::async_read_some(stream_, buffer_, *parser_, kToken);
        if (error && error != http::error::need_buffer) {
            keep_ = false;
            if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension)
                co_return fail(Errc::Corrupt, "the body's framing is broken: " + error.message());
            co_return gone("sending a body", error);
        }
        if (const std::size_t read = into.size() - body.size; read > 0) co_return read;
    }
    co_return std::size_t{0};
}

Task<bool> Connection::drain_body() {
    if (parser_->is_done()) co_return keep_ && !ending_;
    if (expects_100_) co_return false;  // the client may or may not send it now
    std::string scratch(kReadBytes, '\0');
    std::uint64_t dropped = 0;
    while (dropped < shared_.options.drain_bytes_max) {
        const auto read = co_await read_some(scratch);
        if (!read) co_return false;
        if (*read == 0) co_return keep_ && !ending_;
        dropped += *read;
    }
    co_return false;
}

std::string Connection::encode_head(Response& response) const {
    const int minor = response.version_minor >= 0 ? response.version_minor : head_.version_minor;
    std::string text =
        fmt::format("HTTP/1.{} {} {}\r\n", minor, response.status,
                    response.reason.empty() ? reason_phrase(response.status) : response.reason);
    for (const Header& header : response.headers)
        text += fmt::format("{}: {}\r\n", header.name, header.value);
    if (!response.exact && has_body(response.status) &&
        !has_header(response.headers, "Content-Length") &&
        !has_header(response.headers, "Transfer-Encoding")) {
        const auto* const bytes = std::get_if<std::string>(&response.body);
        text += fmt::format(
            "Content-Length: {}\r\n",
            bytes != nullptr ? bytes->size() : std::get<FileSlice>(response.body).length);
    }
    if (!has_header(response.headers, "Connection")) {
        if (!keep_ && minor >= 1) text += "Connection: close\r\n";
        if (keep_ && minor == 0) text += "Connection: keep-alive\r\n";
    }
    return text += "\r\n";
}

Task<Result<void>> Connection::respond(Response response) {
    if (answer_ != Answer::None) co_return fail(Errc::Internal, "the request is answered already");
    answer_ = Answer::Started;
    if (response.close) keep_ = false;
    std::string bytes = encode_head(response);
    bodiless_ = head_.method == "HEAD" || !has_body(response.status);
    if (auto* const body = std::get_if<std::string>(&response.body)) {
        const bool chunked = has_header(response.headers, "Transfer-Encoding");
        if (!bodiless_) {
            if (!chunked)
                bytes += *body;
            else if (body->empty())
                bytes += "0\r\n\r\n";
            else
                bytes += fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", body->size(), *body);
        }
        CO_TRY_DO(co_await send(std::move(bytes)));
    } else {
        CO_TRY_DO(co_await send(std::move(bytes)));
        if (!bodiless_)
            CO_TRY_DO(co_await send_file(std::get<FileSlice>(std::move(response.body))));
    }
    answer_ = Answer::Done;
    co_return Result<void>();
}

Task<Result<void>> Connection::start(Response head) {
    if (answer_ != Answer::None) co_return fail(Errc::Internal, "the request is answered already");
    answer_ = Answer::Started;
    if (head.close) keep_ = false;
    chunked_ = has_header(head.headers, "Transfer-Encoding");
    // Without a length or framing the end of the connection is the end of the body.
    if (!chunked_ && !has_header(head.headers, "Content-Length") && has_body(head.status)) {
        head.headers.push_back({"Transfer-Encoding", "chunked"});
        chunked_ = true;
    }
    bodiless_ = head_.method == "HEAD" || !has_body(head.status);
    co_return co_await send(encode_head(head));
}

Task<Result<void>> Connection::write(std::string bytes) {
    if (bodiless_ || bytes.empty()) co_return Result<void>();
    if (chunked_) bytes = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
    co_return co_await send(std::move(bytes));
}

Task<Result<void>> Connection::finish() {
    if (chunked_ && !bodiless_) CO_TRY_DO(co_await send("0\r\n\r\n"));
    answer_ = Answer::Done;
    co_return Result<void>();
}

Task<Result<void>> Connection::send(std::string bytes) {
    // Piece by piece, so that the deadline is one for progress and not for the whole.
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        stream_.expires_after(shared_.options.write_wait);
        const auto [error, count] = co_await stream_.async_write_some(
            asio::buffer(bytes.data() + sent, bytes.size() - sent), kToken);
        if (error) {
            keep_ = false;
            co_return gone("taking an answer", error);
        }
        sent += count;
    }
    co_return Result<void>();
}

Task<Result<void>> Connection::send_file(FileSlice slice) {
    std::ifstream file(slice.path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(slice.offset));
    while (slice.length > 0) {
        std::string piece(std::min<std::uint64_t>(slice.length, kPieceBytes), '\0');
        file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
        if (file.gcount() != static_cast<std::streamsize>(piece.size())) {
            keep_ = false;  // the length was promised: all that is left is to cut
            co_return fail(Errc::Unavailable,
                           fmt::format("{} is shorter than it was", slice.path.string()));
        }
        slice.length -= piece.size();
        CO_TRY_DO(co_await send(std::move(piece)));
    }
    co_return Result<void>();
}

Task<Result<std::shared_ptr<ServerSocket>>> Connection::accept_websocket(SocketOptions options) {
    answer_ = Answer::Upgraded;
    http::request<http::buffer_body> request = parser_->release();
    co_return co_await accept_server_socket(shared_, std::move(stream_), std::move(request),
                                            std::move(options));
}

Task<void> Connection::pause(std::chrono::milliseconds time) {
    if (cut_ || std::exchange(woken_, false)) co_return;
    pause_.expires_after(time);
    (void)co_await pause_.async_wait(kToken);
    woken_ = false;
}

std::function<void()> Connection::waker() {
    // On the strand: between a look at what there is and the pause after it nothing gets lost.
    return [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        asio::post(self->executor(), [self] {
            self->woken_ = true;
            self->pause_.cancel();
        });
    };
}

Task<void> Connection::wait_gone() {
    stream_.expires_never();
    std::string scratch(kReadBytes, '\0');
    for (;;) {
        const auto [error, bytes] = co_await stream_.async_read_some(asio::buffer(scratch), kToken);
        if (error || cut_) co_return;
    }
}

void Connection::close() {
    error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    stream_.close();
}

void Connection::end_politely() {
    asio::post(executor(), [self = shared_from_this()] {
        self->ending_ = true;
        if (self->idle_) self->close();
    });
}

void Connection::end_now() {
    asio::post(executor(), [self = shared_from_this()] {
        self->ending_ = true;
        self->cut_ = true;
        self->pause_.cancel();
        if (self->answer_ != Answer::Upgraded) self->close();
    });
}

}  // namespace plimsoll::net
