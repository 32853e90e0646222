// SPDX-License-Identifier: Apache-2.0
//
// The workflow that ComfyUI writes into its PNGs: text chunks `prompt` (API format) and `workflow`
// (UI format). Only chunk headers and text are read, pixels are skipped. Input is untrusted.
//
// Enters through: ByteSource.   Leaves through: EmbeddedWorkflow.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"

#include <optional>
#include <string>

namespace plimsoll::workflow {

struct EmbeddedWorkflow {
    std::optional<std::string> prompt;    // API format, for parse_api_workflow
    std::optional<std::string> workflow;  // UI format
};

// tEXt, zTXt and iTXt. Fails with Corrupt (no PNG, broken chunk, wrong checksum), NotFound when
// neither text is there, LimitExceeded. Of two texts with the same key the last counts, as for
// Pillow, which ComfyUI reads with.
[[nodiscard]] Result<EmbeddedWorkflow> read_png_workflow(ByteSource& source);

}  // namespace plimsoll::workflow
