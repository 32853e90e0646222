// SPDX-License-Identifier: Apache-2.0
#include "gateway/origin.h"

#include "base/text.h"

#include <string>

namespace plimsoll::gateway {

namespace {

struct Authority {
    std::string name;  // lower case, without brackets
    std::string_view port;
};

Authority split_authority(std::string_view text) {
    const auto bracket = text.rfind(']');
    const auto colon = text.rfind(':');
    const bool has_port =
        colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
    Authority out;
    std::string_view name = has_port ? text.substr(0, colon) : text;
    if (has_port) out.port = text.substr(colon + 1);
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    out.name = to_lower_ascii(name);
    return out;
}

bool is_this_machine(std::string_view name) {
    return name == "localhost" || name == "::1" || name.starts_with("127.");
}

}  // namespace

bool is_from_another_site(std::string_view host, std::string_view origin,
                          std::string_view sec_fetch_site) {
    if (sec_fetch_site == "cross-site") return true;
    if (host.empty() || origin.empty()) return false;
    const auto scheme = origin.find("://");
    if (scheme == std::string_view::npos) return false;  // "null" is let through
    std::string_view rest = origin.substr(scheme + 3);
    rest = rest.substr(0, rest.find('/'));
    const Authority here = split_authority(host);
    const Authority there = split_authority(rest);
    if (!is_this_machine(here.name)) return false;
    return here.name != there.name || (!there.port.empty() && here.port != there.port);
}

}  // namespace plimsoll::gateway
