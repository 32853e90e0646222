// SPDX-License-Identifier: Apache-2.0
//
// Test fixture: whole networks from listings under tests/data, and folders that vanish with the
// test.
#pragma once
#include "base/random.h"
#include "modelfile/sparse_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <string>

namespace plimsoll::modelfile {

inline TensorTable listed_network(const std::string& name) {
    const std::string path =
        std::string(PLIMSOLL_TEST_DATA) + "/modelfile/headers/" + name + ".json.gz";
    gzFile file = gzopen(path.c_str(), "rb");
    EXPECT_NE(file, nullptr) << path;
    std::string text;
    std::array<char, 65536> chunk{};
    for (int got = 0; file != nullptr && (got = gzread(file, chunk.data(), chunk.size())) > 0;)
        text.append(chunk.data(), static_cast<std::size_t>(got));
    if (file != nullptr) gzclose(file);
    Result<TensorTable> table = parse_listing(text);
    EXPECT_TRUE(table) << table.error().message;
    return table ? *std::move(table) : TensorTable{};
}

class TemporaryFolder {
  public:
    TemporaryFolder()
        : path_(std::filesystem::temp_directory_path() / Random(os_seed()).next_uuid()) {
        std::filesystem::create_directories(path_);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
        return path_ / name;
    }

  private:
    std::filesystem::path path_;
};

}  // namespace plimsoll::modelfile
