// SPDX-License-Identifier: Apache-2.0
//
// HTTP and WebSocket for callers that wait: one request on one connection, one socket that is read
// with a patience. Every wait has a deadline and every body a limit. For the command line; the
// gateway has its own, asynchronous side.
//
// Enters through: a TCP connection.   Leaves through: HttpReply, SocketMessage.   Threads: no
// shared state; one object, one thread.
#pragma once
#include "base/error.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::net {

// A server that speaks plain HTTP.
struct Endpoint {
    std::string host;
    int port = 80;
    [[nodiscard]] std::string text() const;  // "http://localhost:8188"
};
// "http://host", "http://host:port", "http://[::1]:8188"; InvalidInput for anything else.
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view url);

struct Patience {
    std::chrono::milliseconds connect{
        3000};  // chosen: a server of the local network answers in milliseconds
    std::chrono::milliseconds whole{30'000};      // chosen: request and answer together
    std::uint64_t body_bytes_max = 64ULL << 20U;  // chosen: far above any JSON answer of ComfyUI
};

struct HttpCall {
    std::string method = "GET";
    std::string target = "/";
    std::string body = {};  // NOLINT(readability-redundant-member-init): may be left unnamed
    std::string content_type = "application/json";
    // "Bearer ..."; empty: the header is not sent.
    std::string authorization = {};  // NOLINT(readability-redundant-member-init): as above
    // "bytes=0-99"; empty: the header is not sent.
    std::string range = {};  // NOLINT(readability-redundant-member-init): as above
};

struct HttpReply {
    int status = 0;
    std::string content_type;
    std::string body;
    // As sent; empty where they were not.
    std::string content_range = {};  // NOLINT(readability-redundant-member-init): as above
    std::string last_modified = {};  // NOLINT(readability-redundant-member-init): as above
    std::string date = {};           // NOLINT(readability-redundant-member-init): as above
};

// Any status is a reply. Fails with Unavailable (refused, timed out, cut off; the message says
// which), LimitExceeded (body too large), Corrupt (no HTTP).
[[nodiscard]] Result<HttpReply> call_http(const Endpoint& endpoint, const HttpCall& call,
                                          const Patience& patience = {});

struct SocketMessage {
    bool binary = false;
    std::string bytes;
};

class ClientSocket {
  public:
    [[nodiscard]] static Result<std::unique_ptr<ClientSocket>> open(const Endpoint& endpoint,
                                                                    const std::string& target,
                                                                    const Patience& patience = {});
    virtual ~ClientSocket() = default;
    // The next message, or nullopt when none came in time: the socket stays good. Unavailable once
    // the connection is gone.
    [[nodiscard]] virtual Result<std::optional<SocketMessage>> read(
        std::chrono::milliseconds wait) = 0;
    // Says goodbye and waits, at most two seconds, for the other side to do so.
    virtual void close() = 0;
};

// A text as one component of a query: everything but unreserved characters as %XX.
[[nodiscard]] std::string encode_component(std::string_view text);

}  // namespace plimsoll::net
