// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/script_json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace plimsoll::workflow {
namespace {

constexpr double kPlainMax = 1e21;  // from there on JavaScript writes an exponent
constexpr std::int64_t kExactMax = 1LL << 53;

// ECMAScript's Number::toString: the shortest digits that read back as the same double.
std::string shortest(double number) {
    if (!std::isfinite(number)) return "null";
    if (number == 0) return "0";
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, std::fabs(number),
                                   std::chars_format::scientific);
    const std::string_view all(digits, static_cast<std::size_t>(end.ptr - digits));
    const std::size_t mark = all.find('e');
    std::string mantissa;
    for (const char c : all.substr(0, mark))
        if (c != '.') mantissa += c;
    int exponent = 0;
    const std::string_view power = all.substr(mark + (all[mark + 1] == '+' ? 2 : 1));
    std::from_chars(power.data(), power.data() + power.size(), exponent);
    const int count = static_cast<int>(mantissa.size());
    const std::string sign = number < 0 ? "-" : "";
    const int point = exponent + 1;  // digits before the point
    if (count <= point && std::fabs(number) < kPlainMax)
        return sign + mantissa + std::string(static_cast<std::size_t>(point - count), '0');
    if (point > 0 && std::fabs(number) < kPlainMax) {
        const auto at = static_cast<std::size_t>(point);
        return sign + mantissa.substr(0, at) + "." + mantissa.substr(at);
    }
    if (point > -6 && point <= 0)
        return sign + "0." + std::string(static_cast<std::size_t>(-point), '0') + mantissa;
    const std::string tail = count > 1 ? "." + mantissa.substr(1) : "";
    return fmt::format("{}{}{}e{}{}", sign, mantissa[0], tail, exponent < 0 ? '-' : '+',
                       std::abs(exponent));
}

std::string number_text(const json::value& value) {
    if (const auto* whole = value.if_int64();
        whole != nullptr && *whole >= -kExactMax && *whole <= kExactMax)
        return fmt::format("{}", *whole);
    return shortest(value.to_number<double>());
}

}  // namespace

void append_script_json(std::string& out, const json::value& value, std::size_t indent) {
    const auto line = [&](std::size_t level) { out.append("\n").append(level * 2, ' '); };
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
        char before = '{';
        for (const auto& member : *object) {
            out += before;
            before = ',';
            line(indent + 1);
            out += json::serialize(json::string_view(member.key()));
            out += ": ";
            append_script_json(out, member.value(), indent + 1);
        }
        line(indent);
        out += '}';
    } else if (const auto* list = value.if_array(); list != nullptr && !list->empty()) {
        char before = '[';
        for (const json::value& element : *list) {
            out += before;
            before = ',';
            line(indent + 1);
            append_script_json(out, element, indent + 1);
        }
        line(indent);
        out += ']';
    } else if (value.is_number()) {
        out += number_text(value);
    } else {
        out += json::serialize(value);
    }
}

std::string script_text(const json::value& value) {
    if (const auto* text = value.if_string()) return std::string(*text);
    if (value.is_null()) return {};
    if (value.is_number()) return number_text(value);
    return json::serialize(value);
}

}  // namespace plimsoll::workflow
