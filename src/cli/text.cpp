// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include "base/text.h"
#include "base/utf8.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace plimsoll::cli {

namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";  // U+FFFD

constexpr std::string_view kDots = "...";

struct Range {
    std::uint32_t first;
    std::uint32_t last;
};
template <std::size_t N>
bool is_in(const std::array<Range, N>& ranges, std::uint32_t value) {
    return std::ranges::any_of(
        ranges, [&](const Range& range) { return value >= range.first && value <= range.last; });
}

// The blocks of Unicode's EastAsianWidth W and F and of combining marks that prompts use.
constexpr std::array<Range, 10> kWide{{{0x1100, 0x115F},
                                       {0x2E80, 0xA4CF},
                                       {0xAC00, 0xD7A3},
                                       {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},
                                       {0xFFE0, 0xFFE6},
                                       {0x1F300, 0x1F64F},
                                       {0x1F900, 0x1FAFF},
                                       {0x20000, 0x3FFFD}}};
constexpr std::array<Range, 4> kNoWidth{
    {{0x0300, 0x036F}, {0x200B, 0x200F}, {0xFE00, 0xFE0F}, {0x20D0, 0x20FF}}};

std::size_t width_of(std::uint32_t value) {
    if (is_in(kNoWidth, value)) return 0;
    return is_in(kWide, value) ? 2 : 1;
}

// Bytes of a colour sequence ("\x1b[1;32m") at `at`, 0 when there is none.
std::size_t colour_bytes(std::string_view text, std::size_t at) {
    if (!text.substr(at).starts_with("\x1b[")) return 0;
    const std::size_t end = text.find_first_not_of("0123456789;", at + 2);
    return end != std::string_view::npos && text[end] == 'm' ? end + 1 - at : 0;
}

}  // namespace

std::string plain(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        const CodePoint point = code_point_at(text, i);
        const bool control =
            point.value < 0x20 || (point.value >= 0x7F && point.value < 0xA0) ||
            (point.value >= 0x202A && point.value <= 0x202E) ||  // changes of writing direction
            (point.value >= 0x2066 && point.value <= 0x2069);
        if (!point.good)
            out += kReplacement;
        else if (control)
            out += point.value == '\n' || point.value == '\t' ? ' ' : '?';
        else
            out += text.substr(i, point.bytes);
        i += point.bytes;
    }
    return out;
}

std::size_t columns_of(std::string_view text) {
    std::size_t columns = 0;
    for (std::size_t i = 0; i < text.size();) {
        if (const std::size_t skip = colour_bytes(text, i); skip > 0) {
            i += skip;
            continue;
        }
        const CodePoint point = code_point_at(text, i);
        columns += width_of(point.value);
        i += point.bytes;
    }
    return columns;
}

std::string shortened(std::string_view text, std::size_t columns) {
    if (columns_of(text) <= columns) return std::string(text);
    const std::size_t room = columns > kDots.size() ? columns - kDots.size() : 0;
    std::size_t used = 0;
    std::size_t i = 0;
    bool coloured = false;
    while (i < text.size()) {
        if (const std::size_t skip = colour_bytes(text, i); skip > 0) {
            coloured = true;
            i += skip;
            continue;
        }
        const CodePoint point = code_point_at(text, i);
        if (used + width_of(point.value) > room) break;
        used += width_of(point.value);
        i += point.bytes;
    }
    return std::string(text.substr(0, i)) + std::string(kDots.substr(0, columns)) +
           (coloured ? "\x1b[0m" : "");
}

std::string shortened_front(std::string_view text, std::size_t columns) {
    std::size_t width = columns_of(text);
    if (width <= columns) return std::string(text);
    std::size_t i = 0;
    while (i < text.size() && width + kDots.size() > columns) {
        const CodePoint point = code_point_at(text, i);
        width -= width_of(point.value);
        i += point.bytes;
    }
    return std::string(kDots.substr(0, columns)) + std::string(text.substr(i));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns, std::size_t used) {
    std::vector<std::string> lines;
    std::string line;
    for (const std::string_view word : split(text, ' ')) {
        if (!line.empty() && used + columns_of(line) + 1 + columns_of(word) > columns) {
            lines.push_back(std::move(line));
            line.clear();
            used = 0;
        }
        if (!line.empty()) line += ' ';
        line += word;
    }
    lines.push_back(std::move(line));
    return lines;
}

}  // namespace plimsoll::cli
