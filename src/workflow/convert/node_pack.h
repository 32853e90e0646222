// SPDX-License-Identifier: Apache-2.0
//
// How a node says which pack of nodes it is from (properties cnr_id, aux_id, ver), and what of that
// the front end takes for valid.
//
// Threads: pure.
#pragma once
#include <string_view>

namespace plimsoll::workflow {

[[nodiscard]] bool is_pack_id(std::string_view text);       // "comfy-core"
[[nodiscard]] bool is_repository(std::string_view text);    // "user/name"
[[nodiscard]] bool is_pack_version(std::string_view text);  // "0.3.64", a commit, "unknown"

}  // namespace plimsoll::workflow
