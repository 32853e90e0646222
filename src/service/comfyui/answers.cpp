// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/answers.h"

#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::size_t kImagesMax = 4096;        // chosen: ComfyUI's own batch limit
constexpr std::size_t kReasonsMax = 8;          // chosen: a screenful
constexpr std::size_t kMessageBytesMax = 2000;  // chosen: exception texts can hold tensors

std::string text_of(const json::value& object, std::string_view key) {
    return std::string(find_string(object, key).value_or(""));
}

Bytes bytes_of(const json::value& object, std::string_view key) {
    return Bytes(find_int(object, key).value_or(0));
}

std::string first_line(std::string_view text) {
    const std::string_view line = trim(text.substr(0, text.find('\n')));
    return std::string(line.substr(0, kMessageBytesMax));
}

}  // namespace

bool is_out_of_memory(std::string_view exception_type, std::string_view message) {
    if (exception_type.ends_with("OutOfMemoryError") || exception_type == "MemoryError")
        return true;
    const std::string lower = to_lower_ascii(message);
    constexpr std::array<std::string_view, 5> kSigns{"ran out of memory on your gpu",
                                                     "out of memory", "allocation on device",
                                                     "not enough memory", "_alloc_failed"};
    return std::ranges::any_of(
        kSigns, [&](std::string_view sign) { return lower.find(sign) != std::string::npos; });
}

bool NodeError::out_of_memory() const {
    return is_out_of_memory(exception_type, message);
}

Result<json::value> parse_answer(std::string_view body, std::string_view what) {
    const std::string_view start = trim(body.substr(0, std::min<std::size_t>(body.size(), 256)));
    if (start.empty()) return fail(Errc::Unavailable, say<"error.empty_answer">(what));
    if (start.starts_with('<')) return fail(Errc::Unavailable, say<"error.web_page">(what));
    auto value = parse_python_json(body);
    if (!value) return fail_at(what, std::move(value).error());
    return value;
}

Result<ServerStats> parse_system_stats(std::string_view body) {
    TRY_ASSIGN(const json::value answer, parse_answer(body, "/system_stats"));
    const json::value* const system = find(answer, "system");
    const json::value* const devices = find(answer, "devices");
    if (system == nullptr || !system->is_object() || devices == nullptr || !devices->is_array())
        return fail(Errc::Unavailable,
                    "/system_stats: the answer has no system and devices: this address answers "
                    "JSON, but is no ComfyUI");
    ServerStats stats{.comfyui_version = text_of(*system, "comfyui_version"),
                      .pytorch_version = text_of(*system, "pytorch_version"),
                      .python_version = text_of(*system, "python_version"),
                      .os = text_of(*system, "os"),
                      .ram_total = bytes_of(*system, "ram_total"),
                      .ram_free = bytes_of(*system, "ram_free"),
                      .argv = {},
                      .devices = {}};
    if (const json::value* const argv = find(*system, "argv"); argv != nullptr && argv->is_array())
        for (const json::value& one : argv->as_array())
            if (one.is_string()) stats.argv.emplace_back(one.as_string());
    for (const json::value& one : devices->as_array())
        stats.devices.push_back({.name = text_of(one, "name"),
                                 .type = text_of(one, "type"),
                                 .vram_total = bytes_of(one, "vram_total"),
                                 .vram_free = bytes_of(one, "vram_free"),
                                 .torch_total = bytes_of(one, "torch_vram_total"),
                                 .torch_free = bytes_of(one, "torch_vram_free")});
    return stats;
}

Result<std::vector<std::string>> parse_names(std::string_view body, std::string_view what) {
    TRY_ASSIGN(const json::value answer, parse_answer(body, what));
    if (!answer.is_array())
        return fail(Errc::Unavailable, fmt::format("{}: the answer is not a list of names", what));
    std::vector<std::string> names;
    for (const json::value& one : answer.as_array())
        if (one.is_string()) names.emplace_back(one.as_string());
    return names;
}

Result<std::vector<std::string>> parse_choices(std::string_view body, std::string_view class_type,
                                               std::string_view input) {
    TRY_ASSIGN(const json::value answer, parse_answer(body, "/object_info"));
    std::vector<std::string> choices;
    const json::value* const node = find(answer, class_type);
    const json::value* const inputs = node == nullptr ? nullptr : find(*node, "input");
    if (inputs == nullptr)
        return fail(Errc::NotFound, fmt::format("this ComfyUI has no node {}", class_type));
    for (const std::string_view group : {"required", "optional"}) {
        const json::value* const members = find(*inputs, group);
        const json::value* const spec = members == nullptr ? nullptr : find(*members, input);
        if (spec == nullptr || !spec->is_array() || spec->as_array().empty()) continue;
        const json::array& parts = spec->as_array();
        // [["a", "b"], {...}] of old nodes, ["COMBO", {"options": ["a", "b"]}] of new ones.
        const json::value* const list = parts[0].is_array() ? &parts[0]
                                        : parts.size() > 1  ? find(parts[1], "options")
                                                            : nullptr;
        if (list == nullptr || !list->is_array()) continue;
        for (const json::value& one : list->as_array())
            if (one.is_string()) choices.emplace_back(one.as_string());
    }
    return choices;
}

