// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/socket_session.h"

#include "base/clock.h"
#include "base/text.h"
#include "simulator/server/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace plimsoll::simulator {

namespace {

// aiohttp's words for a request that is no handshake; nullopt when it is one.
std::optional<std::string> handshake_problem(const net::RequestHead& head) {
    const auto shown = [&](std::string_view name) {
        return net::has_header(head.headers, name) ? std::string(head.header(name))
                                                   : std::string("None");
    };
    if (to_lower_ascii(trim(head.header("Upgrade"))) != "websocket")
        return fmt::format("No WebSocket UPGRADE hdr: {}\n Can \"Upgrade\" only to \"WebSocket\".",
                           shown("Upgrade"));
    if (!to_lower_ascii(head.header("Connection")).contains("upgrade"))
        return fmt::format("No CONNECTION upgrade hdr: {}", shown("Connection"));
    const std::string_view version = head.header("Sec-WebSocket-Version");
    if (version != "13" && version != "8" && version != "7")
        return fmt::format("Unsupported version: {}", shown("Sec-WebSocket-Version"));
    if (head.header("Sec-WebSocket-Key").size() != 24 || !head.upgrades_to_websocket)
        return fmt::format("Handshake error: {}", shown("Sec-WebSocket-Key"));
    return std::nullopt;
}

std::string make_sid(Random& ids) {
    std::string sid = ids.next_uuid();
    std::erase(sid, '-');
    return sid;
}

// Flags count only in the first message that is JSON at all.
void hear(App& app, const std::string& sid, const std::string& text, bool& first) {
    const auto parsed = parse_python_json(text);
    if (!parsed || parsed->as_dict() == nullptr) return;
    const Value* const type = parsed->get("type");
    if (first && type != nullptr && *type == Value("feature_flags")) {
        const Value* const flags = parsed->get("data");
        app.hub.set_flags(
            sid, flags != nullptr && flags->as_dict() != nullptr ? *flags->as_dict() : Dict());
        app.hub.send_now("feature_flags", app.features(), sid);
    }
    first = false;
}

}  // namespace

net::Task<void> run_socket(App& app, net::Exchange& exchange) {
    const net::RequestHead& head = exchange.head();
    if (const auto problem = handshake_problem(head)) {
        (void)co_await exchange.respond(text_answer(400, *problem));
        co_return;
    }
    std::string sid;
    for (const net::QueryField& field : net::parse_query(head.query()))
        if (field.name == "clientId" && sid.empty()) sid = field.value;
    if (sid.empty()) sid = make_sid(app.ids);
    net::SocketOptions options;
    options.deflate = true;
    options.headers = {{"Date", net::http_date(system_clock().unix_ms() / 1000)},
                       {"Server", std::string(kServerName)}};
    const auto accepted = co_await exchange.accept_websocket(std::move(options));
    if (!accepted) co_return;
    const std::shared_ptr<net::ServerSocket>& socket = *accepted;
    app.hub.add(sid, socket);
    app.hub.send_now("status", {{"status", Value(app.queue_status())}, {"sid", Value(sid)}}, sid);
    if (const auto node = app.hub.node_for(sid))
        app.hub.send_now("executing", {{"node", Value(*node)}}, sid);
    bool first = true;
    for (;;) {
        const auto message = co_await socket->read();
        if (!message) break;
        if (!message->binary) hear(app, sid, message->bytes, first);
    }
    app.hub.remove(sid);
}

}  // namespace plimsoll::simulator
