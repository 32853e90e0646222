// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace plimsoll {

// "0.1.0": of the library that is linked, not of the header.
[[nodiscard]] std::string_view library_version();

}  // namespace plimsoll