void collect_images(const json::value& output, std::vector<ImageRef>& into) {
    const json::value* const images = find(output, "images");
    if (images == nullptr || !images->is_array()) return;
    for (const json::value& one : images->as_array()) {
        ImageRef image{text_of(one, "filename"), text_of(one, "subfolder"), text_of(one, "type")};
        const bool known = std::ranges::find(into, image) != into.end();
        if (!image.filename.empty() && !known && into.size() < kImagesMax)
            into.push_back(std::move(image));
    }
}

NodeError node_error_of(const json::value& data) {
    return {.node_id = text_of(data, "node_id"),
            .node_type = text_of(data, "node_type"),
            .message = first_line(find_string(data, "exception_message").value_or("")),
            .exception_type = text_of(data, "exception_type")};
}

Result<JobRecord> parse_history(std::string_view body, std::string_view prompt_id) {
    TRY_ASSIGN(const json::value answer, parse_answer(body, "/history"));
    JobRecord record;
    const json::value* const entry = find(answer, prompt_id);
    if (entry == nullptr) return record;
    if (const json::value* const outputs = find(*entry, "outputs");
        outputs != nullptr && outputs->is_object())
        for (const auto& [node, output] : outputs->as_object())
            collect_images(output, record.images);
    const json::value* const status = find(*entry, "status");
    const bool failed = status != nullptr && find_string(*status, "status_str") == "error";
    record.state = failed ? JobState::Failed : JobState::Succeeded;
    const json::value* const messages = status == nullptr ? nullptr : find(*status, "messages");
    if (messages == nullptr || !messages->is_array()) return record;
    for (const json::value& message : messages->as_array()) {
        if (!message.is_array() || message.as_array().size() < 2 ||
            !message.as_array()[0].is_string())
            continue;
        const std::string_view type = message.as_array()[0].as_string();
        if (type == "execution_interrupted") record.state = JobState::Interrupted;
        // A cycle found while running is an error although status_str says success.
        if (type == "execution_error") {
            record.state = JobState::Failed;
            record.error = node_error_of(message.as_array()[1]);
        }
    }
    return record;
}

Result<JobState> parse_queue(std::string_view body, std::string_view prompt_id) {
    TRY_ASSIGN(const json::value answer, parse_answer(body, "/queue"));
    for (const auto& [list, state] : {std::pair("queue_running", JobState::Running),
                                      std::pair("queue_pending", JobState::Pending)}) {
        const json::value* const items = find(answer, list);
        if (items == nullptr || !items->is_array())
            return fail(Errc::Unavailable,
                        "/queue: the answer has no queue_running and queue_pending");
        for (const json::value& item : items->as_array())
            if (item.is_array() && item.as_array().size() > 1 && item.as_array()[1].is_string() &&
                std::string_view(item.as_array()[1].as_string()) == prompt_id)
                return state;
    }
    return JobState::Unknown;
}

Error parse_refusal(int status, std::string_view body) {
    const auto answer = parse_answer(body, fmt::format("POST /prompt answered {}", status));
    if (!answer)
        return {status >= 500 ? Errc::Unavailable : answer.error().code, answer.error().message};
    std::vector<std::string> reasons;
    if (const json::value* const nodes = find(*answer, "node_errors");
        nodes != nullptr && nodes->is_object())
        for (const auto& [id, node] : nodes->as_object()) {
            const json::value* const errors = find(node, "errors");
            if (errors == nullptr || !errors->is_array()) continue;
            for (const json::value& one : errors->as_array())
                if (reasons.size() < kReasonsMax)
                    reasons.push_back(
                        fmt::format("node {} ({}): {}: {}", std::string_view(id),
                                    text_of(node, "class_type"), text_of(one, "message"),
                                    first_line(find_string(one, "details").value_or(""))));
        }
    std::string why;
    if (const json::value* const error = find(*answer, "error"); error != nullptr) {
        if (error->is_string()) why = error->as_string();
        if (error->is_object())
            why = text_of(*error, "message") +
                  (reasons.empty() ? ": " + first_line(find_string(*error, "details").value_or(""))
                                   : "");
    }
    return {status >= 500 ? Errc::Unavailable : Errc::InvalidInput,
            fmt::format("ComfyUI refused the workflow ({}): {}{}{}", status,
                        why.empty() ? "no reason given" : why, reasons.empty() ? "" : "; ",
                        fmt::join(reasons, "; "))};
}

}  // namespace plimsoll::service
