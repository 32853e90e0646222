// SPDX-License-Identifier: Apache-2.0
//
// Pictures as answers. What they are is read from their bytes, never from a name.
//
// Threads: any.
#pragma once
#include "api/answer.h"

#include <filesystem>
#include <string>

namespace plimsoll::api {

// A saved picture. NotFound where the file is gone, or is no picture: nothing else is handed out.
[[nodiscard]] Answer answer_picture_file(const std::filesystem::path& path);
[[nodiscard]] Answer answer_picture(std::string bytes);

}  // namespace plimsoll::api
