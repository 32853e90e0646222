// SPDX-License-Identifier: Apache-2.0
#include "workflow/json_scanner.h"

#include <fmt/format.h>

namespace plimsoll::workflow {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

void append_utf8(std::string& out, unsigned code) {
    const auto put = [&](unsigned byte) { out += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0U | (code >> 6U));
        put(0x80U | (code & 0x3FU));
    } else if (code < 0x10000) {
        put(0xE0U | (code >> 12U));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    } else {
        put(0xF0U | (code >> 18U));
        put(0x80U | ((code >> 12U) & 0x3FU));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    }
}

constexpr unsigned kReplacement = 0xFFFD;

}  // namespace

std::unexpected<Error> JsonScanner::fault(std::string_view what) const {
    return fail(Errc::Corrupt, fmt::format("not JSON: {} at byte {}", what, at_));
}

void JsonScanner::skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
        ++at_;
}

char JsonScanner::peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
}

bool JsonScanner::take(char token) {
    if (peek() != token || is_at_end()) return false;
    ++at_;
    return true;
}

bool JsonScanner::is_at_end() {
    return peek() == '\0' && at_ >= text_.size();
}

bool JsonScanner::take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
}

Result<void> JsonScanner::enter() {
    if (++depth_ > kJsonDepthMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("JSON is nested deeper than {} at byte {}", kJsonDepthMax, at_));
    return {};
}

Result<Span> JsonScanner::scan_object(const OnMember& on_member) {
    TRY_DO(enter());
    if (!take('{')) return fault("an object was expected");
    const std::size_t begin = at_ - 1;
    if (!take('}')) {
        do {
            if (peek() != '"') return fault("a member's name was expected");
            const std::size_t key_begin = at_;
            TRY_ASSIGN(std::string key, scan_string());
            const Span key_span{key_begin, at_};
            if (!take(':')) return fault("a colon was expected");
            skip_space();
            TRY_DO(on_member(std::move(key), key_span));
        } while (take(','));
        if (!take('}')) return fault("a comma or closing brace was expected");
    }
    --depth_;
    return Span{begin, at_};
}

Result<Span> JsonScanner::scan_array(const OnElement& on_element) {
    TRY_DO(enter());
    if (!take('[')) return fault("a list was expected");
    const std::size_t begin = at_ - 1;
    if (!take(']')) {
        std::size_t index = 0;
        do {
            skip_space();
            TRY_DO(on_element(index++));
        } while (take(','));
        if (!take(']')) return fault("a comma or closing bracket was expected");
    }
    --depth_;
    return Span{begin, at_};
}

Result<unsigned> JsonScanner::scan_hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
        if (at_ >= text_.size()) return fault("an unfinished escape");
        const char c = text_[at_];
        const char lower = static_cast<char>(c | 0x20);
        if (is_digit(c))
            code = code * 16 + static_cast<unsigned>(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            code = code * 16 + static_cast<unsigned>(lower - 'a' + 10);
        else
            return fault("an escape that is not hexadecimal");
    }
    return code;
}

// The cursor stands behind the backslash.
Result<void> JsonScanner::scan_escape(std::string& out) {
    if (at_ >= text_.size()) return fault("an unfinished escape");
    const char kind = text_[at_++];
    switch (kind) {
        case '"':
        case '\\':
        case '/':
            out += kind;
            return {};
        case 'b':
            out += '\b';
            return {};
        case 'f':
            out += '\f';
            return {};
        case 'n':
            out += '\n';
            return {};
        case 'r':
            out += '\r';
            return {};
        case 't':
            out += '\t';
            return {};
        case 'u':
            break;
        default:
            --at_;
            return fault("an unknown escape");
    }
    TRY_ASSIGN(unsigned code, scan_hex4());
    const bool is_high = code >= 0xD800 && code < 0xDC00;
    if (is_high && text_.substr(at_).starts_with("\\u")) {
        const std::size_t before_second = at_;
        at_ += 2;
        TRY_ASSIGN(const unsigned low, scan_hex4());
        if (low >= 0xDC00 && low < 0xE000)
            code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
        else
            at_ = before_second;
    }
    append_utf8(out, code >= 0xD800 && code < 0xE000 ? kReplacement : code);
    return {};
}

Result<std::string> JsonScanner::scan_string() {
    if (!take('"')) return fault("text was expected");
    std::string out;
    for (;;) {
        const std::size_t run = at_;
        while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
               static_cast<unsigned char>(text_[at_]) >= 0x20)
            ++at_;
        out.append(text_.substr(run, at_ - run));
        if (at_ >= text_.size()) return fault("unfinished text");
        const char c = text_[at_];
        if (c == '"') {
            ++at_;
            return out;
        }
        if (c != '\\') return fault("a control character inside text");
        ++at_;
        TRY_DO(scan_escape(out));
    }
}

Result<std::string_view> JsonScanner::scan_number() {
    skip_space();
    const std::size_t begin = at_;
    if (take_word("NaN") || take_word("Infinity") || take_word("-Infinity"))
        return text_.substr(begin, at_ - begin);
    const auto digits = [&] {
        const std::size_t first = at_;
        while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
        return at_ - first;
    };
    if (at_ < text_.size() && text_[at_] == '-') ++at_;
    if (at_ < text_.size() && text_[at_] == '0') {
        ++at_;
    } else if (digits() == 0) {
        return fault("a value was expected");
    }
    if (at_ < text_.size() && text_[at_] == '.') {
        ++at_;
        if (digits() == 0) return fault("digits were expected after the point");
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
        ++at_;
        if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
        if (digits() == 0) return fault("digits were expected in the exponent");
    }
    return text_.substr(begin, at_ - begin);
}

Result<Span> JsonScanner::skip_value() {
    const char first = peek();
    const std::size_t begin = at_;
    if (first == '{') {
        return scan_object([this](const std::string&, Span) -> Result<void> {
            TRY_DO(skip_value());
            return {};
        });
    }
    if (first == '[') {
        return scan_array([this](std::size_t) -> Result<void> {
            TRY_DO(skip_value());
            return {};
        });
    }
    if (first == '"') {
        TRY_DO(scan_string());
    } else if (!take_word("true") && !take_word("false") && !take_word("null")) {
        TRY_DO(scan_number());
    }
    return Span{begin, at_};
}

}  // namespace plimsoll::workflow
