// SPDX-License-Identifier: Apache-2.0
#include "wire/decode.h"

#include "base/text.h"
#include "base/utf8.h"
#include "service/media.h"
#include "workflow/json_scanner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

namespace plimsoll::wire {

namespace {

using workflow::JsonScanner;

std::unexpected<Error> must_be(std::string_view what) {
    return fail(Errc::InvalidInput, fmt::format("must be {}", what));
}

Result<std::string> read_text(JsonScanner& from, std::size_t least, std::size_t most) {
    if (from.peek() != '"') return must_be("text");
    TRY_ASSIGN(std::string text, from.scan_string());
    // In characters, as JSON Schema counts them.
    const auto length = static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
    if (length < least || length > most)
        return must_be(fmt::format("text of {} to {} characters, it has {}", least, most, length));
    return text;
}

Result<std::string_view> read_digits(JsonScanner& from) {
    const char first = from.peek();
    if (first != '-' && !(first >= '0' && first <= '9')) return must_be("a number");
    auto digits = from.scan_number();
    if (digits && digits->find_first_of("IN") != std::string_view::npos)
        return must_be("a number");  // NaN, Infinity
    return digits;
}

Result<double> read_number(JsonScanner& from, double low, double high) {
    TRY_ASSIGN(const std::string_view digits, read_digits(from));
    const auto value = parse_number(digits);
    if (!value || !(*value >= low && *value <= high))
        return must_be(fmt::format("{} to {}, it is {}", low, high, digits.substr(0, 40)));
    return *value;
}

// 512, and 512.0 and 5.12e2, which are the same number.
Result<int> read_whole(JsonScanner& from, int low, int high, int step = 1) {
    TRY_ASSIGN(const std::string_view digits, read_digits(from));
    const auto value = parse_number(digits);
    if (!value || std::floor(*value) != *value || !(*value >= low && *value <= high) ||
        static_cast<int>(*value) % step != 0)
        return must_be(fmt::format("a whole number from {} to {}{}, it is {}", low, high,
                                   step == 1 ? "" : fmt::format(" in steps of {}", step),
                                   digits.substr(0, 40)));
    return static_cast<int>(*value);
}

Result<std::uint64_t> read_seed(JsonScanner& from) {
    TRY_ASSIGN(const std::string_view digits, read_digits(from));
    std::uint64_t seed = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), seed);
    if (read.ec == std::errc() && read.ptr == digits.data() + digits.size()) return seed;
    // 1e3, 7.0: whole, and small enough for a double to say exactly.
    const auto value = parse_number(digits);
    if (value && std::floor(*value) == *value && *value >= 0 && *value <= 9007199254740992.0)
        return static_cast<std::uint64_t>(*value);
    return must_be(fmt::format("a whole number from 0 to 18446744073709551615, it is {}",
                               digits.substr(0, 40)));
}

Result<bool> read_flag(JsonScanner& from, std::string_view text) {
    const char first = from.peek();
    if (first != 't' && first != 'f') return must_be("true or false");
    TRY_ASSIGN(const workflow::Span span, from.skip_value());
    return text.substr(span.begin, span.end - span.begin) == "true";
}

Result<std::string> read_word(JsonScanner& from, std::span<const std::string_view> words) {
    TRY_ASSIGN(std::string word, read_text(from, 0, 64));
    if (std::ranges::find(words, word) == words.end())
        return must_be(fmt::format("one of {}", fmt::join(words, ", ")));
    return word;
}

struct Place {
    JsonScanner& from;
    std::string_view text;
    Question& into;
};

Result<void> read_workflow(const Place& at) {
    const char first = at.from.peek();
    if (first == '"') {
        TRY_ASSIGN(at.into.job.workflow, at.from.scan_string());
        return {};
    }
    if (first != '{') return must_be("a workflow: an object, or its text");
    TRY_ASSIGN(const workflow::Span span, at.from.skip_value());
    at.into.job.workflow = std::string(at.text.substr(span.begin, span.end - span.begin));
    return {};
}

Result<void> read_pins(const Place& at) {
    if (at.from.peek() != '[') return must_be("a list of names");
    constexpr std::size_t kPinsMax = 32;
    TRY_DO(at.from.scan_array([&](std::size_t index) -> Result<void> {
        if (index >= kPinsMax) return must_be("a list of at most 32 names");
        TRY_ASSIGN(const std::string name, read_text(at.from, 1, 64));
        TRY_ASSIGN(const advisor::Pins pins, advisor::parse_pins(name));
        if (!pins.contains(name) || pins.size() != 1)
            return fail(Errc::InvalidInput, fmt::format("cannot pin '{}'", name));
        at.into.pins.insert(name);
        return {};
    }));
    return {};
}

