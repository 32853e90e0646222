// SPDX-License-Identifier: Apache-2.0
//
// The lists of a run as the JSON text that the history file keeps. Only SqliteStore includes this.
#pragma once
#include "base/error.h"
#include "history/run.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::history {

[[nodiscard]] std::string phases_to_text(const std::vector<PhaseRecord>& phases);
[[nodiscard]] std::string changes_to_text(const std::vector<ChangeRecord>& changes);
[[nodiscard]] std::string images_to_text(const std::vector<std::string>& images);

// Corrupt when the text is not what the functions above write.
[[nodiscard]] Result<std::vector<PhaseRecord>> parse_phases(std::string_view text);
[[nodiscard]] Result<std::vector<ChangeRecord>> parse_changes(std::string_view text);
[[nodiscard]] Result<std::vector<std::string>> parse_images(std::string_view text);

}  // namespace plimsoll::history
