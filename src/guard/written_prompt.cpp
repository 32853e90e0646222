// SPDX-License-Identifier: Apache-2.0
//
// Whether the prompt in a picture is the one that was sent.
#include "base/json.h"
#include "base/text.h"
#include "guard/written_work.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::guard {

namespace {

constexpr int kDepthMax = 64;  // as parse_json

bool is_number(const json::value& value) {
    return value.is_int64() || value.is_uint64() || value.is_double();
}
double as_double(const json::value& value) {
    return value.is_double()  ? value.get_double()
           : value.is_int64() ? static_cast<double>(value.get_int64())
                              : static_cast<double>(value.get_uint64());
}

// Seeds have 64 bits, more than a double: whole numbers are compared as such.
bool same_number(const json::value& sent, const json::value& written) {
    if (!sent.is_double() && !written.is_double()) return sent == written;
    const double from = as_double(sent);
    const double to = as_double(written);
    return from == to || (!written.is_double() && std::trunc(from) == to);  // int(8.7)
}

bool is_true(const json::value& value) {
    if (value.is_bool()) return value.get_bool();
    if (is_number(value)) return as_double(value) != 0;
    return value.is_string() && !value.get_string().empty();
}

// int("20"), float(" 5.0 "), str(5)
bool same_as_text(const json::value& text, const json::value& number) {
    const std::string_view trimmed = trim(text.get_string());
    const auto whole = parse_integer(trimmed);
    if (whole && !number.is_double()) return json::value(*whole) == number;
    const auto parsed = parse_number(trimmed);
    return parsed && *parsed == as_double(number);
}

bool same_value(const json::value& sent, const json::value& written, int depth);

bool same_members(const json::object& sent, const json::object& written, int depth) {
    return sent.size() == written.size() && std::ranges::all_of(sent, [&](const auto& member) {
               const json::value* const other = written.if_contains(member.key());
               return other != nullptr && same_value(member.value(), *other, depth + 1);
           });
}

bool same_value(const json::value& sent, const json::value& written, int depth) {
    if (depth > kDepthMax) return false;
    if (is_number(sent) && is_number(written)) return same_number(sent, written);
    if (sent.is_bool() && written.is_bool()) return sent.get_bool() == written.get_bool();
    if (written.is_bool()) return is_true(sent) == written.get_bool();
    if (sent.is_bool() && is_number(written))
        return as_double(written) == (sent.get_bool() ? 1.0 : 0.0);
    if (sent.is_string() && is_number(written)) return same_as_text(sent, written);
    if (is_number(sent) && written.is_string()) return same_as_text(written, sent);
    if (sent.is_array() && written.is_array())
        return std::ranges::equal(sent.get_array(), written.get_array(),
                                  [&](const json::value& one, const json::value& other) {
                                      return same_value(one, other, depth + 1);
                                  });
    if (sent.is_object() && written.is_object())
        return same_members(sent.get_object(), written.get_object(), depth);
    // A list that is no link comes wrapped, and is unwrapped.
    if (const json::value* const inner = find(sent, "__value__"); inner != nullptr)
        return same_value(*inner, written, depth + 1);
    return sent == written;
}

bool same_node(const json::value& sent, const json::value& written) {
    const auto type = find_string(sent, "class_type");
    if (!type || type != find_string(written, "class_type")) return false;
    static const json::value kNone = json::object();
    const json::value* const from = find(sent, "inputs");
    const json::value* const to = find(written, "inputs");
    return same_value(from == nullptr ? kNone : *from, to == nullptr ? kNone : *to, 0);
}

}  // namespace

bool is_same_prompt(std::string_view sent, std::string_view written) {
    const auto from = parse_python_json(sent);
    const auto to = parse_python_json(written);
    if (!from || !to || !from->is_object() || !to->is_object()) return false;
    const json::object& nodes = from->get_object();
    // Of a node only what it does: ComfyUI adds what it found out about it ("is_changed").
    return nodes.size() == to->get_object().size() &&
           std::ranges::all_of(nodes, [&](const auto& node) {
               const json::value* const other = to->get_object().if_contains(node.key());
               return other != nullptr && same_node(node.value(), *other);
           });
}

}  // namespace plimsoll::guard
