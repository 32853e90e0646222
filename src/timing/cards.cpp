// SPDX-License-Identifier: Apache-2.0
#include "timing/cards.h"

#include "base/check.h"
#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace plimsoll::embedded {
std::string_view cards_csv();
}

namespace plimsoll::timing {
namespace {

constexpr std::size_t kColumns = 20;
constexpr std::size_t kNameMax = 80;  // chosen: the longest name of a driver has under 60

// Reads one line field by field; remembers the first column that did not parse.
class LineReader {
  public:
    explicit LineReader(std::vector<std::string_view> fields) : fields_(std::move(fields)) {}

    std::string text() { return std::string(next()); }
    int integer() {
        const auto value = parse_integer(next());
        if (!value || *value < 0 || *value > 10'000'000) bad_ = true;
        return value ? static_cast<int>(*value) : 0;
    }
    double number() { return optional_number().value_or(-1.0); }
    std::optional<double> optional_number() {
        const std::string_view field = next();
        if (field.empty()) return std::nullopt;
        const auto value = parse_number(field);
        if (!value) bad_ = true;
        return value;
    }
    [[nodiscard]] bool bad() const { return bad_; }

  private:
    std::string_view next() { return trim(fields_[column_++]); }

    std::vector<std::string_view> fields_;
    std::size_t column_ = 0;
    bool bad_ = false;
};

std::optional<memory::Vendor> vendor_of(std::string_view text) {
    if (text == "nvidia") return memory::Vendor::Nvidia;
    if (text == "amd") return memory::Vendor::Amd;
    if (text == "intel") return memory::Vendor::Intel;
    return std::nullopt;
}

std::optional<Card> parse_line(std::vector<std::string_view> fields) {
    LineReader in(std::move(fields));
    Card card;
    card.key = in.text();
    card.name = in.text();
    const auto vendor = vendor_of(in.text());
    card.arch = in.text();
    card.compute_capability = in.integer();
    card.vram = Bytes::from_mib(in.integer());
    card.visible = Bytes::from_mib(in.integer());
    card.visible_from_text = in.text() == "text";
    card.bus_bits = in.integer();
    card.memory_gbps = in.number();
    card.bandwidth_gbs = in.number();
    card.cores = in.integer();
    card.boost_mhz = in.integer();
    card.fp32_tflops = in.number();
    card.fp16_tflops = in.optional_number();
    card.bf16_tflops = in.optional_number();
    card.pcie_gen = in.integer();
    card.pcie_lanes = in.integer();
    card.tdp_w = in.integer();
    card.source = in.text();
    if (in.bad() || !vendor || card.key.empty() || card.bandwidth_gbs <= 0 || card.fp32_tflops <= 0)
        return std::nullopt;
    card.vendor = *vendor;
    return card;
}

// A card's name as its telling words: "NVIDIA GeForce RTX 3050 6GB Laptop GPU" -> {rtx, 3050, 6gb,
// laptop}.
struct NameWords {
    std::vector<std::string> words;  // without the memory size
    std::optional<int> memory_gb;
};

std::string without_trademarks(std::string text) {
    for (const std::string_view mark : {"(r)", "(tm)"})
        for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark))
            text.erase(at, mark.size());
    return text;
}

// Splits where letters meet digits, so that "rtx3050ti" and "RTX 3050 Ti" give the same words;
// "6gb" and "16 gb" stay whole.
std::vector<std::string> letter_digit_words(std::string_view text) {
    std::vector<std::string> words;
    char before = ' ';
    for (const char c : text) {
        const bool digit = c >= '0' && c <= '9';
        const bool letter = c >= 'a' && c <= 'z';
        const bool before_digit = before >= '0' && before <= '9';
        const bool before_letter = before >= 'a' && before <= 'z';
        if (digit || letter) {
            if (!(before_digit || before_letter) || (digit != before_digit)) words.emplace_back();
            words.back().push_back(c);
        }
        before = c;
    }
    return words;
}

NameWords words_of(std::string_view name) {
    static constexpr auto kEmpty = std::to_array<std::string_view>(
        {"nvidia", "geforce", "amd", "radeon", "intel", "graphics", "gpu", "tesla", "instinct",
         "cuda", "hip", "zluda", "generation", "workstation", "edition", "with", "design"});
    std::string text = without_trademarks(to_lower_ascii(name));
    // ComfyUI: "cuda:0 NAME : cudaMallocAsync"; the last part names the allocator.
    if (const auto colon = text.find(" : "); colon != std::string::npos) text.resize(colon);
    // ... and older versions "CUDA 0: NAME".
    while (text.starts_with("cuda") || text.starts_with("xpu")) {
        const auto name_at = text.find_first_not_of(" :0123456789", text[0] == 'c' ? 4 : 3);
        text.erase(0, name_at);
    }
    NameWords out;
    const auto words = letter_digit_words(text);
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const bool is_number = word.front() >= '0' && word.front() <= '9';
        if (is_number && i + 1 < words.size() && words[i + 1] == "gb") {
            out.memory_gb = std::atoi(word.c_str());
            ++i;
            continue;
        }
        if (std::ranges::find(kEmpty, word) != kEmpty.end()) continue;
        if (word == "super")
            out.words.emplace_back("s");
        else if (word == "mobile")
            out.words.emplace_back("laptop");
        else if (word == "tis") {
            out.words.emplace_back("ti");
            out.words.emplace_back("s");
        } else
            out.words.push_back(word);
    }
    return out;
}

