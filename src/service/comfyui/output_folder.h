// SPDX-License-Identifier: Apache-2.0
//
// Where ComfyUI's folder "output" may lie, from what it tells of itself: its command line, and its
// folders of models, as it also looks for models that it saved itself below "output" (checkpoints,
// vae, loras... in 0.3.64). Guesses: whoever uses one must find what it looks for there. Input is
// untrusted.
//
// Enters through: ServerStats::argv, the answer of /internal/folder_paths.   Leaves through: paths
// in ComfyUI's file system, absolute, none twice.   Threads: no shared state.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// --output-directory, --base-directory, and beside main.py. A path that is not absolute is relative
// to a folder that nobody here knows: left out.
[[nodiscard]] std::vector<std::string> output_folders_of_argv(const std::vector<std::string>& argv);
// The folders that hold "checkpoints", "vae" and "loras".
[[nodiscard]] std::vector<std::string> output_folders_of_paths(std::string_view folder_paths);

}  // namespace plimsoll::service
