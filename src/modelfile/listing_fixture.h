// SPDX-License-Identifier: Apache-2.0
//
// Test fixture: whole networks from listings under tests/data, and folders that vanish with the
// test.
#pragma once
#include "base/random.h"
#include "modelfile/sparse_file.h"

#include <filesystem>
#include <string>

namespace plimsoll::modelfile {

// The network of tests/data/modelfile/headers/NAME.json.gz.
[[nodiscard]] TensorTable listed_network(const std::string& name);

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
