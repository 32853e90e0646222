// SPDX-License-Identifier: Apache-2.0
//
// Bytes as base64 (RFC 4648, with padding), as data: addresses have them.
#pragma once
#include <string>
#include <string_view>

namespace plimsoll {

[[nodiscard]] std::string encode_base64(std::string_view bytes);

}  // namespace plimsoll
