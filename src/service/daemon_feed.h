// SPDX-License-Identifier: Apache-2.0
//
// What a running daemon tells, for a client that watches it: first what it is and which jobs it
// has, then its event stream, resumed where it was after a break.
//
// Enters through: net::EventClient, net::call_http.   Leaves through: DaemonEvent.   Threads: one
// object, one thread.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "net/event_client.h"
#include "service/config.h"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::service {

// Where a browser visits a daemon that listens there: an address that stands for all is none.
[[nodiscard]] std::string visit_url(const ListenAddress& listen, int port);

// One question to a running daemon, and the JSON of its answer. Unavailable where nobody answers;
// InvalidInput and NotFound as the daemon says it.
[[nodiscard]] Result<json::value> ask_daemon(const std::string& url, const std::string& token,
                                             const std::string& method, const std::string& target);

// Of a prompt that came through its gateway: "/api/gateway/jobs/<id>/run-anyway".
[[nodiscard]] std::string run_anyway_target(std::string_view prompt_id);

struct DaemonEvent {
    std::string type;  // those of /api/events, and "health" and "jobs" at each beginning
    json::value data;  // as docs/openapi.yaml has it; from outside, nothing is sure
};

// Seam: tests have a list of events.
class DaemonFeed {
  public:
    virtual ~DaemonFeed() = default;
    // The next event, or nullopt when none came in time. After an error (Unavailable: nobody
    // answers; InvalidInput: the token is wrong) the next call tries anew.
    [[nodiscard]] virtual Result<std::optional<DaemonEvent>> next(
        std::chrono::milliseconds wait) = 0;
};

class HttpDaemonFeed final : public DaemonFeed {
  public:
    // Connects to nothing yet. InvalidInput for an address that is none.
    [[nodiscard]] static Result<std::unique_ptr<DaemonFeed>> create(const std::string& url,
                                                                    const std::string& token);
    [[nodiscard]] Result<std::optional<DaemonEvent>> next(std::chrono::milliseconds wait) override;

  private:
    HttpDaemonFeed(net::Endpoint endpoint, std::string authorization)
        : endpoint_(std::move(endpoint)), authorization_(std::move(authorization)) {}
    Result<void> connect();
    Result<json::value> get(const std::string& target);
    Result<void> read_whole();

    net::Endpoint endpoint_;
    std::string authorization_;
    std::unique_ptr<net::EventClient> events_;
    std::string last_id_;
    std::deque<DaemonEvent> ready_;
};

}  // namespace plimsoll::service
