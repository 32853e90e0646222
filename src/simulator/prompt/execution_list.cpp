// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/execution_list.h"

#include "simulator/prompt/validate.h"

#include <algorithm>
#include <utility>

namespace plimsoll::simulator {

ExecutionList::ExecutionList(const Dict& prompt, std::function<bool(const std::string&)> is_cached,
                             std::function<bool(const std::string&)> is_output)
    : prompt_(prompt), is_cached_(std::move(is_cached)), is_output_(std::move(is_output)) {}

const ExecutionList::Pending* ExecutionList::find(const std::string& id) const {
    const auto found = std::ranges::find(pending_, id, &Pending::id);
    return found == pending_.end() ? nullptr : &*found;
}

void ExecutionList::add(const std::string& output) {
    std::vector<std::string> stack{output};
    std::vector<std::pair<std::string, std::string>> links;
    while (!stack.empty()) {
        const std::string id = std::move(stack.back());
        stack.pop_back();
        if (find(id) != nullptr) continue;
        pending_.push_back({.id = id, .waits_for = {}, .feeds = {}});
        const Value* const node = prompt_.find(id);
        const Value* const inputs = node == nullptr ? nullptr : node->get("inputs");
        if (inputs == nullptr || inputs->as_dict() == nullptr) continue;
        for (const auto& [name, value] : *inputs->as_dict()) {
            if (!is_link(value)) continue;
            const std::string& source = *(*value.as_list())[0].as_str();
            if (is_cached_(source)) continue;
            stack.push_back(source);
            links.emplace_back(source, id);
        }
    }
    for (const auto& [from, to] : links) {
        const auto source = std::ranges::find(pending_, from, &Pending::id);
        const auto target = std::ranges::find(pending_, to, &Pending::id);
        if (source == pending_.end() || target == pending_.end()) continue;
        source->feeds.push_back(to);
        target->waits_for.insert(from);
    }
}

bool ExecutionList::feeds_output(const Pending& node) const {
    return std::ranges::any_of(node.feeds, is_output_);
}

std::optional<std::string> ExecutionList::pick() const {
    std::vector<const Pending*> ready;
    for (const Pending& node : pending_)
        if (node.waits_for.empty()) ready.push_back(&node);
    if (ready.empty()) return std::nullopt;
    for (const Pending* const node : ready)
        if (is_output_(node->id)) return node->id;
    for (const Pending* const node : ready)
        if (feeds_output(*node)) return node->id;
    for (const Pending* const node : ready)
        for (const std::string& next : node->feeds)
            if (const Pending* const fed = find(next); fed != nullptr && feeds_output(*fed))
                return node->id;
    return ready.front()->id;
}

void ExecutionList::complete(const std::string& id) {
    std::erase_if(pending_, [&](const Pending& node) { return node.id == id; });
    for (Pending& node : pending_) node.waits_for.erase(id);
}

}  // namespace plimsoll::simulator
