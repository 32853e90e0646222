// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/messages.h"

#include <utility>

namespace plimsoll::service {

namespace {

// The running node of a cumulative progress_state, the only progress that some nodes send.
Message progress_of_state(const json::value& data) {
    const json::value* const nodes = find(data, "nodes");
    if (nodes == nullptr || !nodes->is_object()) return Ignored{};
    for (const auto& [id, node] : nodes->as_object())
        if (find_string(node, "state") == "running")
            return NodeProgress{std::string(id), find_number(node, "value").value_or(0),
                                find_number(node, "max").value_or(0)};
    return Ignored{};
}

Message executing_of(const json::value& data) {
    const json::value* const node = find(data, "node");
    if (node == nullptr) return Ignored{};
    if (node->is_null()) return Ended{};
    if (!node->is_string()) return Ignored{};
    return NodeStarted{std::string(std::string_view(node->as_string()))};
}

Message cached_of(const json::value& data) {
    Cached cached;
    if (const json::value* const nodes = find(data, "nodes"); nodes != nullptr && nodes->is_array())
        for (const json::value& one : nodes->as_array())
            if (one.is_string()) cached.nodes.emplace_back(one.as_string());
    return cached;
}

}  // namespace

Message parse_message(std::string_view text, std::string_view prompt_id) {
    const auto message = parse_json(text);
    if (!message) return Ignored{};
    const auto type = find_string(*message, "type");
    const json::value* const data = find(*message, "data");
    if (!type || data == nullptr || !data->is_object()) return Ignored{};
    if (*type == "status") {
        const json::value* const status = find(*data, "status");
        const json::value* const exec = status == nullptr ? nullptr : find(*status, "exec_info");
        const auto count = exec == nullptr ? std::nullopt : find_int(*exec, "queue_remaining");
        if (!count) return Ignored{};
        return QueueRemaining{*count};
    }
    // Everything else is about a prompt. One without an id is the greeting to a socket that came
    // back while its prompt runs, or a custom node's own message: neither can end the job.
    if (find_string(*data, "prompt_id") != prompt_id) return Ignored{};
    if (*type == "execution_start") return Started{};
    if (*type == "execution_cached") return cached_of(*data);
    if (*type == "executing") return executing_of(*data);
    if (*type == "progress") {
        const auto node = find_string(*data, "node");
        return NodeProgress{std::string(node.value_or("")), find_number(*data, "value").value_or(0),
                            find_number(*data, "max").value_or(0)};
    }
    if (*type == "progress_state") return progress_of_state(*data);
    if (*type == "executed") {
        NodeOutput output{std::string(find_string(*data, "node").value_or("")), {}};
        if (const json::value* const images = find(*data, "output"))
            collect_images(*images, output.images);
        return output;
    }
    if (*type == "execution_success") return Succeeded{};
    if (*type == "execution_error") return Failed{node_error_of(*data)};
    if (*type == "execution_interrupted") return WasInterrupted{};
    return Ignored{};
}

Message parse_binary_message(std::span<const std::byte> bytes) {
    if (bytes.size() < 8) return Ignored{};
    const auto number_at = [&](std::size_t at) {
        std::uint32_t number = 0;
        for (std::size_t i = 0; i < 4; ++i)
            number = number << 8U | std::to_integer<std::uint32_t>(bytes[at + i]);
        return number;
    };
    const std::uint32_t event = number_at(0);
    // 1 PREVIEW_IMAGE, 4 PREVIEW_IMAGE_WITH_METADATA; 3 is text, others belong to custom nodes.
    if (event != 1 && event != 4) return Ignored{};
    // Then the image's kind (1), or the length of a JSON text and that text (4).
    const std::uint64_t begin = event == 1 ? 8 : std::uint64_t{8} + number_at(4);
    Preview preview{bytes.size()};
    if (begin <= bytes.size() && bytes.size() - begin <= kPreviewBytesMax) {
        const auto image = bytes.subspan(static_cast<std::size_t>(begin));
        preview.image.assign(reinterpret_cast<const char*>(image.data()), image.size());
    }
    return preview;
}

}  // namespace plimsoll::service
