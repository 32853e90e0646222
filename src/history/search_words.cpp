// SPDX-License-Identifier: Apache-2.0
#include "history/search_words.h"

#include "base/text.h"
#include "base/utf8.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace plimsoll::history {

namespace {

constexpr std::size_t kWordBytesMax = 64;  // chosen: longer ones are no words; the rest is cut off

enum class Kind : std::uint8_t { Separator, Letter, Alone };

// Blocks of Unicode whose scripts write without spaces (Unicode 15, Blocks.txt).
bool stands_alone(std::uint32_t code) {
    return (code >= 0x2E80 && code <= 0x2FDF) || (code >= 0x3040 && code <= 0x30FF) ||
           (code >= 0x3105 && code <= 0x4DBF) || (code >= 0x4E00 && code <= 0x9FFF) ||
           (code >= 0xAC00 && code <= 0xD7AF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x20000 && code <= 0x323AF);
}

// General, CJK and full-width punctuation, and the symbols of Latin-1.
bool separates(std::uint32_t code) {
    return (code >= 0x80 && code <= 0xBF && code != 0xAA && code != 0xB5 && code != 0xBA) ||
           (code >= 0x2000 && code <= 0x206F) || (code >= 0x3000 && code <= 0x303F) ||
           (code >= 0xFF00 && code <= 0xFF0F) || (code >= 0xFF1A && code <= 0xFF20) ||
           code == 0xD7 || code == 0xF7 || code == 0xFFFD;
}

Kind kind_of(std::uint32_t code) {
    if (code < 0x80) {
        const bool letter = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
        return letter || (code >= '0' && code <= '9') ? Kind::Letter : Kind::Separator;
    }
    if (stands_alone(code)) return Kind::Alone;
    return separates(code) ? Kind::Separator : Kind::Letter;
}

struct Word {
    std::string text;
    bool joins = false;  // follows the word before it without anything between, as CJK does
};

std::vector<Word> words_of(std::string_view text, std::size_t most) {
    std::vector<Word> words;
    bool is_open = false;  // a word of letters goes on
    bool was_alone = false;
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint point = code_point_at(text, at);
        const std::string_view bytes = text.substr(at, point.bytes);
        at += point.bytes;
        const Kind kind = point.good ? kind_of(point.value) : Kind::Separator;
        const bool goes_on = kind == Kind::Letter && is_open;
        if (kind != Kind::Separator && !goes_on) {
            if (words.size() == most) break;
            words.push_back({.text = {}, .joins = kind == Kind::Alone && was_alone});
        }
        if (kind != Kind::Separator && words.back().text.size() + bytes.size() <= kWordBytesMax)
            words.back().text += to_lower_ascii(bytes);
        is_open = kind == Kind::Letter;
        was_alone = kind == Kind::Alone;
    }
    return words;
}

}  // namespace

std::string searchable(std::string_view prompt) {
    std::string text;
    for (const Word& word : words_of(prompt, kPromptWordsMax)) {
        if (!text.empty()) text += ' ';
        text += word.text;
    }
    return text;
}

Search Search::of(std::string_view text) {
    Search search;
    for (Word& word : words_of(text, kSearchWordsMax)) {
        if (!word.joins || search.groups.empty()) search.groups.emplace_back();
        search.groups.back().push_back(std::move(word.text));
    }
    return search;
}

std::string Search::fts_query() const {
    // Quoted: words are letters and digits, so nothing in them is syntax.
    std::vector<std::string> parts;
    parts.reserve(groups.size());
    for (const auto& group : groups)
        parts.push_back(fmt::format("prompt : \"{}\"", fmt::join(group, " ")));
    return fmt::format("{}", fmt::join(parts, " AND "));
}

bool Search::finds(std::string_view prompt) const {
    const std::vector<Word> words = words_of(prompt, kPromptWordsMax);
    return std::ranges::all_of(groups, [&](const auto& group) {
        return !std::ranges::search(words, group, {}, &Word::text).empty();
    });
}

}  // namespace plimsoll::history
