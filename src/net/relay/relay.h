// SPDX-License-Identifier: Apache-2.0
//
// A relay between HTTP/1.1 clients and one server: every method, target, header, body and upgrade
// passes as it comes, in both directions, without being kept. One thread, no coroutine, nothing
// between two system calls but what HTTP asks for: where a message ends.
//
// A RelayPolicy may ask to see a request whole and then answers it, forwards it (changed or not),
// and amends its answer; and it may listen along WebSockets. Without one the relay knows nothing of
// what it carries.
//
// Enters through: TCP connections.   Leaves through: TCP connections, RelayPolicy.
// Threads: the relay owns one; the policy is called on it and must not block. RelayCall and the
// functions of Relay may be used from any thread.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "net/blocking_client.h"
#include "net/http_message.h"
#include "net/relay/http_head.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::net {

struct RelayAnswer {
    int status = 200;
    Headers headers = {};   // NOLINT(readability-redundant-member-init): may be left unnamed
    std::string body = {};  // NOLINT(readability-redundant-member-init)
};

struct ForwardWish {
    std::optional<std::string> body =
        {};                       // NOLINT(readability-redundant-member-init): else its own
    Headers answer_headers = {};  // NOLINT(readability-redundant-member-init): added
    // Read the answer whole (asked for unpacked) and show it to on_answer, unless it is larger:
    // then it passes as it is. 0: do not.
    std::size_t answer_bytes_max = 0;
};

// A request that was read whole. Exactly one of the functions is to be called for it, and exactly
// one of answer and pass for each on_answer; later calls, and calls for clients that are gone, do
// nothing.
class RelayCall {
  public:
    virtual ~RelayCall() = default;
    // The policy's own, for as long as the call lives: a client that leaves takes it along. Set and
    // read on the relay's thread.
    std::shared_ptr<void> companion;

    [[nodiscard]] virtual std::uint64_t number() const = 0;  // counts from 1
    [[nodiscard]] virtual const RequestHead& head() const = 0;
    [[nodiscard]] virtual const std::string& body() const = 0;
    virtual void forward(ForwardWish wish) = 0;
    virtual void answer(RelayAnswer answer) = 0;
    // Sends on the answer that on_answer showed, byte for byte.
    virtual void pass() = 0;
};

// A WebSocket through the relay.
using TunnelId = std::uint64_t;

class RelayPolicy {
  public:
    enum class Passage : std::uint8_t { Through, Whole };
    virtual ~RelayPolicy() = default;

    // Asked for each request but upgrades. Whole: on_request follows once its body is here, unless
    // the body is larger than RelayOptions::whole_bytes_max (then it passes through).
    [[nodiscard]] virtual Passage passage(const RequestView& request) {
        (void)request;
        return Passage::Through;
    }
    virtual void on_request(std::shared_ptr<RelayCall> call) { (void)call; }
    // The server's answer to a call, or our own 502 where there was none.
    virtual void on_answer(std::shared_ptr<RelayCall> call, RelayAnswer answer) {
        (void)answer;
        call->pass();
    }
    // The answer when the server cannot be reached or does not speak HTTP.
    [[nodiscard]] virtual RelayAnswer unreachable(std::string_view method, std::string_view target,
                                                  int status, const std::string& why);

    // Of sockets with the same key the server knows only the newest: the relay lets the older one's
    // connection end before it opens the new one. Empty: no such thing.
    [[nodiscard]] virtual std::string tunnel_key(const RequestView& request) {
        (void)request;
        return {};
    }
    // Whether this WebSocket is listened to; if so, the functions below are called.
    [[nodiscard]] virtual bool listens(const RequestView& request) {
        (void)request;
        return false;
    }
    virtual void on_tunnel_open(TunnelId id, const std::string& key) { (void)id, (void)key; }
    virtual void on_tunnel_close(TunnelId id) { (void)id; }
    // From the server, whole up to RelayOptions::heard_bytes_max. It passes after this call.
    virtual void on_tunnel_message(TunnelId id, bool binary, bool whole, std::string_view bytes) {
        (void)id, (void)binary, (void)whole, (void)bytes;
    }
    // Whether short texts from the server may be exchanged now, and for what; an empty one: it is
    // withheld, and heard all the same.
    [[nodiscard]] virtual bool rewrites() { return false; }
    [[nodiscard]] virtual std::optional<std::string> rewrite(std::string_view text) {
        (void)text;
        return std::nullopt;
    }
    // A connection to the server was refused where the last one was not, or the other way round.
    virtual void on_upstream(bool reachable, const std::string& why) { (void)reachable, (void)why; }
};

