// SPDX-License-Identifier: Apache-2.0
#include "base/parse_phrase.h"

#include "base/phrase_catalogue.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll {
namespace {

// Of the catalogue's groups: what is said whole. Parts of sentences ("session {id}") would be found
// in the words of others.
constexpr std::array<std::string_view, 4> kGroups{"error.", "end.", "held.", "judge."};
constexpr std::size_t kOwnLeast =
    9;  // bytes; chosen: " must be " says something, " has no " is in any text
constexpr int kDepthMax = 3;       // of sentences within sentences; chosen: ours have two
constexpr int kTriesMax = 20'000;  // chosen: names in a text may look like our own words

template <class Number>
std::optional<Number> number_of(std::string_view text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::optional<double> number_before(std::string_view text, std::string_view unit) {
    if (!text.ends_with(unit)) return std::nullopt;
    return number_of<double>(text.substr(0, text.size() - unit.size()));
}

std::optional<PhraseValue> bytes_before(std::string_view text, std::string_view unit, double size) {
    constexpr double kMost = 1e18;  // of 64 bits
    const auto number = number_before(text, unit);
    if (!number || std::abs(*number) * size > kMost) return std::nullopt;
    return Bytes(std::llround(*number * size));
}

bool is_coded(const PhraseValue& value) {
    const auto* const phrases = std::get_if<Phrases>(&value);
    return phrases != nullptr && !phrases->empty() && !phrases->front().code().empty();
}

// "18.3 s", "2 min 05 s".
std::optional<double> seconds_of(std::string_view text) {
    constexpr std::string_view kMinutes = " min ";
    const std::size_t mark = text.find(kMinutes);
    if (mark == std::string_view::npos) return number_before(text, " s");
    const auto minutes = number_of<double>(text.substr(0, mark));
    const auto seconds = number_before(text.substr(mark + kMinutes.size()), " s");
    if (!minutes || !seconds) return std::nullopt;
    return *minutes * 60 + *seconds;
}

class Parser {
  public:
    Phrase parse(std::string_view text, int depth) {
        Phrase best(std::string{text});
        std::size_t most = 0;
        if (depth >= kDepthMax) return best;
        for (const PhraseEntry& entry : kPhrases) {
            const bool whole = std::ranges::any_of(
                kGroups, [&](std::string_view group) { return entry.code.starts_with(group); });
            const std::size_t own = own_words(entry.english);
            if (!whole || own <= most) continue;
            std::vector<PhraseValue> values;
            if (!matches(entry.english, text, values, depth)) continue;
            // So little of its own is in any text: a sentence of ours within it must tell.
            if (own < kOwnLeast && std::ranges::none_of(values, is_coded)) continue;
            Phrase phrase(entry, std::move(values));
            if (phrase.message() != text) continue;
            most = own;
            best = std::move(phrase);
        }
        return best;
    }

  private:
    // What is ours of it: the sentence with the most of its own is the one that was said.
    static std::size_t own_words(std::string_view english) {
        std::size_t own = 0;
        while (!english.empty()) own += next_place(english).before.size();
        return own;
    }

    bool matches(std::string_view english, std::string_view text, std::vector<PhraseValue>& values,
                 int depth) {
        if (++tries_ > kTriesMax) return false;
        const PhrasePlace place = next_place(english);
        if (!text.starts_with(place.before)) return false;
        text.remove_prefix(place.before.size());
        if (place.name.empty()) return text.empty();
        if (place.chooses)
            return (text.starts_with(place.one) &&
                    matches(english, text.substr(place.one.size()), values, depth)) ||
                   (text.starts_with(place.many) &&
                    matches(english, text.substr(place.many.size()), values, depth));
        std::string_view behind = english;
        const std::string_view next = next_place(behind).before;
        // The shortest value first; with nothing behind it all that is left.
        for (std::size_t end = english.empty() ? text.size() : 0; end <= text.size(); ++end) {
            if (!next.empty()) end = text.find(next, end);
            if (end == std::string_view::npos || ++tries_ > kTriesMax) return false;
            auto value = value_of(text.substr(0, end), unit_of_place(place.unit), depth);
            if (!value) continue;
            values.push_back(std::move(*value));
            if (matches(english, text.substr(end), values, depth)) return true;
            values.pop_back();
        }
        return false;
    }

    std::optional<PhraseValue> value_of(std::string_view text, PhraseUnit unit, int depth) {
        constexpr double kMebi = 1024.0 * 1024.0;
        switch (unit) {
            case PhraseUnit::Text:
            case PhraseUnit::Word:
                return text.empty() ? std::nullopt : std::optional<PhraseValue>(std::string(text));
            case PhraseUnit::Count:
                return number_of<std::int64_t>(text);
            case PhraseUnit::Number:
                return number_of<double>(text);
            case PhraseUnit::Bytes:
                return bytes_before(text, " MiB", kMebi);
            case PhraseUnit::Gib:
                return bytes_before(text, " GiB", kMebi * 1024);
            case PhraseUnit::Seconds:
                return seconds_of(text);
            case PhraseUnit::Percent:
                if (const auto percent = number_before(text, " %")) return *percent / 100;
                return std::nullopt;
            case PhraseUnit::Celsius:
                return number_before(text, " °C");
            case PhraseUnit::Phrase:
                if (text.empty()) return std::nullopt;
                return Phrases{parse(text, depth + 1)};
            case PhraseUnit::Details:
                return list_of(text, ", ", depth);
            case PhraseUnit::Clauses:
                return list_of(text, "; ", depth);
        }
        return std::nullopt;
    }

    // None or one: where several lie side by side, nobody knows where each ends.
    std::optional<PhraseValue> list_of(std::string_view text, std::string_view before_each,
                                       int depth) {
        if (text.empty()) return Phrases{};
        if (!text.starts_with(before_each) || text.size() == before_each.size())
            return std::nullopt;
        return Phrases{parse(text.substr(before_each.size()), depth + 1)};
    }

    int tries_ = 0;
};

}  // namespace

Phrase parse_phrase(std::string_view english) {
    return Parser().parse(english, 0);
}

}  // namespace plimsoll
