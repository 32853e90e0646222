// SPDX-License-Identifier: Apache-2.0
#include "base/phrase.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll {
namespace {

template <class T>
T value_or(const PhraseValue& value, T otherwise) {
    const T* held = std::get_if<T>(&value);
    return held == nullptr ? otherwise : *held;
}

std::string joined(const PhraseValue& value, std::string_view before_each) {
    std::string out;
    if (const auto* list = std::get_if<Phrases>(&value))
        for (const Phrase& phrase : *list) out.append(before_each).append(phrase.message());
    return out;
}

std::string text_of(const PhraseValue& value, PhraseUnit unit) {
    switch (unit) {
        case PhraseUnit::Text:
        case PhraseUnit::Word:
            break;
        case PhraseUnit::Count:
            return fmt::format("{}", value_or<std::int64_t>(value, 0));
        case PhraseUnit::Number:
            return fmt::format("{:g}", value_or<double>(value, 0));
        case PhraseUnit::Bytes:
            return to_text(value_or<Bytes>(value, Bytes(0)));
        case PhraseUnit::Gib:
            return to_gib_text(value_or<Bytes>(value, Bytes(0)));
        case PhraseUnit::Seconds:
            return seconds_text(value_or<double>(value, 0));
        case PhraseUnit::Percent:
            return fmt::format("{:.0f} %", value_or<double>(value, 0) * 100);
        case PhraseUnit::Celsius:
            return fmt::format("{:.0f} °C", value_or<double>(value, 0));
        case PhraseUnit::Phrase:
            return joined(value, "");
        case PhraseUnit::Details:
            return joined(value, ", ");
        case PhraseUnit::Clauses:
            return joined(value, "; ");
    }
    return value_or<std::string>(value, {});
}

}  // namespace

std::string_view phrase_unit_name(PhraseUnit unit) {
    switch (unit) {
        case PhraseUnit::Text:
            break;
        case PhraseUnit::Word:
            return "word";
        case PhraseUnit::Count:
            return "count";
        case PhraseUnit::Number:
            return "number";
        case PhraseUnit::Bytes:
        case PhraseUnit::Gib:
            return "bytes";
        case PhraseUnit::Seconds:
            return "seconds";
        case PhraseUnit::Percent:
            return "share";
        case PhraseUnit::Celsius:
            return "celsius";
        case PhraseUnit::Phrase:
            return "phrase";
        case PhraseUnit::Details:
            return "details";
        case PhraseUnit::Clauses:
            return "clauses";
    }
    return "text";
}

Phrase::Phrase(std::string plain) {
    if (!plain.empty()) values_.emplace_back(std::move(plain));
}

std::vector<Phrase::Param> Phrase::params() const {
    std::vector<Param> out;
    if (entry_ == nullptr) return out;
    std::string_view rest = entry_->english;
    while (!rest.empty() && out.size() < values_.size()) {
        const PhrasePlace place = next_place(rest);
        if (place.name.empty() || place.chooses) continue;
        out.push_back({place.name, unit_of_place(place.unit), &values_[out.size()]});
    }
    return out;
}

std::string Phrase::message() const {
    if (entry_ == nullptr)
        return values_.empty() ? std::string() : value_or<std::string>(values_.front(), {});
    const std::vector<Param> all = params();
    std::string out;
    std::string_view rest = entry_->english;
    std::size_t next = 0;
    while (!rest.empty()) {
        const PhrasePlace place = next_place(rest);
        out += place.before;
        if (place.name.empty()) continue;
        if (!place.chooses) {
            if (next < all.size()) out += text_of(*all[next].value, all[next].unit);
            ++next;
            continue;
        }
        for (const Param& param : all)
            if (param.name == place.name)
                out += value_or<std::int64_t>(*param.value, 0) == 1 ? place.one : place.many;
    }
    return out;
}

std::vector<std::string> messages_of(const Phrases& phrases) {
    std::vector<std::string> out;
    out.reserve(phrases.size());
    for (const Phrase& phrase : phrases) out.push_back(phrase.message());
    return out;
}

}  // namespace plimsoll
