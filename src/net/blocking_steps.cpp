// SPDX-License-Identifier: Apache-2.0
#include "net/blocking_steps.h"

#include "base/say.h"

#include <fmt/format.h>

namespace plimsoll::net {

using std::chrono::milliseconds;

std::unexpected<Error> lost(const Endpoint& endpoint, std::string_view doing,
                            const error_code& error) {
    if (error == http::error::body_limit || error == http::error::header_limit ||
        error == websocket::error::message_too_big)
        return fail(Errc::LimitExceeded,
                    fmt::format("{}: the answer is larger than allowed", endpoint.text()));
    if (error == beast::error::timeout)
        return fail(Errc::Unavailable, say<"error.slow">(endpoint.text(), doing));
    if (error == asio::error::connection_refused)
        return fail(Errc::Unavailable, say<"error.refused_connection">(endpoint.text()));
    if (error == http::error::end_of_stream || error == http::error::partial_message)
        return fail(Errc::Unavailable, say<"error.cut_off">(endpoint.text(), doing));
    if (error.category() == http::make_error_code(http::error::bad_version).category())
        return fail(Errc::Corrupt, say<"error.no_http">(endpoint.text(), error.message()));
    return fail(Errc::Unavailable,
                fmt::format("{}: {} while {}", endpoint.text(), error.message(), doing));
}

Result<void> connect(asio::io_context& io, beast::tcp_stream& stream, const Endpoint& endpoint,
                     milliseconds patience) {
    asio::ip::tcp::resolver resolver(io);
    asio::ip::tcp::resolver::results_type addresses;
    error_code error = asio::error::timed_out;
    resolver.async_resolve(endpoint.host, fmt::format("{}", endpoint.port),
                           [&](const error_code& e, asio::ip::tcp::resolver::results_type found) {
                               error = e;
                               addresses = std::move(found);
                           });
    io.restart();
    io.run_for(patience);
    if (error) {
        resolver.cancel();
        io.run();  // the handler refers to this frame
        return fail(Errc::Unavailable,
                    say<"error.unresolved">(endpoint.text(), endpoint.host, error.message()));
    }
    stream.expires_after(patience);
    error = wait_for(io, [&](auto done) { stream.async_connect(addresses, std::move(done)); });
    if (error) return lost(endpoint, "connecting", error);
    return {};
}

std::string host_header(const Endpoint& endpoint) {
    return fmt::format(
        "{}:{}",
        endpoint.host.find(':') == std::string::npos ? endpoint.host : "[" + endpoint.host + "]",
        endpoint.port);
}

http::request<http::string_body> request_of(const Endpoint& endpoint, const HttpCall& call) {
    http::request<http::string_body> request;
    request.method_string(call.method);
    request.target(call.target);
    request.version(11);
    request.set(http::field::host, host_header(endpoint));
    request.set(http::field::user_agent, "plimsoll/" PLIMSOLL_VERSION);
    request.set(http::field::connection, "close");
    if (!call.authorization.empty()) request.set(http::field::authorization, call.authorization);
    if (!call.range.empty()) request.set(http::field::range, call.range);
    if (!call.body.empty()) request.set(http::field::content_type, call.content_type);
    request.body() = call.body;
    request.prepare_payload();
    return request;
}

}  // namespace plimsoll::net
