// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's UI format into its API format: what the front end would send to POST /prompt for a
// workflow that a user saved, given what the server says about its nodes (GET /object_info).
//
// Enters through: bytes, ObjectInfo.   Leaves through: bytes.   Threads: pure.
#pragma once
#include "base/error.h"
#include "workflow/convert/front_end.h"
#include "workflow/convert/object_info.h"
#include "workflow/convert/sent_text.h"
#include "workflow/convert/ui_workflow.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::workflow {

struct ConvertOptions {
    std::optional<FrontEnd> front_end;  // nullopt: the one of the server that object_info is from
    std::optional<LocalTime> now;       // for %date:...% in file names; without it the field stays
};

struct ApiWorkflow {
    std::string text;  // API format, indented, ends with a newline
    std::size_t nodes = 0;
    std::vector<std::string> warnings;  // nodes that object_info does not know
};

// Fails with Corrupt (not JSON), InvalidInput (no UI format, a subgraph that contains itself,
// nothing that could run), LimitExceeded. Dangling links, circles of reroutes and values of a wrong
// type are taken as the front end takes them: as nothing, or as they are.
[[nodiscard]] Result<ApiWorkflow> convert_workflow(std::string_view ui_workflow,
                                                   const ObjectInfo& object_info,
                                                   const ConvertOptions& options = {});

}  // namespace plimsoll::workflow
