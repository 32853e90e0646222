// SPDX-License-Identifier: Apache-2.0
//
// say<"judge.under">(peak, line): a phrase of the catalogue with its values in the order of the
// sentence. A code that the catalogue lacks, a value too many or too few, or of another kind than
// its place does not compile. Included by what speaks, not by headers.
//
// Enters through: codes, values.   Leaves through: Phrase.   Threads: no shared state.
#pragma once
#include "base/phrase.h"
#include "base/phrase_catalogue.h"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace plimsoll {

template <std::size_t Size>
struct PhraseCode {
    std::array<char, Size> text{};
    consteval PhraseCode(const char (&code)[Size]) {  // NOLINT: as a literal is written
        std::copy_n(code, Size, text.begin());
    }
    [[nodiscard]] constexpr std::string_view view() const { return {text.data(), Size - 1}; }
};

namespace said {

// Not found: no constant expression, so it does not compile.
consteval const PhraseEntry* find(std::string_view code) {
    return &*std::ranges::find(kPhrases, code, &PhraseEntry::code);
}

template <std::size_t Count>
consteval std::array<PhraseUnit, Count + 1> units_of(std::string_view english) {
    std::array<PhraseUnit, Count + 1> out{};
    std::size_t at = 0;
    while (!english.empty()) {
        const PhrasePlace place = next_place(english);
        if (!place.name.empty() && !place.chooses) out.at(at++) = unit_of_place(place.unit);
    }
    return out;
}

consteval std::size_t places_of(std::string_view english) {
    std::size_t count = 0;
    while (!english.empty()) {
        const PhrasePlace place = next_place(english);
        if (!place.name.empty() && !place.chooses) ++count;
    }
    return count;
}

template <PhraseUnit Unit, class T>
PhraseValue value_of(T&& value) {
    using Kind = std::remove_cvref_t<T>;
    if constexpr (Unit == PhraseUnit::Text || Unit == PhraseUnit::Word) {
        static_assert(std::convertible_to<T, std::string_view>, "this place takes a text");
        return std::string(std::forward<T>(value));
    } else if constexpr (Unit == PhraseUnit::Count) {
        static_assert(std::integral<Kind>, "this place takes a whole number");
        return static_cast<std::int64_t>(value);
    } else if constexpr (Unit == PhraseUnit::Bytes || Unit == PhraseUnit::Gib) {
        static_assert(std::same_as<Kind, plimsoll::Bytes>, "this place takes Bytes");
        return value;
    } else if constexpr (Unit == PhraseUnit::Phrase) {
        static_assert(std::same_as<Kind, plimsoll::Phrase>, "this place takes a phrase");
        return Phrases{std::forward<T>(value)};
    } else if constexpr (Unit == PhraseUnit::Details || Unit == PhraseUnit::Clauses) {
        static_assert(std::same_as<Kind, Phrases>, "this place takes phrases");
        return std::forward<T>(value);
    } else {
        static_assert(std::is_arithmetic_v<Kind>, "this place takes a number");
        return static_cast<double>(value);
    }
}

}  // namespace said

template <PhraseCode Code, class... Args>
[[nodiscard]] Phrase say(Args&&... args) {
    static constexpr const PhraseEntry* kEntry = said::find(Code.view());
    static_assert(said::places_of(kEntry->english) == sizeof...(Args),
                  "as many values as the sentence has places");
    static constexpr auto kUnits = said::units_of<sizeof...(Args)>(kEntry->english);
    std::vector<PhraseValue> values;
    values.reserve(sizeof...(Args));
    [&]<std::size_t... At>(std::index_sequence<At...>) {
        (values.push_back(said::value_of<kUnits[At]>(std::forward<Args>(args))), ...);
    }(std::index_sequence_for<Args...>{});
    return Phrase(*kEntry, std::move(values));
}

}  // namespace plimsoll
