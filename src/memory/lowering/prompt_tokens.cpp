// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/prompt_tokens.h"

#include <algorithm>
#include <cctype>
#include <cstddef>

namespace plimsoll::memory {

namespace {

constexpr int kTextTokens = 75;        // of a chunk of 77: its first and last token are marks
constexpr int kChunksMax = 1000;       // chosen: a prompt of 75,000 tokens
constexpr std::size_t kWordPiece = 9;  // letters that one token of CLIP's vocabulary covers, about

bool is_letter(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0;
}
bool is_digit(char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
// Lead byte of a character outside ASCII: CLIP splits most of them into two tokens or three.
bool is_wide(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0xC0U;
}

// ":1.25" before a closing parenthesis is a weight, not text.
std::size_t weight_length(std::string_view text, std::size_t at) {
    std::size_t end = at + 1;
    while (end < text.size() && (is_digit(text[end]) || text[end] == '.')) ++end;
    return end > at + 1 && end < text.size() && text[end] == ')' ? end - at : 0;
}

}  // namespace

PromptLength estimate_prompt_length(std::string_view text) {
    PromptLength length;
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (c == '\\' && i + 1 < text.size() && (text[i + 1] == '(' || text[i + 1] == ')')) {
            ++length.tokens;
            i += 2;
        } else if (c == '(' || c == ')') {
            length.weighted = true;
            ++i;
        } else if (const std::size_t skip = c == ':' ? weight_length(text, i) : 0; skip > 0) {
            i += skip;
        } else if (is_letter(c)) {
            std::size_t end = i;
            while (end < text.size() && is_letter(text[end])) ++end;
            length.tokens += static_cast<int>((end - i + kWordPiece - 1) / kWordPiece);
            i = end;
        } else {
            if (is_wide(c)) length.tokens += 2;
            if (is_digit(c) || std::ispunct(static_cast<unsigned char>(c)) != 0) ++length.tokens;
            ++i;
        }
    }
    length.chunks = std::clamp((length.tokens + kTextTokens - 1) / kTextTokens, 1, kChunksMax);
    return length;
}

}  // namespace plimsoll::memory
