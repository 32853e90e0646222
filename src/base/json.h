// SPDX-License-Identifier: Apache-2.0
//
// JSON values for everything that need not keep its source bytes (Boost.JSON: objects keep their
// key order). Workflows are edited as splices on their own bytes instead, see workflow/.
#pragma once
#include "base/error.h"

#include <boost/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll {

namespace json = boost::json;

struct JsonLimits {
    std::uint64_t bytes_max = 64ULL
                              << 20U;  // chosen: far above any answer of ComfyUI we read whole
    std::size_t depth_max = 64;        // chosen: deepest real document seen has 12
};

// Never throws. Python's NaN and Infinity are not accepted here. Corrupt with the byte offset, or
// LimitExceeded.
[[nodiscard]] Result<json::value> parse_json(std::string_view text, const JsonLimits& limits = {});

// As parse_json, and takes what Python's json writes: NaN, Infinity and -Infinity outside strings
// become null.
[[nodiscard]] Result<json::value> parse_python_json(std::string_view text,
                                                    const JsonLimits& limits = {});

// Two-space indented, ends with a newline: for people and files.
[[nodiscard]] std::string to_pretty_json(const json::value& value);

// Typed look-ups that answer nullopt / nullptr for a missing key or another type.
[[nodiscard]] const json::value* find(const json::value& object, std::string_view key);
[[nodiscard]] std::optional<std::string_view> find_string(const json::value& object,
                                                          std::string_view key);
[[nodiscard]] std::optional<std::int64_t> find_int(const json::value& object, std::string_view key);
[[nodiscard]] std::optional<double> find_number(const json::value& object, std::string_view key);
[[nodiscard]] std::optional<bool> find_bool(const json::value& object, std::string_view key);

}  // namespace plimsoll
