// SPDX-License-Identifier: Apache-2.0
#include "simulator/python_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace plimsoll::simulator {

namespace {

constexpr int kDepthMax = 900;  // Python's recursion limit is 1000, some of it is used up already
constexpr std::size_t kDigitsMax = 38;  // what 128 bits hold

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Result<Value> parse() {
        // A byte order mark is refused, as by json.loads.
        TRY_ASSIGN(Value value, parse_value(0));
        skip_space();
        if (at_ != text_.size()) return corrupt("extra data");
        return value;
    }

  private:
    [[nodiscard]] std::unexpected<Error> corrupt(std::string_view what) const {
        return fail(Errc::Corrupt, fmt::format("JSON: {} at byte {}", what, at_));
    }
    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").contains(text_[at_])) ++at_;
    }
    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }

    // NOLINTNEXTLINE(misc-no-recursion): bounded by kDepthMax
    Result<Value> parse_value(int depth) {
        if (depth > kDepthMax) return fail(Errc::LimitExceeded, "JSON: nested too deep");
        skip_space();
        if (at_ == text_.size()) return corrupt("a value is missing");
        switch (text_[at_]) {
            case '{':
                return parse_object(depth);
            case '[':
                return parse_list(depth);
            case '"': {
                TRY_ASSIGN(std::string text, parse_string());
                return Value(std::move(text));
            }
            default:
                break;
        }
        if (take("null")) return Value();
        if (take("true")) return Value(true);
        if (take("false")) return Value(false);
        if (take("NaN")) return Value(std::numeric_limits<double>::quiet_NaN());
        if (take("Infinity")) return Value(std::numeric_limits<double>::infinity());
        if (take("-Infinity")) return Value(-std::numeric_limits<double>::infinity());
        return parse_number();
    }

    // NOLINTNEXTLINE(misc-no-recursion)
    Result<Value> parse_object(int depth) {
        ++at_;
        Dict dict;
        skip_space();
        if (take("}")) return Value(std::move(dict));
        for (;;) {
            skip_space();
            if (at_ == text_.size() || text_[at_] != '"') return corrupt("a name is missing");
            TRY_ASSIGN(const std::string key, parse_string());
            skip_space();
            if (!take(":")) return corrupt("a colon is missing");
            TRY_ASSIGN(Value value, parse_value(depth + 1));
            dict.set(key, std::move(value));
            skip_space();
            if (take("}")) return Value(std::move(dict));
            if (!take(",")) return corrupt("a comma is missing");
        }
    }

    // NOLINTNEXTLINE(misc-no-recursion)
    Result<Value> parse_list(int depth) {
        ++at_;
        List list;
        skip_space();
        if (take("]")) return Value(std::move(list));
        for (;;) {
            TRY_ASSIGN(Value value, parse_value(depth + 1));
            list.push_back(std::move(value));
            skip_space();
            if (take("]")) return Value(std::move(list));
            if (!take(",")) return corrupt("a comma is missing");
        }
    }

    Result<std::string> parse_string() {
        ++at_;
        std::string text;
        while (at_ < text_.size()) {
            const char c = text_[at_++];
            if (c == '"') return text;
            if (static_cast<unsigned char>(c) < 0x20) return corrupt("a control character");
            if (c != '\\') {
                text += c;
                continue;
            }
            TRY_DO(parse_escape(text));
        }
        return corrupt("a string without end");
    }

    Result<void> parse_escape(std::string& into) {
        if (at_ == text_.size()) return corrupt("a string without end");
        const char c = text_[at_++];
        constexpr std::string_view kPlain = "\"\\/bfnrt";
        constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
        if (const auto index = kPlain.find(c); index != std::string_view::npos) {
            into += kMeaning[index];
            return {};
        }
        if (c != 'u') return corrupt("an unknown escape");
        TRY_ASSIGN(unsigned code, parse_hex());
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
            const std::size_t before = at_;
            at_ += 2;
            TRY_ASSIGN(const unsigned low, parse_hex());
            if (low >= 0xDC00 && low < 0xE000)
                code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
            else
                at_ = before;
        }
        append_utf8(into, code);
        return {};
    }

    Result<unsigned> parse_hex() {
        unsigned code = 0;
        const auto part = text_.substr(at_, 4);
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), code, 16);
        if (part.size() != 4 || error != std::errc() || end != part.data() + 4)
            return corrupt("a broken \\u escape");
        at_ += 4;
        return code;
    }

    // A lone surrogate is kept as three bytes: it comes out again as the escape that it was.
    static void append_utf8(std::string& into, unsigned code) {
        const auto add = [&](unsigned byte) { into += static_cast<char>(byte); };
        if (code < 0x80) {
            add(code);
        } else if (code < 0x800) {
            add(0xC0U | (code >> 6U));
            add(0x80U | (code & 0x3FU));
        } else if (code < 0x10000) {
            add(0xE0U | (code >> 12U));
            add(0x80U | ((code >> 6U) & 0x3FU));
            add(0x80U | (code & 0x3FU));
        } else {
            add(0xF0U | (code >> 18U));
            add(0x80U | ((code >> 12U) & 0x3FU));
            add(0x80U | ((code >> 6U) & 0x3FU));
            add(0x80U | (code & 0x3FU));
        }
    }

    Result<Value> parse_number() {
        const std::size_t begin = at_;
        const auto digits = [&] {
            const std::size_t from = at_;
            while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
            return at_ - from;
        };
        take("-");
        const std::size_t first = at_;
        if (digits() == 0 || (text_[first] == '0' && at_ - first > 1)) return corrupt("no value");
        bool whole = true;
        if (const std::size_t mark = at_; take(".")) {
            if (digits() == 0)
                at_ = mark;  // "5." is 5 and extra data
            else
                whole = false;
        }
        if (const std::size_t mark = at_; take("e") || take("E")) {
            if (!take("+")) take("-");
            if (digits() == 0)
                at_ = mark;
            else
                whole = false;
        }
        const std::string_view token = text_.substr(begin, at_ - begin);
        if (!whole) {
            double value = 0;
            const auto [end, error] =
                std::from_chars(token.data(), token.data() + token.size(), value);
            if (error == std::errc::result_out_of_range)
                value = std::strtod(std::string(token).c_str(), nullptr);  // inf or 0, as Python
            return Value(value);
        }
        if (at_ - first > kDigitsMax)
            return fail(Errc::LimitExceeded, fmt::format("JSON: an integer of {} digits, limit {}",
                                                         at_ - first, kDigitsMax));
        Int value = 0;
        for (const char c : text_.substr(first, at_ - first)) value = value * 10 + (c - '0');
        return Value(token.front() == '-' ? -value : value);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

// The next code point of UTF-8 text; bytes that are no UTF-8 become U+FFFD, one each.
unsigned next_code_point(std::string_view text, std::size_t& at) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned first = byte(at);
    const int length = first < 0x80               ? 1
                       : (first & 0xE0U) == 0xC0U ? 2
                       : (first & 0xF0U) == 0xE0U ? 3
                       : (first & 0xF8U) == 0xF0U ? 4
                                                  : 0;
    if (length == 1) {
        ++at;
        return first;
    }
    unsigned code = length == 0 ? 0 : first & (0xFFU >> (static_cast<unsigned>(length) + 1U));
    for (int i = 1; i < length; ++i) {
        const unsigned next = byte(at + static_cast<std::size_t>(i));
        if ((next & 0xC0U) != 0x80U) {
            ++at;
            return 0xFFFD;
        }
        code = (code << 6U) | (next & 0x3FU);
    }
    at += length == 0 ? 1U : static_cast<unsigned>(length);
    return length == 0 ? 0xFFFD : code;
}

