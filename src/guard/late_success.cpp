// SPDX-License-Identifier: Apache-2.0
#include "guard/late_success.h"

#include "gateway/comfyui_text.h"
#include "guard/body_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace plimsoll::guard {

namespace {

using gateway::quote_json;

std::string times(const LateSuccess& success) {
    return fmt::format(R"({{"prompt_id": {}, "timestamp": {}}})", quote_json(success.prompt_id),
                       success.at_ms);
}

std::string output_of(const std::vector<service::ImageRef>& images) {
    std::vector<std::string> items;
    items.reserve(images.size());
    for (const service::ImageRef& image : images)
        items.push_back(fmt::format(R"({{"filename": {}, "subfolder": {}, "type": {}}})",
                                    quote_json(image.filename), quote_json(image.subfolder),
                                    quote_json(image.type)));
    return fmt::format(R"({{"images": [{}]}})", fmt::join(items, ", "));
}

}  // namespace

std::vector<std::string> success_messages(const LateSuccess& success) {
    const std::string id = quote_json(success.prompt_id);
    std::vector<std::string> texts{
        fmt::format(R"({{"type": "execution_start", "data": {}}})", times(success))};
    for (const auto& [node, images] : success.outputs)
        texts.push_back(fmt::format(
            R"({{"type": "executed", "data": {{"node": {}, "display_node": {}, "output": {}, )"
            R"("prompt_id": {}}}}})",
            quote_json(node), quote_json(node), output_of(images), id));
    texts.push_back(fmt::format(R"({{"type": "execution_success", "data": {}}})", times(success)));
    texts.push_back(
        fmt::format(R"({{"type": "executing", "data": {{"node": null, "prompt_id": {}}}}})", id));
    return texts;
}

std::string history_item(const LateSuccess& success, const HeldEntry& entry) {
    std::vector<std::string> outputs;
    std::vector<std::string> meta;
    for (const auto& [node, images] : success.outputs) {
        const std::string id = quote_json(node);
        outputs.push_back(fmt::format("{}: {}", id, output_of(images)));
        meta.push_back(fmt::format(R"({}: {{"node_id": {}, "display_node": {}, )"
                                   R"("parent_node": null, "real_node_id": {}}})",
                                   id, id, id, id));
    }
    return fmt::format(
        R"({{"prompt": {}, "outputs": {{{}}}, "status": {{"status_str": "success", )"
        R"("completed": true, "messages": [["execution_start", {}], ["execution_success", {}]]}}, )"
        R"("meta": {{{}}}}})",
        queue_item(entry), fmt::join(outputs, ", "), times(success), times(success),
        fmt::join(meta, ", "));
}

}  // namespace plimsoll::guard
