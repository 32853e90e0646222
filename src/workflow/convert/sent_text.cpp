// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/sent_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace plimsoll::workflow {
namespace {

constexpr int kChoiceDepthMax = 100;  // chosen: of {a|{b|c}}

// /* ... */ and // to the end of the line.
std::string strip_comments(std::string_view text) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.substr(at, 2) == "//") {
            at = std::min(text.find_first_of("\r\n", at), text.size());
            continue;
        }
        if (text.substr(at, 2) == "/*") {
            const std::size_t end = text.find("*/", at + 2);
            if (end != std::string_view::npos) {
                at = end + 2;
                continue;
            }
        }
        out += text[at++];
    }
    return out;
}

// Where the first choice of a block ends, and where the block does: behind its brace.
struct Block {
    std::size_t choice_end = 0;
    std::size_t end = 0;
};

Block scan_block(std::string_view text, std::size_t begin) {
    Block block{std::string_view::npos, text.size()};
    int depth = 0;
    std::size_t at = begin;
    for (; at < text.size(); ++at) {
        const char c = text[at];
        if (c == '\\')
            ++at;
        else if (c == '{')
            ++depth;
        else if (c == '}' && depth-- == 0)
            break;
        else if (c == '|' && depth == 0 && block.choice_end == std::string_view::npos)
            block.choice_end = at;
    }
    at = std::min(at, text.size());
    if (block.choice_end == std::string_view::npos) block.choice_end = at;
    block.end = std::min(at + 1, text.size());
    return block;
}

void append_choices(std::string& out, std::string_view text, int depth) {
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        if (c == '\\' && at + 1 < text.size()) {
            const char next = text[++at];
            if (next != '{' && next != '}' && next != '|') out += c;
            out += next;
        } else if (c == '{' && depth < kChoiceDepthMax) {
            const Block block = scan_block(text, at + 1);
            append_choices(out, text.substr(at + 1, block.choice_end - at - 1), depth + 1);
            at = block.end - 1;
        } else {
            out += c;
        }
    }
}

std::string as_file_name(std::string text) {
    for (char& c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F || std::string_view("/?<>\\:*|\"").contains(c)) c = '_';
    }
    return text;
}

std::optional<std::string> field(std::string_view name, const FindWidgetText& find_widget,
                                 const std::optional<LocalTime>& now) {
    const std::size_t dot = name.find('.');
    const bool is_pair =
        dot != std::string_view::npos && name.find('.', dot + 1) == std::string_view::npos;
    if (!is_pair) {
        constexpr std::string_view kDate = "date:";
        const std::string_view first = name.substr(0, dot);
        if (!now || !first.starts_with(kDate)) return std::nullopt;
        return format_date(first.substr(kDate.size()), *now);
    }
    auto text = find_widget(name.substr(0, dot), name.substr(dot + 1));
    if (!text) return std::nullopt;
    return as_file_name(std::move(*text));
}

}  // namespace

std::string resolve_dynamic_prompt(std::string_view text) {
    std::string out;
    append_choices(out, strip_comments(text), 0);
    return out;
}

std::string replace_fields(std::string_view text, const FindWidgetText& find_widget,
                           const std::optional<LocalTime>& now) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = text[at] == '%' ? text.find('%', at + 1) : std::string_view::npos;
        if (end == std::string_view::npos || end == at + 1) {
            out += text[at++];
            continue;
        }
        const std::string_view whole = text.substr(at, end + 1 - at);
        out +=
            field(whole.substr(1, whole.size() - 2), find_widget, now).value_or(std::string(whole));
        at = end + 1;
    }
    return out;
}

std::string format_date(std::string_view format, const LocalTime& time) {
    const auto part = [&](char letter) -> std::optional<int> {
        switch (letter) {
            case 'd':
                return time.day;
            case 'M':
                return time.month;
            case 'h':
                return time.hour;
            case 'm':
                return time.minute;
            case 's':
                return time.second;
            default:
                return std::nullopt;
        }
    };
    std::string out;
    std::size_t at = 0;
    while (at < format.size()) {
        const char letter = format[at];
        const auto run = std::min(format.find_first_not_of(letter, at), format.size()) - at;
        if (letter == 'y' && run >= 2) {
            const std::size_t length = std::min<std::size_t>(run, 4);
            if (length == 2)
                out += fmt::format("{}", time.year).substr(2);
            else if (length == 4)
                out += fmt::format("{}", time.year);
            else
                out.append(length, 'y');
            at += length;
        } else if (const auto value = part(letter)) {
            const std::size_t length = std::min<std::size_t>(run, 2);
            out += fmt::format("{:0{}}", *value, length);
            at += length;
        } else {
            out += letter;
            ++at;
        }
    }
    return out;
}

}  // namespace plimsoll::workflow
