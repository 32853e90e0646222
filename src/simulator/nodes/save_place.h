// SPDX-License-Identifier: Apache-2.0
//
// Where a node that saves puts its next file, as ComfyUI finds it. Private to nodes. Threads: the
// file system is the shared state.
#pragma once
#include "simulator/nodes/node.h"

#include <expected>
#include <filesystem>
#include <string>

namespace plimsoll::simulator {

struct SavePlace {
    std::filesystem::path folder;
    std::string stem;
    std::string subfolder;
    int counter = 1;
};
// `prefix` may name a folder below `base`; it is made where it is not there.
[[nodiscard]] std::expected<SavePlace, NodeFailure> find_place(const std::filesystem::path& base,
                                                               const std::string& prefix);

}  // namespace plimsoll::simulator
