// SPDX-License-Identifier: Apache-2.0
//
// The version of the library.
#pragma once
#include <plimsoll/export.h>

#include <string_view>

namespace plimsoll {

// "0.1.0": of the library that is linked, not of the header.
[[nodiscard]] PLIMSOLL_EXPORT std::string_view library_version();

}  // namespace plimsoll
