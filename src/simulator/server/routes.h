// SPDX-License-Identifier: Apache-2.0
//
// The table of routes: which handler answers which path, and what a path without one is answered.
// Every route exists with and without /api in front, but for those that ComfyUI keeps bare.
//
// Threads: the server's thread.
#pragma once
#include "net/server.h"
#include "simulator/server/app.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::simulator {

// A request whose body was read where the route wants it.
struct RouteRequest {
    const net::RequestHead& head;
    std::vector<std::pair<std::string_view, std::string>> parameters;  // of the path, decoded
    std::vector<net::QueryField> query;
    std::string body;

    [[nodiscard]] const std::string& parameter(std::string_view name) const;
    // The first value of the query under that name.
    [[nodiscard]] const std::string* field(std::string_view name) const;
    [[nodiscard]] bool is_head() const { return head.method == "HEAD"; }
};

using RouteFunction = net::Response (*)(App& app, const RouteRequest& request);

struct Route {
    std::string_view method;   // GET answers HEAD too
    std::string_view pattern;  // "/userdata/{file}/move/{dest}"; {name:*} takes the rest
    RouteFunction function = nullptr;
    enum class Body { Ignored, Read } body = Body::Ignored;
    enum class Prefix { Both, Bare } prefix = Prefix::Both;
};

[[nodiscard]] std::span<const Route> prompt_routes();
[[nodiscard]] std::span<const Route> info_routes();
[[nodiscard]] std::span<const Route> file_routes();
[[nodiscard]] std::span<const Route> user_routes();

// Answers one request, WebSockets included.
[[nodiscard]] net::Task<void> answer(App& app, net::Exchange& exchange);
[[nodiscard]] net::Response refuse_request(const net::BadRequest& why);

}  // namespace plimsoll::simulator
