// SPDX-License-Identifier: Apache-2.0
#include "service/conversion.h"

#include "base/byte_source.h"
#include "workflow/gzip.h"
#include "workflow/parse.h"
#include "workflow/png_text.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <utility>

namespace plimsoll::service {

namespace {

// The bytes of a PNG begin with its signature, whatever its name.
bool is_png(ByteSource& source) {
    constexpr std::array<std::byte, 4> kPng{std::byte{0x89}, std::byte{'P'}, std::byte{'N'},
                                            std::byte{'G'}};
    std::array<std::byte, 4> head{};
    return source.size_bytes() >= head.size() && source.read_at(0, head) && head == kPng;
}

// A text file, as it is or compressed by gzip.
Result<std::string> read_maybe_gzip(const std::filesystem::path& path, std::size_t bytes_max) {
    TRY_ASSIGN(std::string text, read_text_file(path, bytes_max));
    if (!workflow::is_gzip(text)) return text;
    auto inflated = workflow::inflate_gzip(text, bytes_max);
    if (!inflated) return fail_at(path.string(), std::move(inflated).error());
    return inflated;
}

enum class Prefer : std::uint8_t { Api, Ui };

Result<WorkflowText> read_file(const std::filesystem::path& path, Prefer prefer) {
    TRY_ASSIGN(const auto source, open_file(path));
    WorkflowText workflow;
    if (!is_png(*source)) {
        TRY_ASSIGN(workflow.text, read_maybe_gzip(path, workflow::kWorkflowBytesMax));
        workflow.is_ui_format = workflow::is_ui_workflow(workflow.text);
        return workflow;
    }
    auto embedded = workflow::read_png_workflow(*source);
    if (!embedded) return fail_at(path.string(), embedded.error());
    workflow.is_ui_format =
        embedded->workflow && (prefer == Prefer::Ui || !embedded->prompt.has_value());
    auto& text = workflow.is_ui_format ? embedded->workflow : embedded->prompt;
    if (!text) return fail(Errc::NotFound, fmt::format("{}: holds no workflow", path.string()));
    workflow.text = std::move(*text);
    return workflow;
}

}  // namespace

Result<workflow::ObjectInfo> read_object_info(const ObjectInfoSource& source) {
    if (source.file) {
        TRY_ASSIGN(const std::string text,
                   read_maybe_gzip(*source.file, workflow::kObjectInfoBytesMax));
        auto info = workflow::ObjectInfo::parse(text);
        if (!info) return fail_at(source.file->string(), std::move(info).error());
        return info;
    }
    constexpr std::string_view kWayOut =
        "a workflow in ComfyUI's UI format needs what a server says about its nodes: start "
        "ComfyUI, or give its answer to GET /object_info as --object-info FILE, or export the "
        "workflow in "
        "API format (in ComfyUI: Workflow, Export (API))";
    if (source.comfyui == nullptr) return fail(Errc::InvalidInput, std::string(kWayOut));
    const auto text = source.comfyui->read_object_info();
    if (!text)
        return fail(Errc::InvalidInput, fmt::format("{}; {}", kWayOut, text.error().message));
    auto info = workflow::ObjectInfo::parse(*text);
    if (!info) return fail_at(source.comfyui->address(), std::move(info).error());
    return info;
}

Result<WorkflowText> read_workflow_file(const std::filesystem::path& path) {
    return read_file(path, Prefer::Api);
}

Result<workflow::ApiWorkflow> convert_file(const std::filesystem::path& path,
                                           const ObjectInfoSource& object_info,
                                           const workflow::ConvertOptions& options) {
    TRY_ASSIGN(const WorkflowText workflow, read_file(path, Prefer::Ui));
    if (!workflow.is_ui_format) {
        const auto graph = workflow::parse_api_workflow(workflow.text);
        if (!graph) return fail_at(path.string(), graph.error());
        return fail(Errc::InvalidInput, fmt::format("{}: is in API format already", path.string()));
    }
    TRY_ASSIGN(const workflow::ObjectInfo info, read_object_info(object_info));
    auto converted = workflow::convert_workflow(workflow.text, info, options);
    if (!converted) return fail_at(path.string(), std::move(converted).error());
    return converted;
}

}  // namespace plimsoll::service
