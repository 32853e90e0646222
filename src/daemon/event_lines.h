// SPDX-License-Identifier: Apache-2.0
//
// What `plimsoll serve` prints: where it listens, then one line for each event, as text or as JSON.
// Never a prompt, a path of a request or a token.
//
// Leaves through: a FILE.   Threads: any.
#pragma once
#include "base/clock.h"
#include "base/json.h"
#include "service/job_queue.h"

#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::daemon {

enum class LineFormat : std::uint8_t { Text, Json };

class EventLines {
  public:
    EventLines(std::FILE* file, LineFormat format, const Clock& clock)
        : file_(file), format_(format), clock_(clock) {}

    // `gateway`: its address and port, where it listens.
    struct Gateway {
        std::string url;
        int port = 0;
    };
    void listening(const std::string& url, int port, const std::string& where, bool wants_token,
                   const std::optional<Gateway>& gateway);
    // Accepted, started, ended: nothing in between.
    void job(const service::QueuedJob& job);
    void warning(std::string_view code, const std::string& job_id, const std::string& message);
    void note(std::string_view event, const std::string& message);  // reloaded, stopping...

  private:
    void write(std::string_view event, const std::string& text, json::object fields);

    std::FILE* file_;
    LineFormat format_;
    const Clock& clock_;
    std::mutex mutex_;
    std::string last_job_;  // id and state of what was told last
};

}  // namespace plimsoll::daemon
