// SPDX-License-Identifier: Apache-2.0
//
// What an HTTP/1.1 server sees of a request and says in an answer. Header names, their order and
// the request target are kept byte for byte: a proxy forwards them, a simulator imitates them.
// Plain values, no shared state.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::net {

struct Header {
    std::string name;
    std::string value;
    bool operator==(const Header&) const = default;
};
using Headers = std::vector<Header>;

// The first value under that name, case ignored; empty when there is none.
[[nodiscard]] std::string_view header_value(const Headers& headers, std::string_view name);
[[nodiscard]] bool has_header(const Headers& headers, std::string_view name);

struct RequestHead {
    std::string method;      // as sent, any token
    std::string target;      // as sent: neither decoded nor normalised
    int version_minor = 1;   // HTTP/1.x
    Headers headers;         // in the order in which they came
    bool keep_alive = true;  // what version and Connection header ask for
    bool upgrades_to_websocket = false;

    [[nodiscard]] std::string_view header(std::string_view name) const {
        return header_value(headers, name);
    }
    // The target up to the question mark, and what follows it.
    [[nodiscard]] std::string_view path() const;
    [[nodiscard]] std::string_view query() const;
};

// Bytes of a file, read while they are sent.
struct FileSlice {
    std::filesystem::path path;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

struct Response {
    int status = 200;
    std::string reason;  // empty: the standard phrase of the status
    Headers headers;     // Content-Length follows unless it or Transfer-Encoding is there
    std::variant<std::string, FileSlice> body = std::string();
    int version_minor = -1;  // -1: that of the request
    bool close = false;      // close the connection afterwards; adds Connection: close
    bool exact = false;      // no Content-Length is added
};

// "Not Found" for 404; empty for codes without a phrase.
[[nodiscard]] std::string_view reason_phrase(int status);
// "Mon, 23 Nov 2026 08:51:13 GMT"
[[nodiscard]] std::string http_date(std::int64_t unix_seconds);
// The other way round; nullopt for any other form.
[[nodiscard]] std::optional<std::int64_t> parse_http_date(std::string_view text);
// %XX decoded; a plus sign becomes a space only when `plus_is_space`. Broken escapes stay as they
// are.
[[nodiscard]] std::string decode_percent(std::string_view text, bool plus_is_space = false);

struct QueryField {
    std::string name;
    std::string value;
};
// The fields of a query or of a form body, decoded, in order.
[[nodiscard]] std::vector<QueryField> parse_query(std::string_view query);

}  // namespace plimsoll::net