void dump_string(std::string& into, std::string_view text) {
    into += '"';
    for (std::size_t at = 0; at < text.size();) {
        const unsigned code = next_code_point(text, at);
        switch (code) {
            case '"':
                into += "\\\"";
                break;
            case '\\':
                into += "\\\\";
                break;
            case '\n':
                into += "\\n";
                break;
            case '\r':
                into += "\\r";
                break;
            case '\t':
                into += "\\t";
                break;
            case '\b':
                into += "\\b";
                break;
            case '\f':
                into += "\\f";
                break;
            default:
                if (code >= 0x20 && code < 0x7F)
                    into += static_cast<char>(code);
                else if (code < 0x10000)
                    into += fmt::format("\\u{:04x}", code);
                else
                    into += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10U),
                                        0xDC00 + ((code - 0x10000) & 0x3FFU));
        }
    }
    into += '"';
}

// NOLINTNEXTLINE(misc-no-recursion): a value is no deeper than the parser allows
void dump(std::string& into, const Value& value) {
    if (value.is_none()) {
        into += "null";
    } else if (const auto* const flag = value.as_bool()) {
        into += *flag ? "true" : "false";
    } else if (const auto* const whole = value.as_int()) {
        into += to_decimal(*whole);
    } else if (const auto* const real = value.as_float()) {
        into += std::isnan(*real)   ? "NaN"
                : std::isinf(*real) ? (*real > 0 ? "Infinity" : "-Infinity")
                                    : python_repr(*real);
    } else if (const auto* const text = value.as_str()) {
        dump_string(into, *text);
    } else if (const auto* const list = value.as_list()) {
        into += '[';
        std::string_view separator;
        for (const Value& item : *list) {
            into += separator;
            dump(into, item);
            separator = ", ";
        }
        into += ']';
    } else {
        into += '{';
        std::string_view separator;
        for (const auto& [key, item] : *value.as_dict()) {
            into += separator;
            dump_string(into, key);
            into += ": ";
            dump(into, item);
            separator = ", ";
        }
        into += '}';
    }
}

