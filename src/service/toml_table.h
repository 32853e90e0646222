// SPDX-License-Identifier: Apache-2.0
//
// Tables of plimsoll.toml that are lists ([[profile]], [[scorer]]): read with their ranges, the
// first error named with its table and key.
//
// Enters through: a TOML file.   Leaves through: values.   Threads: no shared state.
#pragma once
#include "base/error.h"

#include <toml++/toml.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace plimsoll::service {

class TomlTable {
  public:
    TomlTable(const toml::table& table, std::string where)
        : table_(table), where_(std::move(where)) {}

    // A key that is not there leaves `into` as it is.
    void text(const char* key, std::string& into, std::size_t bytes_max = 2000);
    void texts(const char* key, std::vector<std::string>& into, std::size_t count_max,
               std::size_t bytes_max);
    void number(const char* key, double& into, double low, double high);
    void flag(const char* key, bool& into);
    [[nodiscard]] bool has(const char* key) const { return table_.get(key) != nullptr; }

    void refuse(const char* key, const std::string& range);
    [[nodiscard]] Result<void> outcome() const;
    [[nodiscard]] const std::string& where() const { return where_; }

  private:
    const toml::table& table_;
    std::string where_;
    std::string error_;
};

// `take` gets each table of the list `key` in turn ("plimsoll.toml: profile 2").
[[nodiscard]] Result<void> read_toml_list(const std::filesystem::path& path, const char* key,
                                          std::size_t count_max,
                                          const std::function<Result<void>(TomlTable&)>& take);

}  // namespace plimsoll::service
