// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/routes.h"

#include "base/text.h"
#include "simulator/server/answers.h"
#include "simulator/server/inflate.h"
#include "simulator/server/origin.h"
#include "simulator/server/socket_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

namespace plimsoll::simulator {

namespace {

// aiohttp's URL class undoes escapes that were never needed: %70rompt is prompt. %2F stays.
std::string normalize(std::string_view path) {
    std::string result;
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path[i] == '%' && i + 2 < path.size()) {
            const std::string decoded = net::decode_percent(path.substr(i, 3));
            const char c = decoded.front();
            const bool unreserved =
                decoded.size() == 1 &&
                ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-._~").contains(c));
            if (unreserved) {
                result += c;
                i += 2;
                continue;
            }
        }
        result += path[i];
    }
    return result;
}

using Parameters = std::vector<std::pair<std::string_view, std::string>>;

std::optional<Parameters> match(std::string_view pattern, std::string_view path) {
    Parameters parameters;
    std::size_t p = 0;
    std::size_t s = 0;
    while (p < pattern.size()) {
        if (pattern[p] != '{') {
            if (s >= path.size() || path[s] != pattern[p]) return std::nullopt;
            ++p;
            ++s;
            continue;
        }
        const auto close = pattern.find('}', p);
        std::string_view name = pattern.substr(p + 1, close - p - 1);
        const bool rest = name.ends_with(":*");
        if (rest) name.remove_suffix(2);
        const std::size_t end = rest ? path.size() : std::min(path.find('/', s), path.size());
        if (end == s && !rest) return std::nullopt;
        parameters.emplace_back(name, net::decode_percent(path.substr(s, end - s)));
        p = close + 1;
        s = end;
    }
    if (s != path.size()) return std::nullopt;
    return parameters;
}

struct Match {
    const Route* route = nullptr;
    Parameters parameters;
    std::set<std::string_view> methods{"GET", "HEAD"};  // the static files answer these anywhere
};

Match find_route(std::string_view method, std::string_view path) {
    Match found;
    const std::string_view bare = path.starts_with("/api/") ? path.substr(4) : path;
    for (const auto table : {prompt_routes(), info_routes(), file_routes(), user_routes()})
        for (const Route& route : table) {
            if (bare != path && route.prefix == Route::Prefix::Bare) continue;
            auto parameters = match(route.pattern, bare);
            if (!parameters) continue;
            found.methods.insert(route.method);
            const bool fits = route.method == method || (route.method == "GET" && method == "HEAD");
            if (!fits || found.route != nullptr) continue;
            found.route = &route;
            found.parameters = std::move(*parameters);
        }
    return found;
}

net::Response answer_unrouted(const net::RequestHead& head, const Match& found,
                              std::string_view path) {
    if (head.method != "GET" && head.method != "HEAD") {
        std::string allowed;
        for (const std::string_view method : found.methods)
            allowed += (allowed.empty() ? "" : ",") + std::string(method);
        return not_allowed_answer(allowed);
    }
    // What looks like an absolute path to the static files is refused in words.
    if (path.starts_with("//")) return text_answer(404, "404: Not Found");
    net::Response response = missing_file_answer(head.method == "HEAD");
    add_cache_control(response, path);
    return response;
}

// The body as the handler sees it, or the answer to a body that cannot be had.
net::Task<std::expected<std::string, net::Response>> read_body(App& app, net::Exchange& exchange) {
    const std::uint64_t limit = app.machine.flags.upload_bytes_max();
    auto body = co_await exchange.read_body(limit);
    if (!body && body.error().code == Errc::LimitExceeded)
        co_return std::unexpected(too_large_answer(limit));
    if (!body) co_return std::unexpected(text_answer(400, "400: Bad Request"));
    const std::string_view encoding = exchange.head().header("Content-Encoding");
    if (encoding.empty()) co_return std::move(*body);
    auto plain = inflate_body(*body, encoding, limit);
    if (!plain && plain.error().code == Errc::LimitExceeded)
        co_return std::unexpected(too_large_answer(limit));
    if (!plain) co_return std::unexpected(text_answer(400, "400: Bad Request"));
    co_return std::move(*plain);
}

net::Task<bool> suffer(App& app, net::Exchange& exchange) {
    if (app.faults.is_dead()) {
        exchange.hang_up();
        co_return true;
    }
    const auto fault = app.faults.take_request(exchange.head().path());
    if (!fault) co_return false;
    switch (fault->kind) {
        case RequestFault::Kind::Slow:
            co_await exchange.pause(fault->delay);
            co_return false;
        case RequestFault::Kind::Hang:
            co_await exchange.wait_gone();
            co_return true;
        case RequestFault::Kind::Cut:
            exchange.hang_up();
            co_return true;
        case RequestFault::Kind::Html:
            break;
    }
    net::Response page = bytes_answer(
        "<html><head><title>502 Bad Gateway</title></head><body>upstream</body></html>",
        "text/html");
    (void)co_await exchange.respond(std::move(page));
    co_return true;
}

}  // namespace

const std::string& RouteRequest::parameter(std::string_view name) const {
    static const std::string kNone;
    const auto found =
        std::ranges::find_if(parameters, [&](const auto& one) { return one.first == name; });
    return found == parameters.end() ? kNone : found->second;
}

const std::string* RouteRequest::field(std::string_view name) const {
    const auto found = std::ranges::find(query, name, &net::QueryField::name);
    return found == query.end() ? nullptr : &found->value;
}

net::Task<void> answer(App& app, net::Exchange& exchange) {
    const net::RequestHead& head = exchange.head();
    if (co_await suffer(app, exchange)) co_return;
    const std::string path = normalize(head.path());
    if (!origin_allowed(head)) {
        (void)co_await exchange.respond(empty_answer(403));
        co_return;
    }
    if (head.method == "OPTIONS") {
        (void)co_await exchange.respond(empty_answer(200));
        co_return;
    }
    if ((path == "/ws" || path == "/api/ws") && (head.method == "GET" || head.method == "HEAD")) {
        co_await run_socket(app, exchange);
        co_return;
    }
    Match found = find_route(head.method, path);
    if (found.route == nullptr) {
        (void)co_await exchange.respond(answer_unrouted(head, found, path));
        co_return;
    }
    RouteRequest request{.head = head,
                         .parameters = std::move(found.parameters),
                         .query = net::parse_query(head.query()),
                         .body = {}};
    if (found.route->body == Route::Body::Read) {
        auto body = co_await read_body(app, exchange);
        if (!body) {
            (void)co_await exchange.respond(std::move(body.error()));
            co_return;
        }
        request.body = std::move(*body);
    }
    net::Response response = found.route->function(app, request);
    add_cache_control(response, path);
    (void)co_await exchange.respond(std::move(response));
}

net::Response refuse_request(const net::BadRequest& why) {
    constexpr std::size_t kShown = 100;  // bytes of the target that aiohttp quotes
    net::Response response = text_answer(
        400, why.why == net::BadRequest::Why::Malformed
                 ? "400: Bad Request"
                 : fmt::format("Got more than 8190 bytes when reading: bytearray(b'{}...').",
                               why.target.substr(0, kShown)));
    response.version_minor = 0;
    return response;
}

}  // namespace plimsoll::simulator
