// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll {
namespace {

void append_pretty(std::string& out, const json::value& value, std::size_t indent) {
    const auto line = [&](std::size_t depth) { out.append("\n").append(depth * 2, ' '); };
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
        out += '{';
        bool first = true;
        for (const auto& [key, member] : *object) {
            if (!first) out += ',';
            first = false;
            line(indent + 1);
            out += json::serialize(key);
            out += ": ";
            append_pretty(out, member, indent + 1);
        }
        line(indent);
        out += '}';
    } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
        out += '[';
        bool first = true;
        for (const auto& element : *array) {
            if (!first) out += ',';
            first = false;
            line(indent + 1);
            append_pretty(out, element, indent + 1);
        }
        line(indent);
        out += ']';
    } else if (const auto* number = value.if_double();
               number != nullptr && std::isfinite(*number)) {
        out += fmt::format("{}", *number);  // 1800 where Boost writes 1.8E3
    } else {
        out += json::serialize(value);
    }
}

// Boost.JSON makes infinity of a number beyond the range of a double. Depth is limited by the
// parser.
bool is_finite(const json::value& value) {
    if (const auto* number = value.if_double()) return std::isfinite(*number);
    if (const auto* array = value.if_array()) return std::ranges::all_of(*array, is_finite);
    if (const auto* object = value.if_object())
        return std::ranges::all_of(
            *object, [](const json::key_value_pair& member) { return is_finite(member.value()); });
    return true;
}

// Python's NaN, Infinity and -Infinity outside strings become null.
std::string without_python_numbers(std::string_view text) {
    std::string clean;
    clean.reserve(text.size());
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            clean += c;
            if (c == '\\' && i + 1 < text.size()) clean += text[++i];
            in_string = c != '"';
            continue;
        }
        constexpr std::array<std::string_view, 3> kTokens{"-Infinity", "Infinity", "NaN"};
        const auto* const token = std::ranges::find_if(
            kTokens, [&](std::string_view t) { return text.substr(i).starts_with(t); });
        if (token != kTokens.end()) {
            clean += "null";
            i += token->size() - 1;
            continue;
        }
        in_string = c == '"';
        clean += c;
    }
    return clean;
}

}  // namespace

Result<json::value> parse_json(std::string_view text, const JsonLimits& limits) {
    if (text.size() > limits.bytes_max)
        return fail(Errc::LimitExceeded,
                    fmt::format("JSON has {} bytes, limit {}", text.size(), limits.bytes_max));
    json::parse_options options;
    options.max_depth = limits.depth_max;
    json::stream_parser parser(json::storage_ptr(), options);
    json::error_code error;
    const std::size_t consumed = parser.write_some(text.data(), text.size(), error);
    if (!error && consumed < text.size()) {
        if (text.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos)
            error = json::error::extra_data;
    }
    if (!error) parser.finish(error);
    if (error == json::error::too_deep)
        return fail(Errc::LimitExceeded, fmt::format("JSON is nested deeper than {} at byte {}",
                                                     limits.depth_max, consumed));
    if (error)
        return fail(Errc::Corrupt,
                    fmt::format("not JSON: {} at byte {}", error.message(), consumed));
    json::value value = parser.release();
    if (!is_finite(value))
        return fail(Errc::Corrupt, "not JSON: a number is beyond the range of a double");
    return value;
}

Result<json::value> parse_python_json(std::string_view text, const JsonLimits& limits) {
    auto value = parse_json(text, limits);
    const bool may_be_python = text.find("NaN") != std::string_view::npos ||
                               text.find("Infinity") != std::string_view::npos;
    if (value || value.error().code != Errc::Corrupt || !may_be_python) return value;
    return parse_json(without_python_numbers(text), limits);
}

std::string to_pretty_json(const json::value& value) {
    std::string out;
    append_pretty(out, value, 0);
    out += '\n';
    return out;
}

const json::value* find(const json::value& object, std::string_view key) {
    const auto* members = object.if_object();
    return members == nullptr ? nullptr : members->if_contains(key);
}

std::optional<std::string_view> find_string(const json::value& object, std::string_view key) {
    const auto* value = find(object, key);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string_view(value->get_string());
}

std::optional<std::int64_t> find_int(const json::value& object, std::string_view key) {
    const auto* value = find(object, key);
    if (value == nullptr) return std::nullopt;
    if (value->is_int64()) return value->get_int64();
    if (value->is_uint64() && value->get_uint64() <= INT64_MAX)
        return static_cast<std::int64_t>(value->get_uint64());
    return std::nullopt;
}

std::optional<double> find_number(const json::value& object, std::string_view key) {
    const auto* value = find(object, key);
    if (value == nullptr || !value->is_number()) return std::nullopt;
    return value->to_number<double>();
}

std::optional<bool> find_bool(const json::value& object, std::string_view key) {
    const auto* value = find(object, key);
    if (value == nullptr || !value->is_bool()) return std::nullopt;
    return value->get_bool();
}

}  // namespace plimsoll
