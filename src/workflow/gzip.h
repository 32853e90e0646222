// SPDX-License-Identifier: Apache-2.0
//
// Files that people keep compressed: what GET /object_info answers is 30 MB with many node packs.
//
// Threads: pure.
#pragma once
#include "base/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace plimsoll::workflow {

[[nodiscard]] bool is_gzip(std::string_view bytes);

// Fails with Corrupt, or LimitExceeded when more than `bytes_max` come out.
[[nodiscard]] Result<std::string> inflate_gzip(std::string_view bytes, std::size_t bytes_max);

}  // namespace plimsoll::workflow
