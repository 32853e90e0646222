// SPDX-License-Identifier: Apache-2.0
//
// Saving the pictures that came back, under names that another party chose.
//
// Enters through: bytes.   Leaves through: files.   Threads: no shared state.
#pragma once
#include "base/error.h"

#include <filesystem>
#include <string_view>

namespace plimsoll::service {

// Creates the folder where it is missing. InvalidInput with the way out when it cannot be, or
// cannot be written.
[[nodiscard]] Result<void> check_folder(const std::filesystem::path& folder);

// Saves bytes under a name from outside: no folders, no control characters, an existing file is
// never replaced, also when two processes save at once. Returns the path. After a failure (disk
// full) no half file is left.
[[nodiscard]] Result<std::filesystem::path> save_image(const std::filesystem::path& folder,
                                                       std::string_view name,
                                                       std::string_view bytes);

}  // namespace plimsoll::service
