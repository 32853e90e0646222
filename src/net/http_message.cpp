// SPDX-License-Identifier: Apache-2.0
#include "net/http_message.h"

#include "base/text.h"

#include <fmt/format.h>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>

namespace plimsoll::net {

namespace {

bool same_name(std::string_view a, std::string_view b) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::optional<int> hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

}  // namespace

std::string_view header_value(const Headers& headers, std::string_view name) {
    const auto found = std::ranges::find_if(
        headers, [&](const Header& header) { return same_name(header.name, name); });
    return found == headers.end() ? std::string_view() : std::string_view(found->value);
}

bool has_header(const Headers& headers, std::string_view name) {
    return std::ranges::any_of(headers,
                               [&](const Header& header) { return same_name(header.name, name); });
}

std::string_view RequestHead::path() const {
    return std::string_view(target).substr(0, target.find('?'));
}

std::string_view RequestHead::query() const {
    const auto mark = target.find('?');
    return mark == std::string::npos ? std::string_view()
                                     : std::string_view(target).substr(mark + 1);
}

std::string_view reason_phrase(int status) {
    const auto known = boost::beast::http::int_to_status(static_cast<unsigned>(status));
    if (known == boost::beast::http::status::unknown) return "";
    return boost::beast::http::obsolete_reason(known);
}

namespace {

// Not strftime and strptime: their names follow the locale.
constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

std::string http_date(std::int64_t unix_seconds) {
    const std::time_t seconds = unix_seconds;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                       kDays.at(static_cast<std::size_t>(parts.tm_wday)), parts.tm_mday,
                       kMonths.at(static_cast<std::size_t>(parts.tm_mon)), parts.tm_year + 1900,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::optional<std::int64_t> parse_http_date(std::string_view text) {
    // "Mon, 23 Nov 2026 08:51:13 GMT": every part has its place.
    constexpr std::size_t kLength = 29;
    if (text.size() != kLength || !text.ends_with(" GMT")) return std::nullopt;
    const auto number = [&](std::size_t at, std::size_t digits) {
        return static_cast<int>(parse_integer(text.substr(at, digits)).value_or(-1));
    };
    const auto* const month = std::ranges::find(kMonths, text.substr(8, 3));
    std::tm parts{};
    parts.tm_mday = number(5, 2);
    parts.tm_mon = static_cast<int>(month - kMonths.begin());
    parts.tm_year = number(12, 4) - 1900;
    parts.tm_hour = number(17, 2);
    parts.tm_min = number(20, 2);
    parts.tm_sec = number(23, 2);
    const bool sound = month != kMonths.end() && parts.tm_mday >= 1 && parts.tm_mday <= 31 &&
                       parts.tm_year >= 0 && parts.tm_hour >= 0 && parts.tm_hour < 24 &&
                       parts.tm_min >= 0 && parts.tm_min < 60 && parts.tm_sec >= 0 &&
                       parts.tm_sec <= 60;
    if (!sound || http_date(timegm(&parts)) != text) return std::nullopt;
    return timegm(&parts);
}

std::string decode_percent(std::string_view text, bool plus_is_space) {
    std::string decoded;
    decoded.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            const auto high = hex_digit(text[i + 1]);
            const auto low = hex_digit(text[i + 2]);
            if (high && low) {
                decoded += static_cast<char>(*high * 16 + *low);
                i += 2;
                continue;
            }
        }
        decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
    return decoded;
}

std::vector<QueryField> parse_query(std::string_view query) {
    std::vector<QueryField> fields;
    for (const std::string_view part : split(query, '&')) {
        if (part.empty()) continue;
        const auto equals = part.find('=');
        fields.push_back({decode_percent(part.substr(0, equals), true),
                          equals == std::string_view::npos
                              ? std::string()
                              : decode_percent(part.substr(equals + 1), true)});
    }
    return fields;
}

}  // namespace plimsoll::net
