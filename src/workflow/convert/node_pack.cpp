// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/node_pack.h"

#include "base/text.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace plimsoll::workflow {
namespace {

constexpr std::size_t kPackIdMax = 100;   // of the registry's names
constexpr std::size_t kUserNameMax = 39;  // of GitHub
constexpr std::size_t kCommitMin = 4;
constexpr std::size_t kCommitMax = 40;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// No sign, no leading zero.
bool is_version_number(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, is_digit) && (text == "0" || text[0] != '0');
}

// "beta.2": dotted words of lower case letters, digits and dashes.
bool is_version_tail(std::string_view text) {
    return std::ranges::all_of(split(text, '.'), [](std::string_view word) {
        return !word.empty() && std::ranges::all_of(word, [](char c) {
            return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-';
        });
    });
}

bool is_semantic_version(std::string_view text) {
    if (const std::size_t plus = text.find('+'); plus != std::string_view::npos) {
        if (!is_version_tail(text.substr(plus + 1))) return false;
        text = text.substr(0, plus);
    }
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
        if (!is_version_tail(text.substr(dash + 1))) return false;
        text = text.substr(0, dash);
    }
    const std::vector<std::string_view> numbers = split(text, '.');
    return numbers.size() == 3 && std::ranges::all_of(numbers, is_version_number);
}

}  // namespace

bool is_pack_id(std::string_view text) {
    const auto is_mark = [](char c) { return c == '_' || c == '-' || c == '.'; };
    return !text.empty() && text.size() <= kPackIdMax && !is_mark(text.front()) &&
           !is_mark(text.back()) && std::ranges::all_of(text, [&](char c) {
               return is_digit(c) || is_letter(c) || is_mark(c);
           });
}

bool is_repository(std::string_view text) {
    const std::vector<std::string_view> parts = split(text, '/');
    if (parts.size() != 2) return false;
    const std::string_view user = parts[0];
    return !user.empty() && user.size() <= kUserNameMax && user.front() != '-' &&
           user.back() != '-' && user.find("--") == std::string_view::npos &&
           std::ranges::all_of(user,
                               [](char c) { return is_digit(c) || is_letter(c) || c == '-'; }) &&
           is_pack_id(parts[1]);
}

bool is_pack_version(std::string_view text) {
    const bool is_commit =
        text.size() >= kCommitMin && text.size() <= kCommitMax && std::ranges::all_of(text, is_hex);
    return is_commit || text == "unknown" || is_semantic_version(text);
}

}  // namespace plimsoll::workflow