std::string repr_string(std::string_view text) {
    const char quote = text.contains('\'') && !text.contains('"') ? '"' : '\'';
    std::string shown(1, quote);
    for (const char c : text) {
        if (c == quote || c == '\\')
            (shown += '\\') += c;
        else if (c == '\n')
            shown += "\\n";
        else if (c == '\r')
            shown += "\\r";
        else if (c == '\t')
            shown += "\\t";
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
            shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
            shown += c;
    }
    return shown += quote;
}

}  // namespace

Dict::Dict() = default;
Dict::Dict(std::initializer_list<Item> items) : items_(items) {}
Dict::Dict(const Dict&) = default;
Dict::Dict(Dict&&) noexcept = default;
Dict& Dict::operator=(const Dict&) = default;
Dict& Dict::operator=(Dict&&) noexcept = default;
Dict::~Dict() = default;

const Value* Dict::find(std::string_view key) const {
    const auto found = std::ranges::find(items_, key, &Item::first);
    return found == items_.end() ? nullptr : &found->second;
}
Value* Dict::find(std::string_view key) {
    return const_cast<Value*>(std::as_const(*this).find(key));
}
Value& Dict::operator[](std::string_view key) {
    if (Value* const found = find(key)) return *found;
    return items_.emplace_back(key, Value()).second;
}
void Dict::set(std::string_view key, Value value) {
    (*this)[key] = std::move(value);
}
void Dict::erase(std::string_view key) {
    std::erase_if(items_, [&](const Item& item) { return item.first == key; });
}
// NOLINTNEXTLINE(misc-no-recursion)
bool Dict::operator==(const Dict& other) const {
    return size() == other.size() && std::ranges::all_of(items_, [&](const Item& item) {
               const Value* const same = other.find(item.first);
               return same != nullptr && *same == item.second;
           });
}

