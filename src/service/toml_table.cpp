// SPDX-License-Identifier: Apache-2.0
#include "service/toml_table.h"

#include "base/byte_source.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::uint64_t kTomlBytesMax = 1ULL << 20U;  // as in config.cpp

}  // namespace

void TomlTable::text(const char* key, std::string& into, std::size_t bytes_max) {
    const auto* const node = table_.get(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    if (!value || value->size() > bytes_max)
        return refuse(key, fmt::format("text of at most {} bytes", bytes_max));
    into = *value;
}

void TomlTable::texts(const char* key, std::vector<std::string>& into, std::size_t count_max,
                      std::size_t bytes_max) {
    const auto* const node = table_.get(key);
    if (node == nullptr) return;
    const auto* const list = node->as_array();
    const std::string range =
        fmt::format("a list of 1 to {} texts of at most {} bytes", count_max, bytes_max);
    if (list == nullptr || list->empty() || list->size() > count_max) return refuse(key, range);
    std::vector<std::string> texts;
    for (const auto& one : *list) {
        const auto value = one.value_exact<std::string>();
        if (!value || value->size() > bytes_max) return refuse(key, range);
        texts.push_back(*value);
    }
    into = std::move(texts);
}

void TomlTable::number(const char* key, double& into, double low, double high) {
    const auto* const node = table_.get(key);
    if (node == nullptr) return;
    const auto value = node->value<double>();
    if (!value || !(*value >= low && *value <= high))
        return refuse(key, fmt::format("a number from {} to {}", low, high));
    into = *value;
}

void TomlTable::flag(const char* key, bool& into) {
    const auto* const node = table_.get(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<bool>();
    if (!value) return refuse(key, "true or false");
    into = *value;
}

void TomlTable::refuse(const char* key, const std::string& range) {
    if (error_.empty()) error_ = fmt::format("{}: {} must be {}", where_, key, range);
}

Result<void> TomlTable::outcome() const {
    if (!error_.empty()) return fail(Errc::InvalidInput, error_);
    return {};
}

Result<void> read_toml_list(const std::filesystem::path& path, const char* key,
                            std::size_t count_max,
                            const std::function<Result<void>(TomlTable&)>& take) {
    TRY_ASSIGN(const std::string text, read_text_file(path, kTomlBytesMax));
    const std::string name = path.string();
    toml::table root;
    try {
        root = toml::parse(text, name);
    } catch (const toml::parse_error& thrown) {
        return fail(Errc::Corrupt, fmt::format("{}: line {}: {}", name, thrown.source().begin.line,
                                               thrown.description()));
    }
    const auto* const node = root.get(key);
    if (node == nullptr) return {};
    const auto* const list = node->as_array();
    if (list == nullptr || !list->is_homogeneous(toml::node_type::table))
        return fail(Errc::InvalidInput,
                    fmt::format("{}: {}s are written as [[{}]] tables", name, key, key));
    if (list->size() > count_max)
        return fail(Errc::LimitExceeded,
                    fmt::format("{}: {} {}s, limit {}", name, list->size(), key, count_max));
    int number = 0;
    for (const auto& one : *list) {
        TomlTable table(*one.as_table(), fmt::format("{}: {} {}", name, key, ++number));
        TRY_DO(take(table));
    }
    return {};
}

}  // namespace plimsoll::service
