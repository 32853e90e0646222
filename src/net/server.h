// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 and WebSocket server. One handler, a coroutine, answers every request; it sees targets
// and headers byte for byte and decides every header of the answer. Bodies stream both ways, every
// wait has a deadline, every size a limit. Beast stays inside this folder.
//
//   auto server = net::Server::start({.port = 0}, [](net::Exchange& exchange) -> net::Task<void> {
//       (void)co_await exchange.respond({.body = "hello"});
//   });
//
// Enters through: TCP connections.   Leaves through: Exchange, ServerSocket.
// Threads: the server owns its threads. A handler runs on the strand of its connection; with
// `threads = 1` all handlers run on one thread and may share state without locks.
#pragma once
#include "base/error.h"
#include "net/http_message.h"
#include "net/task.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::net {

// Why a request never reached the handler.
struct BadRequest {
    enum class Why { TargetTooLong, HeadersTooLarge, Malformed };
    Why why = Why::Malformed;
    std::string target;   // what was read of it
    std::string message;  // for people
};

struct ServerOptions {
    std::string address = "127.0.0.1";
    int port = 0;  // 0: any free one
    int threads = 1;
    int connections_max = 4096;                      // chosen: above any local use
    std::size_t target_bytes_max = 8190;             // what aiohttp and nginx allow
    std::uint32_t header_bytes_max = 64U << 10U;     // chosen: eight times the target
    std::chrono::milliseconds header_wait{60'000};   // from the first byte to the blank line
    std::chrono::milliseconds idle_wait{3'630'000};  // between requests; aiohttp 3.14 has 3630 s
    std::chrono::milliseconds body_wait{60'000};     // between two pieces of a body
    std::chrono::milliseconds body_whole{600'000};   // from its first piece to its last
    std::chrono::milliseconds write_wait{60'000};    // until the other side took a piece
    std::uint64_t drain_bytes_max = 256ULL << 20U;   // of a body that the handler did not want
    // The answer to a request that cannot be read. Default: 400 and the message.
    std::function<Response(const BadRequest&)> refuse;
};

struct ServerMessage {
    bool binary = false;
    std::string bytes;
};

struct SocketOptions {
    Headers headers;                              // added to the 101 answer, in this order
    bool deflate = false;                         // take permessage-deflate when it is offered
    std::size_t message_bytes_max = 4ULL << 20U;  // of the client; ComfyUI has 4 MiB
    std::size_t queue_bytes_max = 256ULL << 20U;  // unsent bytes after which the client is cut off
};

// A WebSocket on the server's side. `read` on the strand of its handler; the rest from any thread.
// Lives on the server's context: whoever keeps one lets go of it before the server is destroyed.
class ServerSocket {
  public:
    virtual ~ServerSocket() = default;
    // The next message. Unavailable once the client is gone.
    [[nodiscard]] virtual Task<Result<ServerMessage>> read() = 0;
    // Queues a message and returns at once. One buffer may be shared by many sockets.
    virtual void send(std::shared_ptr<const std::string> bytes, bool binary) = 0;
    // Says goodbye after what is queued.
    virtual void close() = 0;
    // Cuts the connection without a word: now, or once what is queued has left.
    virtual void cut() = 0;
    virtual void cut_when_sent() = 0;
    // Bytes that the client has not taken yet.
    [[nodiscard]] virtual std::size_t queued_bytes() const = 0;
};

// One request and its answer. Lives until the handler returns.
class Exchange {
  public:
    virtual ~Exchange() = default;
    [[nodiscard]] virtual const RequestHead& head() const = 0;

    // The whole body. LimitExceeded above the limit (the rest is read and dropped after the
    // answer), Unavailable when the client is gone, Corrupt for broken framing.
    [[nodiscard]] virtual Task<Result<std::string>> read_body(std::uint64_t bytes_max) = 0;
    // The next piece of the body; 0 at its end.
    [[nodiscard]] virtual Task<Result<std::size_t>> read_some(std::span<char> into) = 0;

    // The whole answer. The body is left out for HEAD, 204 and 304.
    [[nodiscard]] virtual Task<Result<void>> respond(Response response) = 0;
    // A streamed answer: head (its body is ignored), pieces, end. With `Transfer-Encoding: chunked`
    // among the headers the pieces are framed, else they must add up to the Content-Length.
    [[nodiscard]] virtual Task<Result<void>> start(Response head) = 0;
    [[nodiscard]] virtual Task<Result<void>> write(std::string bytes) = 0;
    [[nodiscard]] virtual Task<Result<void>> finish() = 0;

    // Only where head().upgrades_to_websocket. The socket outlives the exchange.
    [[nodiscard]] virtual Task<Result<std::shared_ptr<ServerSocket>>> accept_websocket(
        SocketOptions options) = 0;

    // Waits; ends early when the server stops.
    [[nodiscard]] virtual Task<void> pause(std::chrono::milliseconds time) = 0;
    // A function that ends the pause in progress, or the next one at once. From any thread, also
    // after the exchange is over.
    [[nodiscard]] virtual std::function<void()> waker() = 0;
    // The server stops: a handler that waits without end should end.
    [[nodiscard]] virtual bool is_ending() const = 0;
    // Waits until the client or the server gives up.
    [[nodiscard]] virtual Task<void> wait_gone() = 0;
    // Closes the connection without an answer.
    virtual void hang_up() = 0;
};

// Called once for every request. A handler that returns without an answer closes the connection.
using Handler = std::function<Task<void>(Exchange&)>;

class Server {
  public:
    // Unavailable when the address cannot be listened on (the message says why).
    [[nodiscard]] static Result<std::unique_ptr<Server>> start(ServerOptions options,
                                                               Handler handler);
    virtual ~Server() = default;
    [[nodiscard]] virtual int port() const = 0;
    // Runs a function on the server's (first) thread, in the order of the calls.
    virtual void post(std::function<void()> function) = 0;
    // In two steps: stops listening, closes idle connections, says goodbye on WebSockets and lets
    // requests in progress end; what is left after `grace` is cut off. Joins the threads. Not from
    // a handler.
    virtual void stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace plimsoll::net