// What the workflow loads: {"photo.png": "832x1216"}.
Result<void> read_inputs(const Place& at) {
    if (at.from.peek() != '{') return must_be("an object of sizes by name");
    constexpr std::size_t kInputsMax = 64;
    TRY_DO(at.from.scan_object([&](const std::string& name, workflow::Span) -> Result<void> {
        auto& sizes = at.into.job.media.by_name;
        if (sizes.size() >= kInputsMax) return must_be("an object of at most 64 sizes");
        TRY_ASSIGN(const std::string text, read_text(at.from, 1, 64));
        TRY_ASSIGN(const memory::MediaSize size, service::parse_media_size(text));
        sizes.insert_or_assign(name, size);
        return {};
    }));
    return {};
}

template <class T>
Result<void> take(Result<T> value, auto& into) {
    if (!value) return std::unexpected(std::move(value).error());
    into = std::move(*value);
    return {};
}

struct Row {
    std::string_view name;
    Field group;
    Result<void> (*read)(const Place&);
};

constexpr std::array<std::string_view, 4> kQualities{"draft", "optimized", "high", "ultra"};
constexpr std::array<std::string_view, 7> kKnobs{"width", "height", "batch", "frames",
                                                 "tile",  "steps",  "cfg"};
constexpr std::array<std::string_view, 2> kPreferences{"quality", "speed"};
constexpr std::array<std::string_view, 2> kPolicies{"estimate", "dynamic"};

Result<void> read_side(const Place& at, std::optional<int>& into) {
    return take(read_whole(at.from, advisor::kSideMin, advisor::kSideMax, advisor::kSideStep),
                into);
}