int vram_gb(const Card& card) {
    return static_cast<int>(std::lround(card.vram.gib()));
}

struct IndexedCard {
    const Card* card;
    std::vector<std::string> by_key;
    std::vector<std::string> by_name;
};

const std::vector<IndexedCard>& card_index() {
    static const std::vector<IndexedCard> index = [] {
        std::vector<IndexedCard> all;
        for (const Card& card : card_catalogue())
            all.push_back({&card, words_of(card.key).words, words_of(card.name).words});
        return all;
    }();
    return index;
}

// Of cards that share a name, the one whose visible memory is nearest to what the driver reported.
const Card* nearest_by_memory(const std::vector<const Card*>& cards, Bytes total) {
    return *std::ranges::min_element(cards, {}, [&](const Card* card) {
        return std::min(std::abs((card->visible - total).count),
                        std::abs((card->vram - total).count));
    });
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += word;
    return text;
}

// Keys by what they begin with: "rtx3055" is nearer to "rtx3050-6gb" than to "rtx3090".
std::vector<std::string> nearest_keys(std::string_view wanted) {
    std::vector<std::pair<std::size_t, std::string>> ranked;
    for (const Card& card : card_catalogue())
        ranked.emplace_back(edit_distance(wanted, card.key.substr(0, wanted.size())), card.key);
    std::ranges::stable_sort(ranked, {}, &std::pair<std::size_t, std::string>::first);
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < std::min<std::size_t>(5, ranked.size()); ++i)
        keys.push_back(std::move(ranked[i].second));
    return keys;
}

}  // namespace

Result<std::vector<Card>> parse_cards(std::string_view csv) {
    std::vector<Card> cards;
    bool header_seen = false;
    int line_number = 0;
    for (std::string_view line : split(csv, '\n')) {
        ++line_number;
        line = trim(line);
        if (line.empty() || line.front() == '#') continue;
        if (!header_seen) {
            header_seen = true;
            continue;
        }
        auto fields = split(line, ',');
        if (fields.size() != kColumns)
            return fail(Errc::Corrupt,
                        fmt::format("card catalogue line {}: {} columns, expected {}", line_number,
                                    fields.size(), kColumns));
        auto card = parse_line(std::move(fields));
        if (!card)
            return fail(Errc::Corrupt,
                        fmt::format("card catalogue line {}: a number or vendor cannot be read",
                                    line_number));
        cards.push_back(std::move(*card));
    }
    return cards;
}

std::span<const Card> card_catalogue() {
    static const std::vector<Card> cards = [] {
        auto parsed = parse_cards(embedded::cards_csv());
        CHECK(parsed.has_value());  // embedded at build time and tested
        return std::move(*parsed);
    }();
    return cards;
}

Result<const Card*> find_card(std::string_view name, std::optional<Bytes> total) {
    name = name.substr(0, kNameMax);
    const std::string lower = to_lower_ascii(trim(name));
    for (const Card& card : card_catalogue())
        if (card.key == lower || to_lower_ascii(card.name) == lower) {
            if (card.key == lower || !total) return &card;
            break;  // a driver's name, and the memory may decide between cards that share it
        }

    const NameWords wanted = words_of(name);
    std::vector<const Card*> matches;
    if (!wanted.words.empty())
        for (const IndexedCard& entry : card_index()) {
            if (entry.by_key != wanted.words && entry.by_name != wanted.words) continue;
            if (wanted.memory_gb && *wanted.memory_gb != vram_gb(*entry.card)) continue;
            matches.push_back(entry.card);
        }
    if (!matches.empty()) return total ? nearest_by_memory(matches, *total) : matches.front();

    std::string list;
    for (const std::string& key : nearest_keys(wanted.words.empty() ? lower : joined(wanted.words)))
        list += (list.empty() ? "" : ", ") + key;
    return fail(Errc::NotFound, say<"error.card">(name, card_catalogue().size(), list));
}

Bytes context_bytes(const Card& card) {
    const bool new_driver_stack =
        card.vendor == memory::Vendor::Nvidia && card.compute_capability >= 89;
    return Bytes::from_mib(new_driver_stack ? 430 : 300);
}

memory::Device device_from(const Card& card, memory::OperatingSystem os,
                           std::optional<Bytes> used_by_others) {
    memory::Device device;
    device.name = card.name;
    device.vendor = card.vendor;
    device.os = os;
    // Windows (WDDM) shows e.g. 8589410304 bytes for 8 GiB, 24564 MiB for 24 GiB: nominal less
    // about half a MiB.
    device.total =
        os == memory::OperatingSystem::Windows ? card.vram - Bytes::from_mib(1) : card.visible;
    device.used_by_others = used_by_others.value_or(context_bytes(card));
    device.compute_capability = card.compute_capability;
    return device;
}

}  // namespace plimsoll::timing
