// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/origin.h"

#include "base/text.h"

#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::simulator {

namespace {

struct Authority {
    std::string name;
    std::optional<std::string> port;
    [[nodiscard]] std::string text() const { return port ? name + ":" + *port : name; }
};

Authority parse_authority(std::string_view text) {
    Authority authority;
    const auto bracket = text.rfind(']');
    const auto colon = text.rfind(':');
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
        authority.name = text.substr(0, colon);
        if (colon + 1 < text.size()) authority.port = std::string(text.substr(colon + 1));
    } else {
        authority.name = text;
    }
    return authority;
}

bool is_loopback(std::string_view name) {
    return name == "localhost" || name.starts_with("127.") || name == "[::1]";
}

}  // namespace

bool origin_allowed(const net::RequestHead& request) {
    if (!net::has_header(request.headers, "Host") || !net::has_header(request.headers, "Origin"))
        return true;
    const Authority host = parse_authority(to_lower_ascii(request.header("Host")));
    // "null" and whatever else has no authority is let through, as by the real server.
    const std::string origin_text = to_lower_ascii(request.header("Origin"));
    const auto scheme = origin_text.find("//");
    if (scheme == std::string::npos) return true;
    const std::string_view rest = std::string_view(origin_text).substr(scheme + 2);
    const Authority origin = parse_authority(rest.substr(0, rest.find('/')));
    if (!is_loopback(host.name) || host.name.empty() || origin.name.empty()) return true;
    const std::string host_side = origin.port ? host.text() : host.name;
    const std::string origin_side = host.port ? origin.text() : origin.name;
    return host_side == origin_side;
}

}  // namespace plimsoll::simulator
