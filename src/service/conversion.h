// SPDX-License-Identifier: Apache-2.0
//
// A workflow in ComfyUI's UI format made into the API format, with what a server says about its
// nodes: from a file that holds its answer to GET /object_info, or from the running ComfyUI.
//
// Enters through: files, Upstream.   Leaves through: ApiWorkflow.   Threads: as Upstream.
#pragma once
#include "base/error.h"
#include "service/comfyui/upstream.h"
#include "workflow/convert/convert.h"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::service {

// Where object_info comes from: the file where one is named, else ComfyUI.
struct ObjectInfoSource {
    std::optional<std::filesystem::path> file;
    Upstream* comfyui = nullptr;  // nullptr: nobody can be asked
};

// Fails with InvalidInput when there is nobody to ask, or ComfyUI does not answer: the message says
// what to do.
[[nodiscard]] Result<workflow::ObjectInfo> read_object_info(const ObjectInfoSource& source);

// A workflow file, or the one inside a picture that ComfyUI saved; in a picture the API format is
// taken where it has both.
struct WorkflowText {
    std::string text;
    bool is_ui_format = false;
};
[[nodiscard]] Result<WorkflowText> read_workflow_file(const std::filesystem::path& path);

// What `plimsoll convert` does. A picture is asked for its UI format first. InvalidInput for a file
// that is in API format already.
[[nodiscard]] Result<workflow::ApiWorkflow> convert_file(const std::filesystem::path& path,
                                                         const ObjectInfoSource& object_info,
                                                         const workflow::ConvertOptions& options);

}  // namespace plimsoll::service
