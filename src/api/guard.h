// SPDX-License-Identifier: Apache-2.0
//
// Who may ask: the Host must be ours (against DNS rebinding), another site's page may not ask
// (Origin, Sec-Fetch-Site), and where the daemon has a token it must be shown. Pure; nothing here
// is ever logged.
//
// Enters through: RequestHead.   Leaves through: a refusal.   Threads: no shared state.
#pragma once
#include "api/answer.h"
#include "net/http_message.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::api {

inline constexpr std::size_t kTokenBytesMin = 16;  // chosen: 64 bits of hexadecimal digits
inline constexpr std::string_view kTokenCookie = "plimsoll_token";

struct GuardRules {
    std::string token;               // empty: none is asked for
    std::vector<std::string> hosts;  // names beside localhost and numeric addresses
};

// Does the whole comparison whatever the first difference, so that time tells nothing.
[[nodiscard]] bool is_same_secret(std::string_view given, std::string_view expected);

// localhost, *.localhost, an address in digits, or one of `names`; with or without a port.
[[nodiscard]] bool is_own_host(std::string_view host, const std::vector<std::string>& names);

// The part of the API behind the token; pages and the API's description are open.
[[nodiscard]] bool needs_token(std::string_view path);

// nullopt: let it in.
[[nodiscard]] std::optional<Answer> check_request(const net::RequestHead& head,
                                                  const GuardRules& rules);

// A visit of a page with ?token=TOKEN: the answer that keeps it as a cookie and leads to the page
// without it.
[[nodiscard]] std::optional<Answer> take_token(const net::RequestHead& head,
                                               const GuardRules& rules);

}  // namespace plimsoll::api
