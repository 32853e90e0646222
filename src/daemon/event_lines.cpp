// SPDX-License-Identifier: Apache-2.0
#include "daemon/event_lines.h"

#include "base/utf8.h"
#include "cli/text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <utility>

namespace plimsoll::daemon {

void EventLines::write(std::string_view event, const std::string& text, json::object fields) {
    const std::int64_t now = clock_.unix_ms();
    std::string line;
    if (format_ == LineFormat::Json) {
        json::object object{{"atMs", now}, {"event", event}};
        for (auto& [key, value] : fields) object[key] = std::move(value);
        line = valid_utf8(json::serialize(object));
    } else {
        line = fmt::format("{:%H:%M:%S} {}", fmt::localtime(static_cast<std::time_t>(now / 1000)),
                           cli::plain(text));
    }
    const std::lock_guard lock(mutex_);
    // A reader that is gone is no reason to stop serving.
    (void)std::fprintf(file_, "%s\n", line.c_str());
    (void)std::fflush(file_);
}

void EventLines::listening(const std::string& url, int port, const std::string& where,
                           bool wants_token, const std::optional<Gateway>& gateway) {
    write("listening",
          fmt::format("plimsoll {} at {}{}; {}{}; Ctrl-C stops it", PLIMSOLL_VERSION, url,
                      wants_token ? " (its token: visit /?token=TOKEN once)" : "", where,
                      gateway ? fmt::format("; its clients may come to {}", gateway->url) : ""),
          {{"url", url},
           {"port", port},
           {"version", PLIMSOLL_VERSION},
           {"where", where},
           {"token", wants_token},
           {"gatewayUrl", gateway ? json::value(gateway->url) : json::value(nullptr)},
           {"gatewayPort", gateway ? json::value(gateway->port) : json::value(nullptr)}});
}

void EventLines::job(const service::QueuedJob& job) {
    const std::string_view state = service::queue_state_name(job.state);
    {
        const std::lock_guard lock(mutex_);
        std::string told = fmt::format("{} {}", job.job_id, state);
        if (told == last_job_) return;
        last_job_ = std::move(told);
    }
    const std::string id = job.job_id.substr(0, 8);
    std::string text = fmt::format("job {} {} ({})", id, state, job.model);
    if (!job.why.empty()) text += ": " + job.why.message();
    const auto bytes = [](const std::optional<Bytes>& value) {
        return value ? json::value(value->count) : json::value(nullptr);
    };
    write("job", text,
          {{"jobId", job.job_id},
           {"state", state},
           {"model", job.model},
           {"loadLineBytes", bytes(job.load_line)},
           {"forecastPeakBytes", bytes(job.forecast_peak)},
           {"observedPeakBytes", bytes(job.observed_peak)},
           {"why", job.why.empty() ? json::value(nullptr) : json::value(job.why.message())}});
}

void EventLines::warning(std::string_view code, const std::string& job_id,
                         const std::string& message) {
    write("warning",
          job_id.empty() ? fmt::format("warning: {}", message)
                         : fmt::format("warning: job {}: {}", job_id.substr(0, 8), message),
          {{"code", code},
           {"jobId", job_id.empty() ? json::value(nullptr) : json::value(job_id)},
           {"message", message}});
}

void EventLines::note(std::string_view event, const std::string& message) {
    write(event, message, {{"message", message}});
}

}  // namespace plimsoll::daemon
