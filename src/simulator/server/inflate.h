// SPDX-License-Identifier: Apache-2.0
//
// Compressed request bodies. Input is untrusted: the size afterwards is limited.
// Threads: no shared state.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::simulator {

// `encoding`: gzip or deflate. InvalidInput for another, Corrupt for broken bytes, LimitExceeded.
[[nodiscard]] Result<std::string> inflate_body(std::string_view packed, std::string_view encoding,
                                               std::uint64_t bytes_max);

}  // namespace plimsoll::simulator
