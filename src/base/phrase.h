// SPDX-License-Identifier: Apache-2.0
//
// Phrase: something said to people, kept apart into what is said (a code of the catalogue) and what
// about (names, sizes, times). The English sentence is made when it is asked for; a page in another
// language words the code itself. Words of others (an error of ComfyUI's, a file's) are plain
// phrases, without a code.
//
// Enters through: say() (base/say.h), std::string.   Leaves through: Phrase.   Threads: values.
#pragma once
#include "base/units.h"

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace plimsoll {

// What a value is and so how it is written. By the names that the catalogue gives them.
enum class PhraseUnit : std::uint8_t {
    Text,     // a name, or somebody else's words: never translated
    Word,     // one of a few of ours, which a language may word: "text encoder"
    Count,    // a whole number
    Number,   // any other, without a unit
    Bytes,    // "4352 MiB"
    Gib,      // bytes too, "1.25 GiB"
    Seconds,  // "18.3 s"
    Percent,  // of a share, 1 is all: "15 %"
    Celsius,  // "83 °C"
    Phrase,   // a sentence within the sentence
    Details,  // any number of them, each after a comma
    Clauses,  // any number of them, each after a semicolon
};
// As the wire has it: "text", "word", "count", "number", "bytes", "seconds", "share", "celsius",
// "phrase", "details", "clauses".
[[nodiscard]] std::string_view phrase_unit_name(PhraseUnit unit);

struct PhraseEntry {
    std::string_view code;     // "judge.under"
    std::string_view english;  // "peak {peak:bytes} is under the line of {line:bytes}"
};

class Phrase;
using Phrases = std::vector<Phrase>;
// A sentence within a sentence is a list of one.
using PhraseValue = std::variant<std::string, std::int64_t, double, Bytes, Phrases>;

class Phrase {
  public:
    struct Param {
        std::string_view name;
        PhraseUnit unit = PhraseUnit::Text;
        const PhraseValue* value = nullptr;  // of the phrase
    };

    Phrase() = default;  // nothing is said
    // Somebody else's words.
    Phrase(std::string plain);  // NOLINT(google-explicit-constructor): a text is a plain phrase
    Phrase(const char* plain)   // NOLINT(google-explicit-constructor)
        : Phrase(std::string(plain)) {}
    // By say(), which looks at the values while it is compiled.
    Phrase(const PhraseEntry& entry, std::vector<PhraseValue> values)
        : entry_(&entry), values_(std::move(values)) {}

    // Empty for somebody else's words.
    [[nodiscard]] std::string_view code() const { return entry_ == nullptr ? "" : entry_->code; }
    [[nodiscard]] bool empty() const { return entry_ == nullptr && values_.empty(); }
    // The English sentence: lower case, no full stop.
    [[nodiscard]] std::string message() const;
    // In the order of the sentence; none of somebody else's words.
    [[nodiscard]] std::vector<Param> params() const;
    // Where a text is wanted it is the English sentence.
    operator std::string() const {  // NOLINT(google-explicit-constructor)
        return message();
    }
    friend bool operator==(const Phrase& a, const Phrase& b) = default;
    template <std::convertible_to<std::string_view> Text>
    friend bool operator==(const Phrase& a, const Text& b) {
        return a.message() == std::string_view(b);
    }

  private:
    const PhraseEntry* entry_ = nullptr;  // of the catalogue, which lives for ever
    std::vector<PhraseValue> values_;     // in the order of the sentence's places
};

[[nodiscard]] std::vector<std::string> messages_of(const Phrases& phrases);

// One place of a sentence: "{name}", "{name:unit}", or "{name?one|many}", which takes no value of
// its own but looks whether that of `name` is 1.
struct PhrasePlace {
    std::string_view before;  // the words in front of it
    std::string_view name;    // empty at the end of the sentence
    std::string_view unit;    // empty: a text
    std::string_view one;
    std::string_view many;
    bool chooses = false;
};
// Takes the next place off `english`.
[[nodiscard]] constexpr PhrasePlace next_place(std::string_view& english) {
    PhrasePlace place;
    const std::size_t open = english.find('{');
    const std::size_t close = english.find('}', open);
    place.before = english.substr(0, open);
    if (open == std::string_view::npos || close == std::string_view::npos) {
        english = {};
        return place;
    }
    std::string_view inside = english.substr(open + 1, close - open - 1);
    english.remove_prefix(close + 1);
    const std::size_t mark = inside.find_first_of(":?");
    place.name = inside.substr(0, mark);
    if (mark == std::string_view::npos) return place;
    place.chooses = inside[mark] == '?';
    inside.remove_prefix(mark + 1);
    if (!place.chooses) {
        place.unit = inside;
        return place;
    }
    const std::size_t bar = inside.find('|');
    place.one = inside.substr(0, bar);
    if (bar != std::string_view::npos) place.many = inside.substr(bar + 1);
    return place;
}

// Of the catalogue's own names: "" for a text, "word", "count", "number", "bytes", "gib",
// "seconds", "percent", "celsius", "phrase", "details", "clauses".
[[nodiscard]] constexpr PhraseUnit unit_of_place(std::string_view name) {
    if (name == "word") return PhraseUnit::Word;
    if (name == "count") return PhraseUnit::Count;
    if (name == "number") return PhraseUnit::Number;
    if (name == "bytes") return PhraseUnit::Bytes;
    if (name == "gib") return PhraseUnit::Gib;
    if (name == "seconds") return PhraseUnit::Seconds;
    if (name == "percent") return PhraseUnit::Percent;
    if (name == "celsius") return PhraseUnit::Celsius;
    if (name == "phrase") return PhraseUnit::Phrase;
    if (name == "details") return PhraseUnit::Details;
    if (name == "clauses") return PhraseUnit::Clauses;
    return PhraseUnit::Text;
}

}  // namespace plimsoll
