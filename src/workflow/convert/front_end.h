// SPDX-License-Identifier: Apache-2.0
//
// Which of ComfyUI's front ends a conversion follows. They agree on nearly everything; where they
// do not, the two whose output was recorded stand for those before and after the change.
#pragma once
#include <cstdint>

namespace plimsoll::workflow {

enum class FrontEnd : std::uint8_t {
    V1_27,  // 1.27.10, of ComfyUI 0.3.64: runs what lies in a bypassed subgraph
    V1_58,  // 1.58.1, of ComfyUI 0.33.0: leaves it out; names the node's pack in _meta
};

}  // namespace plimsoll::workflow