struct RelayOptions {
    std::string address = "127.0.0.1";
    int port = 0;  // 0: any free one
    Endpoint upstream;
    const Clock* clock = &system_clock();

    std::size_t connections_max = 4096;  // chosen: above any local use
    std::size_t idle_legs_max = 64;      // kept connections to the server
    HeadLimits request_limits = {};      // NOLINT(readability-redundant-member-init)
    HeadLimits answer_limits{.bytes_max = 256U << 10U, .fields_max = 2048};  // chosen: trusted more
    std::size_t whole_bytes_max = 128U << 20U;  // above ComfyUI's own default of 100 MiB
    // Of all requests and answers that are kept to be looked at; further ones pass unseen.
    std::size_t all_whole_bytes_max = 512U << 20U;  // chosen: four of the largest
    std::size_t heard_bytes_max = 4U << 20U;        // of a WebSocket message
    // Unsent to a WebSocket's client from which on the server has to wait, until half of it has
    // left; and how long it may: then the client is cut off.
    std::size_t tunnel_queue_bytes_max = 64U << 20U;     // chosen: far more than previews
    std::chrono::milliseconds tunnel_full_wait{10'000};  // chosen: 3 MiB/s at least

    std::chrono::milliseconds connect_wait{5'000};     // chosen
    std::chrono::milliseconds head_wait{60'000};       // from a head's first byte to its last
    std::chrono::milliseconds idle_wait{3'630'000};    // between requests; aiohttp 3.14's own
    std::chrono::milliseconds stall_wait{120'000};     // a client that neither sends nor takes
    std::chrono::milliseconds answer_wait{3'600'000};  // ComfyUI has none; the longest install
    std::chrono::milliseconds leg_wait{10'000};  // a kept connection; aiohttp closes at 15 s up
    // A kept connection may have been closed meanwhile, which is found out only by using it: a
    // request that must not be sent twice takes none that has rested longer.
    std::chrono::milliseconds unsafe_leg_wait{2'000};
    std::chrono::milliseconds linger_wait{2'000};  // for a client to take our last words
    // Handshakes of WebSockets wait so long for a server that is not there (yet): clients try again
    // only when the port itself is closed.
    std::chrono::milliseconds handshake_wait{20'000};
    std::chrono::milliseconds handshake_retry{200};
};

struct RelayCounts {
    std::size_t sessions = 0;     // clients connected
    std::size_t tunnels = 0;      // of them WebSockets
    std::size_t idle_legs = 0;    // kept connections to the server
    std::size_t whole_bytes = 0;  // kept to be looked at
    std::uint64_t requests = 0;
};

class Relay {
  public:
    // Unavailable when the address cannot be listened on or the server's name is unknown. `policy`
    // may be null; it outlives the relay.
    [[nodiscard]] static Result<std::unique_ptr<Relay>> start(RelayOptions options,
                                                              RelayPolicy* policy);
    virtual ~Relay() = default;
    [[nodiscard]] virtual int port() const = 0;
    // Where requests go from now on. Those under way end where they are; WebSockets to the former
    // server are told goodbye.
    [[nodiscard]] virtual Result<void> set_upstream(const Endpoint& upstream) = 0;

    // A text of our own to a WebSocket's client, between two messages of the server.
    virtual void send_to(TunnelId id, std::string text) = 0;
    // The key of a tunnel that was not known when it opened.
    virtual void set_tunnel_key(TunnelId id, std::string key) = 0;

    // Runs a function on the relay's thread, now or later.
    virtual void post(std::function<void()> function) = 0;
    virtual void post_after(std::chrono::milliseconds wait, std::function<void()> function) = 0;
    [[nodiscard]] virtual RelayCounts counts() = 0;
    // In two steps: no new clients, idle ones go, WebSockets are told goodbye; what is left after
    // `grace` is cut off. Not from the policy.
    virtual void stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace plimsoll::net