std::optional<double> Value::number() const {
    if (const auto* const whole = as_int()) return static_cast<double>(*whole);
    if (const auto* const real = as_float()) return *real;
    if (const auto* const flag = as_bool()) return *flag ? 1.0 : 0.0;
    return std::nullopt;
}
const Value* Value::get(std::string_view key) const {
    const auto* const dict = as_dict();
    return dict == nullptr ? nullptr : dict->find(key);
}
bool Value::truthy() const {
    if (is_none()) return false;
    if (const auto value = number()) return *value != 0;
    if (const auto* const text = as_str()) return !text->empty();
    if (const auto* const list = as_list()) return !list->empty();
    return !as_dict()->empty();
}
std::string_view Value::type_name() const {
    constexpr std::array<std::string_view, 7> kNames{"NoneType", "bool", "int", "float",
                                                     "str",      "list", "dict"};
    return kNames.at(data_.index());
}
// NOLINTNEXTLINE(misc-no-recursion)
bool Value::operator==(const Value& other) const {
    const auto mine = number();
    const auto theirs = other.number();
    if (mine && theirs) {
        if (as_int() != nullptr && other.as_int() != nullptr) return *as_int() == *other.as_int();
        return *mine == *theirs;
    }
    return data_ == other.data_;
}

Result<Value> parse_python_json(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t before = at;
        const unsigned code = next_code_point(text, at);
        // A replacement character may be there in its own right: it takes three bytes then.
        const bool replaced = code == 0xFFFD && at - before == 1;
        const bool surrogate = code >= 0xD800 && code < 0xE000;
        const std::size_t shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (replaced || surrogate || at - before != shortest || code > 0x10FFFF || at > text.size())
            return fail(Errc::Corrupt, fmt::format("JSON: no UTF-8 at byte {}", before));
    }
    return Parser(text).parse();
}

std::string dump_python_json(const Value& value) {
    std::string text;
    dump(text, value);
    return text;
}

std::string to_decimal(Int value) {
    if (value == 0) return "0";
    const bool negative = value < 0;
    std::string reversed;
    while (value != 0) {
        const int digit = static_cast<int>(value % 10);
        reversed += static_cast<char>('0' + (digit < 0 ? -digit : digit));
        value /= 10;
    }
    if (negative) reversed += '-';
    return {reversed.rbegin(), reversed.rend()};
}

// The shortest digits that read back as the same number, laid out as Python does: with an exponent
// below 1e-4 and from 1e16 on.
std::string python_repr(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    std::array<char, 40> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                   std::chars_format::scientific)
                         .ptr;
    std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    std::string sign;
    if (text.front() == '-') {
        sign = "-";
        text.remove_prefix(1);
    }
    const auto mark = text.find('e');
    int exponent = 0;
    const std::string_view power = text.substr(mark + 1);
    std::from_chars(power.data() + (power.front() == '+' ? 1 : 0), power.data() + power.size(),
                    exponent);
    std::string digits;
    for (const char c : text.substr(0, mark))
        if (c != '.') digits += c;
    if (exponent < -4 || exponent >= 16) {
        std::string mantissa = digits.substr(0, 1);
        if (digits.size() > 1) mantissa += "." + digits.substr(1);
        return fmt::format("{}{}e{}{:02}", sign, mantissa, exponent < 0 ? '-' : '+',
                           std::abs(exponent));
    }
    if (exponent < 0)
        return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() <= whole)
        return sign + digits + std::string(whole - digits.size(), '0') + ".0";
    return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

// NOLINTNEXTLINE(misc-no-recursion)
std::string python_repr(const Value& value) {
    if (value.is_none()) return "None";
    if (const auto* const flag = value.as_bool()) return *flag ? "True" : "False";
    if (const auto* const whole = value.as_int()) return to_decimal(*whole);
    if (const auto* const real = value.as_float()) return python_repr(*real);
    if (const auto* const text = value.as_str()) return repr_string(*text);
    std::string shown;
    if (const auto* const list = value.as_list()) {
        for (const Value& item : *list) shown += (shown.empty() ? "" : ", ") + python_repr(item);
        return "[" + shown + "]";
    }
    for (const auto& [key, item] : *value.as_dict())
        shown += (shown.empty() ? "" : ", ") + repr_string(key) + ": " + python_repr(item);
    return "{" + shown + "}";
}

std::string python_str(const Value& value) {
    if (const auto* const text = value.as_str()) return *text;
    return python_repr(value);
}

}  // namespace plimsoll::simulator
