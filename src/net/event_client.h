// SPDX-License-Identifier: Apache-2.0
//
// Server-sent events for a caller that waits: one connection that is read with a patience. The
// other side is not trusted: an event has a limit, and a stream that says nothing for long is lost.
//
// Enters through: a TCP connection.   Leaves through: ServerEvent.   Threads: no shared state; one
// object, one thread.
#pragma once
#include "base/error.h"
#include "net/blocking_client.h"

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::net {

inline constexpr std::size_t kEventBytesMax = 4U << 20U;     // chosen: a forecast has 20 KB
inline constexpr std::chrono::seconds kEventSilenceMax{45};  // chosen: three missed keep-alives

struct ServerEvent {
    std::string id;    // of the newest event that had one
    std::string type;  // "message" where none is given
    std::string data;  // its lines joined by '\n'
};

// Pure: bytes in, whole events out (HTML Standard, section 9.2).
class EventParser {
  public:
    // LimitExceeded when one event is larger than kEventBytesMax; then the stream is of no use.
    [[nodiscard]] Result<void> feed(std::string_view bytes);
    [[nodiscard]] std::optional<ServerEvent> take();

  private:
    void take_line(std::string_view line);

    std::string line_;
    bool after_return_ = false;  // '\r' was seen: a '\n' that follows belongs to it
    std::string id_;
    std::string type_;
    std::string data_;
    std::deque<ServerEvent> ready_;
};

class EventClient {
  public:
    // Unavailable (nobody there, or the status and what the server said with it), InvalidInput for
    // 401 and 403.
    [[nodiscard]] static Result<std::unique_ptr<EventClient>> open(const Endpoint& endpoint,
                                                                   const HttpCall& call,
                                                                   const Patience& patience = {});
    virtual ~EventClient() = default;
    // The next event, or nullopt when none came in time. Unavailable once the connection is gone.
    [[nodiscard]] virtual Result<std::optional<ServerEvent>> next(
        std::chrono::milliseconds wait) = 0;
};

}  // namespace plimsoll::net