constexpr std::array kRows{
    Row{"workflow", Field::Source, read_workflow},
    Row{"inputs", Field::Source, read_inputs},
    Row{"preset", Field::Source,
        [](const Place& at) { return take(read_text(at.from, 1, 64), at.into.preset); }},
    Row{"family", Field::Family,
        [](const Place& at) { return take(read_text(at.from, 1, 64), at.into.job.family); }},
    Row{"model", Field::Wishes,
        [](const Place& at) { return take(read_text(at.from, 1, 512), at.into.job.model); }},
    Row{"prompt", Field::Wishes,
        [](const Place& at) { return take(read_text(at.from, 0, 20'000), at.into.job.prompt); }},
    Row{"negative", Field::Wishes,
        [](const Place& at) { return take(read_text(at.from, 0, 20'000), at.into.job.negative); }},
    Row{"width", Field::Wishes, [](const Place& at) { return read_side(at, at.into.job.width); }},
    Row{"height", Field::Wishes, [](const Place& at) { return read_side(at, at.into.job.height); }},
    Row{"batch", Field::Wishes,
        [](const Place& at) {
            return take(read_whole(at.from, 1, advisor::kBatchMax), at.into.job.batch);
        }},
    Row{"steps", Field::Wishes,
        [](const Place& at) {
            return take(read_whole(at.from, advisor::kStepsMin, advisor::kStepsMax),
                        at.into.job.steps);
        }},
    Row{"cfg", Field::Wishes,
        [](const Place& at) {
            return take(read_number(at.from, advisor::kCfgMin, advisor::kCfgMax), at.into.job.cfg);
        }},
    Row{"sampler", Field::Wishes,
        [](const Place& at) { return take(read_text(at.from, 1, 64), at.into.job.sampler); }},
    Row{"scheduler", Field::Wishes,
        [](const Place& at) { return take(read_text(at.from, 1, 64), at.into.job.scheduler); }},
    Row{"quality", Field::Wishes,
        [](const Place& at) -> Result<void> {
            TRY_ASSIGN(const std::string word, read_word(at.from, kQualities));
            return take(advisor::parse_quality(word), at.into.job.quality);
        }},
    Row{"seed", Field::Wishes,
        [](const Place& at) { return take(read_seed(at.from), at.into.job.seed); }},
    Row{"vaeTiling", Field::Wishes,
        [](const Place& at) { return take(read_flag(at.from, at.text), at.into.job.vae_tiling); }},
    Row{"pin", Field::Plan, read_pins},
    Row{"prefer", Field::Plan,
        [](const Place& at) -> Result<void> {
            TRY_ASSIGN(const std::string word, read_word(at.from, kPreferences));
            at.into.preference =
                word == "speed" ? advisor::Preference::Speed : advisor::Preference::Quality;
            return {};
        }},
    Row{"runAnyway", Field::Anyway,
        [](const Place& at) { return take(read_flag(at.from, at.text), at.into.run_anyway); }},
    Row{"knob", Field::Knob,
        [](const Place& at) -> Result<void> {
            TRY_ASSIGN(const std::string word, read_word(at.from, kKnobs));
            return take(advisor::parse_knob(word), at.into.knob);
        }},
    Row{"card", Field::Site,
        [](const Place& at) { return take(read_text(at.from, 1, 200), at.into.overrides.card); }},
    Row{"vramMb", Field::Site,
        [](const Place& at) {
            return take(read_number(at.from, 1024, 1'048'576), at.into.overrides.vram_mb);
        }},
    Row{"comfyuiVersion", Field::Site,
        [](const Place& at) {
            return take(read_text(at.from, 1, 32), at.into.overrides.comfyui_version);
        }},
    Row{"comfyuiFlags", Field::Site,
        [](const Place& at) {
            return take(read_text(at.from, 0, 4096), at.into.overrides.comfyui_flags);
        }},
    Row{"memoryPolicy", Field::Site,
        [](const Place& at) {
            return take(read_word(at.from, kPolicies), at.into.overrides.memory_policy);
        }},
    Row{"maxVramMb", Field::Limits,
        [](const Place& at) {
            return take(read_whole(at.from, 1024, 1'048'576), at.into.overrides.max_vram_mb);
        }},
    Row{"safetyMargin", Field::Limits,
        [](const Place& at) {
            return take(read_number(at.from, 0, 0.9), at.into.overrides.safety_margin);
        }},
    Row{"maxDurationMin", Field::Limits,
        [](const Place& at) {
            return take(read_number(at.from, 0.1, 1440), at.into.overrides.max_duration_min);
        }},
};

bool is_taken(const Row& row, std::uint32_t fields) {
    const auto has = [&](Field field) { return (fields & static_cast<std::uint32_t>(field)) != 0; };
    if (has(Field::SizeOnly) && (row.name == "model" || row.name == "width" ||
                                 row.name == "height" || row.name == "quality"))
        return true;
    if (has(Field::NoPrompt) && row.group == Field::Wishes) return row.name != "prompt";
    return has(row.group);
}

DecodeError unknown_field(const std::string& key, std::uint32_t fields) {
    std::vector<std::string> known;
    for (const Row& row : kRows)
        if (is_taken(row, fields)) known.emplace_back(row.name);
    return {{Errc::InvalidInput,
             fmt::format("the field '{}' is not known here; the nearest: {}", key.substr(0, 64),
                         fmt::join(nearest_names(key, known, 3), ", "))},
            key.substr(0, 64)};
}

}  // namespace

std::expected<Question, DecodeError> decode_question(std::string_view body, std::uint32_t fields) {
    Question question;
    std::string field;
    std::set<std::string_view> seen;
    std::optional<DecodeError> unknown;
    JsonScanner scanner(body);
    const auto refuse = [](std::string message) {
        return std::unexpected(DecodeError{{Errc::InvalidInput, std::move(message)}, {}});
    };
    if (!is_utf8(body)) return refuse("the body is not UTF-8");
    if (scanner.peek() != '{') return refuse("the body must be a JSON object");
    const auto scanned =
        scanner.scan_object([&](const std::string& key, workflow::Span) -> Result<void> {
            const auto* const row = std::ranges::find(kRows, std::string_view(key), &Row::name);
            if (row == kRows.end() || !is_taken(*row, fields)) {
                unknown = unknown_field(key, fields);
                return std::unexpected(unknown->error);
            }
            field = key;
            if (!seen.insert(row->name).second) return fail(Errc::InvalidInput, "is there twice");
            TRY_DO(row->read({scanner, body, question}));
            field.clear();
            return {};
        });
    if (unknown) return std::unexpected(*unknown);
    if (!scanned) {
        // Broken JSON inside a value is the body's fault, not the field's.
        if (field.empty() || scanned.error().code == Errc::Corrupt)
            return refuse("the body is " + scanned.error().message);
        return std::unexpected(DecodeError{
            {Errc::InvalidInput, fmt::format("{} {}", field, scanned.error().message)}, field});
    }
    if (!scanner.is_at_end()) return refuse("the body goes on behind its JSON object");
    return question;
}

}  // namespace plimsoll::wire
