// SPDX-License-Identifier: Apache-2.0
#include "api/app.h"

#include "api/routes.h"
#include "base/log.h"
#include "base/say.h"
#include "base/text.h"
#include "base/utf8.h"

#include <utility>

namespace plimsoll::api {

namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kBodyBytesMax = 16ULL << 20U;  // chosen: the largest workflows have two MiB
constexpr int kWorkers = 2;                            // chosen: one slow call leaves one free
constexpr std::size_t kWaitingMax = 64;                // chosen: a page has about ten calls open
constexpr milliseconds kKeepAlive{15'000};             // chosen: proxies cut after 60 s of silence
constexpr std::string_view kSecurity =
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

void add_security(net::Headers& headers, bool is_api) {
    headers.push_back({"X-Content-Type-Options", "nosniff"});
    headers.push_back({"Referrer-Policy", "no-referrer"});
    headers.push_back({"X-Frame-Options", "DENY"});
    headers.push_back({"Cross-Origin-Resource-Policy", "same-origin"});
    headers.push_back({"Cross-Origin-Opener-Policy", "same-origin"});
    headers.push_back({"Content-Security-Policy", std::string(kSecurity)});
    if (is_api && !net::has_header(headers, "Cache-Control"))
        headers.push_back({"Cache-Control", "no-store"});
}

net::Response response_of(Answer answer, bool is_api) {
    net::Response response;
    response.status = answer.status;
    response.headers = std::move(answer.headers);
    if (answer.status != 304)
        response.headers.insert(response.headers.begin(),
                                {"Content-Type", std::move(answer.content_type)});
    add_security(response.headers, is_api);
    response.body = std::move(answer.body);
    return response;
}

// "application/json", with or without parameters.
bool is_json(std::string_view type) {
    const std::string_view kind = trim(type.substr(0, type.find(';')));
    return to_lower_ascii(kind) == "application/json";
}

bool is_of_api(std::string_view path) {
    return needs_token(path) || path == "/openapi.json";
}

}  // namespace

App::App(AppParts parts)
    : parts_(std::move(parts)),
      page_(parts_.page),
      cache_(parts_.clock),
      started_(parts_.clock.steady()),
      workers_(net::Workers::create(kWorkers, kWaitingMax)) {}

net::ServerOptions App::server_options() {
    net::ServerOptions options;
    options.connections_max = 512;          // chosen: streams and pages of one house
    options.header_bytes_max = 32U << 10U;  // chosen: cookies of other programs on localhost
    options.header_wait = milliseconds(10'000);
    options.idle_wait = milliseconds(75'000);  // chosen: browsers keep a connection for a minute
    options.body_wait = milliseconds(10'000);
    options.body_whole = milliseconds(60'000);
    options.write_wait = milliseconds(20'000);
    options.drain_bytes_max = 1ULL << 20U;
    options.refuse = [](const net::BadRequest& bad) {
        Answer answer =
            answer_error({Errc::InvalidInput, "the request cannot be read: " + bad.message});
        if (bad.why == net::BadRequest::Why::TargetTooLong) answer.status = 414;
        if (bad.why == net::BadRequest::Why::HeadersTooLarge) answer.status = 431;
        return response_of(std::move(answer), true);
    };
    return options;
}

net::Handler App::handler() {
    return [this](net::Exchange& exchange) { return answer(exchange); };
}

double App::uptime_seconds() const {
    return std::chrono::duration<double>(parts_.clock.steady() - started_).count();
}

Answer App::with_history(const std::function<Answer(history::Store&)>& use) {
    const std::lock_guard lock(history_mutex_);
    if (!history_) {
        auto opened = parts_.open_history();
        if (!opened) return answer_error(opened.error());
        history_ = std::move(*opened);
    }
    return use(*history_);
}

// A path that no route has with this method.
Answer App::answer_unrouted(const net::RequestHead& head, const std::string& allow) const {
    const bool is_api = is_of_api(head.path());
    const bool reads = head.method == "GET" || head.method == "HEAD";
    if (!allow.empty() || (!is_api && !reads)) {
        Answer answer =
            refuse(Refusal::MethodNotAllowed, say<"error.wrong_method">(valid_utf8(head.method)));
        answer.headers.push_back({"Allow", allow.empty() ? "GET, HEAD" : allow});
        return answer;
    }
    return is_api ? refuse(Refusal::NotFound, say<"error.no_path">()) : page_.find(head);
}

// nullopt: the client is gone.
net::Task<std::optional<Answer>> App::answer_routed(net::Exchange& exchange, const Route& route,
                                                    std::vector<std::string> params, Query query) {
    const net::RequestHead& head = exchange.head();
    Call call{*this, head, {}, std::move(params), std::move(query)};
    if (route.takes_body) {
        if (!is_json(head.header("Content-Type")))
            co_return refuse(Refusal::UnsupportedMediaType, "send application/json");
        auto body = co_await exchange.read_body(kBodyBytesMax);
        if (!body && body.error().code == Errc::Unavailable) co_return std::nullopt;
        if (!body && body.error().code == Errc::LimitExceeded)
            co_return refuse(Refusal::TooLarge, body.error().message);
        if (!body) co_return answer_error({Errc::InvalidInput, body.error().message});
        call.body = std::move(*body);
    }
    if (route.runs == Runs::Here) co_return route.answer(call);
    Answer answer;
    const bool ran = co_await workers_->run([&] { answer = route.answer(call); });
    if (!ran) co_return refuse(Refusal::Busy, say<"error.many_requests">());
    co_return answer;
}

net::Task<void> App::answer(net::Exchange& exchange) {
    const net::RequestHead& head = exchange.head();
    const auto began = parts_.clock.steady();
    std::string_view counted = is_of_api(head.path()) ? "other" : "page";
    std::optional<Answer> answer = check_request(head, parts_.guard);
    if (!answer) answer = take_token(head, parts_.guard);
    if (!answer) {
        Match match = match_route(head.method, head.path());
        if (match.route == nullptr) {
            answer = answer_unrouted(head, match.allow);
        } else {
            counted = match.route->pattern;
            auto query = Query::parse(head.query(), match.route->query);
            if (!query) {
                answer = answer_error(query.error());
            } else if (match.route->runs == Runs::AsStream) {
                auto last =
                    query->text("lastEventId").value_or(std::string(head.header("Last-Event-ID")));
                co_return co_await stream_events(exchange, std::move(last));
            } else if (match.route->runs == Runs::AsExport) {
                answer = co_await stream_export(exchange, std::move(*query));
                if (!answer) co_return;
            } else {
                answer = co_await answer_routed(exchange, *match.route, std::move(match.params),
                                                std::move(*query));
                if (!answer) co_return;
            }
        }
    }
    const int status = answer->status;
    (void)co_await exchange.respond(response_of(std::move(*answer), is_of_api(head.path())));
    const double seconds = std::chrono::duration<double>(parts_.clock.steady() - began).count();
    parts_.metrics.count_request(counted, status, seconds);
    // Neither query, body nor headers: they may hold secrets and prompts.
    log::debug("{} {} {} in {:.4f} s", valid_utf8(head.method), counted, status, seconds);
}

// What goes wrong before the first part is an answer like any other; later the connection breaks
// off, so that nobody takes a part for the whole.
net::Task<std::optional<Answer>> App::stream_export(net::Exchange& exchange, Query query) {
    auto wish = Export::create(query);
    if (!wish) co_return answer_error(wish.error());
    bool has_begun = false;
    while (true) {
        Result<std::string> part;
        std::optional<Answer> failed;
        const bool ran = co_await workers_->run([&] {
            const Answer used = with_history([&](history::Store& store) {
                part = wish->next(store);
                return part ? Answer() : answer_error(part.error());
            });
            if (used.status != 200) failed = used;
        });
        if (!ran) failed = refuse(Refusal::Busy, say<"error.many_requests">());
        if (failed && !has_begun) co_return failed;
        if (failed || exchange.is_ending()) {
            exchange.hang_up();
            co_return std::nullopt;
        }
        if (!has_begun) {
            net::Response head;
            head.headers = wish->headers();
            add_security(head.headers, true);
            if (exchange.head().method == "HEAD") {
                (void)co_await exchange.respond(std::move(head));
                co_return std::nullopt;
            }
            head.headers.push_back({"Transfer-Encoding", "chunked"});
            if (!co_await exchange.start(std::move(head))) co_return std::nullopt;
            has_begun = true;
            parts_.metrics.count_request("/api/history/export", 200, 0);
        }
        if (part->empty()) break;
        if (!co_await exchange.write(std::move(*part))) co_return std::nullopt;
    }
    (void)co_await exchange.finish();
    co_return std::nullopt;
}

net::Task<void> App::stream_events(net::Exchange& exchange, std::string last_id) {
    net::Response head;
    head.headers = {{"Content-Type", "text/event-stream"}, {"X-Accel-Buffering", "no"}};
    add_security(head.headers, true);
    if (exchange.head().method == "HEAD") {
        (void)co_await exchange.respond(std::move(head));
        co_return;
    }
    const auto stream = parts_.events.subscribe(last_id, exchange.waker());
    if (!stream) {
        (void)co_await exchange.respond(
            response_of(refuse(Refusal::Busy, say<"error.streams">(kStreamsMax)), true));
        parts_.metrics.count_request("/api/events", 429, 0);
        co_return;
    }
    head.close = true;  // nothing comes after a stream
    parts_.metrics.count_request("/api/events", 200, 0);
    if (!co_await exchange.start(std::move(head))) co_return;
    if (!co_await exchange.write("retry: 2000\n\n")) co_return;
    auto spoke = parts_.clock.steady();
    while (!stream->is_closed() && !exchange.is_ending()) {
        std::string bytes = stream->take();
        const auto silent = std::chrono::duration_cast<milliseconds>(parts_.clock.steady() - spoke);
        if (bytes.empty() && silent >= kKeepAlive) bytes = ": keep-alive\n\n";
        if (bytes.empty()) {
            co_await exchange.pause(kKeepAlive - silent);
            continue;
        }
        if (!co_await exchange.write(std::move(bytes))) co_return;
        spoke = parts_.clock.steady();
    }
    (void)co_await exchange.finish();
}

}  // namespace plimsoll::api
