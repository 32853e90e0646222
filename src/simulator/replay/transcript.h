// SPDX-License-Identifier: Apache-2.0
//
// Recorded exchanges with a real ComfyUI, and what of them can be expected to come again. Ids,
// dates, sizes and the order of Python sets cannot; header names and their order, texts, numbers,
// keys and their order can. For the replay test.
//
// Threads: no shared state.
#pragma once
#include "net/http_message.h"
#include "simulator/python_value.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

inline std::string gunzip_file(const std::string& path) {
    std::string text;
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) return text;
    std::array<char, 1 << 16> piece{};
    for (int n = 0; (n = gzread(file, piece.data(), piece.size())) > 0;)
        text.append(piece.data(), static_cast<std::size_t>(n));
    gzclose(file);
    return text;
}

inline std::vector<Value> read_transcript(const std::string& path) {
    std::vector<Value> lines;
    const std::string text = gunzip_file(path);
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        if (auto line = parse_python_json(text.substr(at, end - at)))
            lines.push_back(std::move(*line));
        at = end == std::string::npos ? text.size() : end + 1;
    }
    return lines;
}

inline std::string text_field(const Value& line, std::string_view name) {
    const Value* const value = line.get(name);
    return value == nullptr || value->as_str() == nullptr ? std::string() : *value->as_str();
}

inline net::Headers headers_field(const Value& line, std::string_view name) {
    net::Headers headers;
    const Value* const list = line.get(name);
    if (list == nullptr || list->as_list() == nullptr) return headers;
    for (const Value& pair : *list->as_list())
        headers.push_back({*(*pair.as_list())[0].as_str(), *(*pair.as_list())[1].as_str()});
    return headers;
}

// Recorded ids against those of this run.
using IdMap = std::map<std::string, std::string>;

inline std::string replace_ids(std::string text, const IdMap& ids) {
    for (const auto& [recorded, ours] : ids)
        for (auto at = text.find(recorded); at != std::string::npos;
             at = text.find(recorded, at + ours.size()))
            text.replace(at, recorded.size(), ours);
    return text;
}

inline bool is_volatile_number(std::string_view key) {
    constexpr std::array<std::string_view, 9> kKeys{
        "timestamp", "ram_total",        "ram_free",        "vram_total", "vram_free",
        "modified",  "torch_vram_total", "torch_vram_free", "created"};
    return std::ranges::find(kKeys, key) != kKeys.end();
}

inline List names_of(const Dict& dict) {
    List names;
    for (const auto& item : dict) names.emplace_back(item.first);
    return names;
}

// NOLINTNEXTLINE(misc-no-recursion)
inline Value normalize(const Value& value, std::string_view key = {}) {
    if (const Dict* const dict = value.as_dict()) {
        Dict result;
        for (const auto& [name, inner] : *dict) {
            if (name == "tooltip" || name == "argv") continue;
            if (is_volatile_number(name))
                result.set(name, inner.as_float() != nullptr ? Value(0.0) : Value(0));
            else if (name == "description")
                result.set(name, "");
            else if (name == "traceback")
                result.set(name, List{});
            else if (name == "current_inputs" && inner.as_dict() != nullptr)
                result.set(name, names_of(*inner.as_dict()));
            else
                result.set(name, normalize(inner, name));
        }
        return result;
    }
    if (const List* const list = value.as_list()) {
        List result;
        for (const Value& inner : *list) result.push_back(normalize(inner));
        // Python sets: in any order.
        const bool is_prompt_tuple =
            result.size() == 5 && result[2].as_dict() != nullptr && result[4].as_list() != nullptr;
        const auto by_text = [](List& items) {
            std::ranges::sort(items, {}, [](const Value& item) { return dump_python_json(item); });
        };
        if (is_prompt_tuple) by_text(*result[4].as_list());
        if (key == "executed" || key == "current_outputs" || key == "errors") by_text(result);
        return result;
    }
    if (const auto* const text = value.as_str()) {
        static const std::regex kTemp("ComfyUI_temp_[a-z]{5}_");
        static const std::regex kSid("^[0-9a-f]{32}$");
        std::string shown = std::regex_replace(*text, kTemp, "ComfyUI_temp_xxxxx_");
        if (key == "sid") shown = std::regex_replace(shown, kSid, "<made by the server>");
        return shown;
    }
    return value;
}

// JSON text as far as it can be expected again; other text as it is.
inline std::string normalize_text(const std::string& text) {
    const auto parsed = parse_python_json(text);
    return parsed ? dump_python_json(normalize(*parsed)) : *normalize(Value(text)).as_str();
}

inline std::vector<unsigned char> from_hex(std::string_view hex) {
    std::vector<unsigned char> bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes.push_back(
            static_cast<unsigned char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return bytes;
}

inline std::string from_base64(std::string_view text) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    unsigned buffer = 0;
    int bits = 0;
    for (const char c : text) {
        const auto digit = kDigits.find(c);
        if (digit == std::string_view::npos) continue;
        buffer = buffer << 6U | static_cast<unsigned>(digit);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes += static_cast<char>(buffer >> static_cast<unsigned>(bits));
        }
    }
    return bytes;
}

}  // namespace plimsoll::simulator
