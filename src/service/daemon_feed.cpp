// SPDX-License-Identifier: Apache-2.0
#include "service/daemon_feed.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::service {

namespace {

// Somebody looks at a screen meanwhile.
constexpr net::Patience kPatience{.connect = std::chrono::milliseconds(1500),
                                  .whole = std::chrono::milliseconds(5000),
                                  .body_bytes_max = 8ULL << 20U};

std::string authorization_of(const std::string& token) {
    return token.empty() ? "" : "Bearer " + token;
}

Errc code_of(int status) {
    if (status == 404) return Errc::NotFound;
    return status >= 400 && status < 500 ? Errc::InvalidInput : Errc::Unavailable;
}

Result<json::value> ask(const net::Endpoint& endpoint, const net::HttpCall& call) {
    TRY_ASSIGN(const net::HttpReply reply, net::call_http(endpoint, call, kPatience));
    TRY_ASSIGN(json::value answer, parse_json(reply.body));
    if (reply.status == 200) return answer;
    const json::value* const error = find(answer, "error");
    const auto said = error == nullptr ? std::nullopt : find_string(*error, "message");
    return fail(code_of(reply.status),
                fmt::format("{} answers {}: {}", endpoint.text(), reply.status,
                            said.value_or("without a reason")));
}

}  // namespace

Result<json::value> ask_daemon(const std::string& url, const std::string& token,
                               const std::string& method, const std::string& target) {
    TRY_ASSIGN(const net::Endpoint endpoint, net::parse_endpoint(url));
    return ask(endpoint,
               {.method = method, .target = target, .authorization = authorization_of(token)});
}

std::string run_anyway_target(std::string_view prompt_id) {
    return fmt::format("/api/gateway/jobs/{}/run-anyway", net::encode_component(prompt_id));
}

std::string visit_url(const ListenAddress& listen, int port) {
    const std::string address = listen.address == "0.0.0.0" ? "127.0.0.1"
                                : listen.address == "::"    ? "::1"
                                                            : listen.address;
    return net::Endpoint{address, port}.text();
}

Result<std::unique_ptr<DaemonFeed>> HttpDaemonFeed::create(const std::string& url,
                                                           const std::string& token) {
    TRY_ASSIGN(net::Endpoint endpoint, net::parse_endpoint(url));
    return std::unique_ptr<DaemonFeed>(
        new HttpDaemonFeed(std::move(endpoint), authorization_of(token)));
}

Result<json::value> HttpDaemonFeed::get(const std::string& target) {
    return ask(endpoint_, {.target = target, .authorization = authorization_});
}

// What the stream does not repeat: the daemon itself, and the jobs that ended.
Result<void> HttpDaemonFeed::read_whole() {
    TRY_ASSIGN(json::value health, get("/api/health"));
    TRY_ASSIGN(json::value jobs, get("/api/jobs"));
    ready_.push_back({"health", std::move(health)});
    ready_.push_back({"jobs", std::move(jobs)});
    return {};
}

Result<void> HttpDaemonFeed::connect() {
    const std::string mark =
        last_id_.empty() ? "" : "?lastEventId=" + net::encode_component(last_id_);
    // The stream first: what happens between the two is told twice and not missed.
    TRY_ASSIGN(events_,
               net::EventClient::open(
                   endpoint_, {.target = "/api/events" + mark, .authorization = authorization_},
                   kPatience));
    if (auto read = read_whole(); !read) {
        events_.reset();
        return read;
    }
    return {};
}

Result<std::optional<DaemonEvent>> HttpDaemonFeed::next(std::chrono::milliseconds wait) {
    if (!events_) TRY_DO(connect());
    if (!ready_.empty()) {
        DaemonEvent event = std::move(ready_.front());
        ready_.pop_front();
        return event;
    }
    auto event = events_->next(wait);
    if (!event) {
        events_.reset();
        return std::unexpected(std::move(event).error());
    }
    if (!*event) return std::optional<DaemonEvent>();
    last_id_ = (*event)->id;
    auto data = parse_json((*event)->data);
    if (!data) {
        events_.reset();
        return std::unexpected(std::move(data).error());
    }
    return DaemonEvent{std::move((*event)->type), std::move(*data)};
}

}  // namespace plimsoll::service
