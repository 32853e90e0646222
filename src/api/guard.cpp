// SPDX-License-Identifier: Apache-2.0
#include "api/guard.h"

#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace plimsoll::api {

namespace {

// "host", "host:8190", "[::1]:8190"; empty when it is no authority.
std::string_view host_of(std::string_view authority) {
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        return end == std::string_view::npos ? std::string_view() : authority.substr(0, end + 1);
    }
    return authority.substr(0, authority.find(':'));
}

bool is_numeric(std::string_view host) {
    if (host.starts_with('[')) {
        const std::string_view inner = host.substr(1, host.size() - 2);
        return host.ends_with(']') && !inner.empty() &&
               inner.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
    }
    return std::ranges::count(host, '.') == 3 &&
           host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// Of "http://host:port": the authority; empty for "null" and anything else.
std::string_view authority_of_origin(std::string_view origin) {
    for (const std::string_view scheme : {"http://", "https://"})
        if (origin.starts_with(scheme)) return origin.substr(scheme.size());
    return {};
}

std::string cookie_value(std::string_view cookies, std::string_view name) {
    for (const std::string_view part : split(cookies, ';')) {
        const std::string_view pair = trim(part);
        if (pair.starts_with(name) && pair.substr(name.size()).starts_with('='))
            return net::decode_percent(pair.substr(name.size() + 1));
    }
    return {};
}

bool shows_token(const net::RequestHead& head, const std::string& token) {
    constexpr std::string_view kBearer = "bearer ";
    const std::string_view given = head.header("Authorization");
    if (to_lower_ascii(given.substr(0, kBearer.size())) == kBearer)
        return is_same_secret(trim(given.substr(kBearer.size())), token);
    return is_same_secret(cookie_value(head.header("Cookie"), kTokenCookie), token);
}

}  // namespace

bool is_same_secret(std::string_view given, std::string_view expected) {
    unsigned difference = given.size() == expected.size() ? 0 : 1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const unsigned char other =
            given.empty() ? 0 : static_cast<unsigned char>(given[i % given.size()]);
        difference |= static_cast<unsigned char>(expected[i]) ^ static_cast<unsigned>(other);
    }
    return difference == 0 && !expected.empty();
}

bool is_own_host(std::string_view host, const std::vector<std::string>& names) {
    const std::string name = to_lower_ascii(host_of(host));
    if (name.empty()) return false;
    if (name == "localhost" || name.ends_with(".localhost") || is_numeric(name)) return true;
    return std::ranges::any_of(names,
                               [&](const std::string& own) { return to_lower_ascii(own) == name; });
}

bool needs_token(std::string_view path) {
    return path.starts_with("/api/") || path == "/api" || path == "/metrics";
}

std::optional<Answer> check_request(const net::RequestHead& head, const GuardRules& rules) {
    const std::string_view host = head.header("Host");
    const auto hosts = std::ranges::count_if(head.headers, [](const net::Header& header) {
        return to_lower_ascii(header.name) == "host";
    });
    if (hosts != 1 || !is_own_host(host, rules.hosts))
        return refuse(Refusal::Forbidden, say<"error.wrong_host">(host.substr(0, 100)));
    const std::string_view origin = head.header("Origin");
    if (!origin.empty() && to_lower_ascii(authority_of_origin(origin)) != to_lower_ascii(host))
        return refuse(Refusal::Forbidden, say<"error.other_site">());
    const std::string_view site = head.header("Sec-Fetch-Site");
    const bool visits = head.header("Sec-Fetch-Mode") == "navigate" && !needs_token(head.path()) &&
                        (head.method == "GET" || head.method == "HEAD");
    if ((site == "cross-site" || site == "same-site") && !visits)
        return refuse(Refusal::Forbidden, say<"error.other_site">());
    if (!rules.token.empty() && needs_token(head.path()) && !shows_token(head, rules.token))
        return refuse(Refusal::Unauthorized, say<"error.token">());
    return std::nullopt;
}

std::optional<Answer> take_token(const net::RequestHead& head, const GuardRules& rules) {
    if (rules.token.empty() || head.method != "GET" || needs_token(head.path()))
        return std::nullopt;
    for (const net::QueryField& field : net::parse_query(head.query())) {
        if (field.name != "token") continue;
        if (!is_same_secret(field.value, rules.token))
            return refuse(Refusal::Unauthorized, say<"error.wrong_token">());
        // A token is set by its owner and may hold any byte: only plain ones go unescaped.
        std::string escaped;
        for (const char c : rules.token)
            escaped += std::isalnum(static_cast<unsigned char>(c)) != 0
                           ? std::string(1, c)
                           : fmt::format("%{:02X}", static_cast<unsigned char>(c));
        Answer answer;
        answer.status = 303;
        answer.content_type = "text/plain; charset=utf-8";
        answer.headers = {{"Location", "/"},
                          {"Cache-Control", "no-store"},
                          {"Set-Cookie", fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict",
                                                     kTokenCookie, escaped)}};
        return answer;
    }
    return std::nullopt;
}

}  // namespace plimsoll::api
