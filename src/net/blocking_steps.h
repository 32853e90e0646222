// SPDX-License-Identifier: Apache-2.0
//
// The steps that the waiting clients take in the same way: connect, wait for one operation, say
// what went wrong. Includes Beast: only sources of net/ include this.
//
// Threads: no shared state.
#pragma once
#include "net/blocking_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;

inline constexpr std::uint32_t kHeaderBytesMax = 64U << 10U;  // chosen: eight times Beast's default

// What an error of the network means to whoever waits.
[[nodiscard]] std::unexpected<Error> lost(const Endpoint& endpoint, std::string_view doing,
                                          const error_code& error);

// Runs the context until a started operation is done, and no longer: timers of the stream may be
// left. The stream's own deadline ends it.
template <class Start>
error_code wait_for(asio::io_context& io, Start&& start) {
    error_code result = asio::error::would_block;
    std::forward<Start>(start)([&result](const error_code& error, auto&&...) { result = error; });
    io.restart();
    while (result == asio::error::would_block && io.run_one() > 0) {
    }
    return result;
}

[[nodiscard]] Result<void> connect(asio::io_context& io, beast::tcp_stream& stream,
                                   const Endpoint& endpoint, std::chrono::milliseconds patience);
[[nodiscard]] std::string host_header(const Endpoint& endpoint);
[[nodiscard]] http::request<http::string_body> request_of(const Endpoint& endpoint,
                                                          const HttpCall& call);

}  // namespace plimsoll::net
