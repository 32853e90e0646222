// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/node_cache.h"

#include "simulator/prompt/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace plimsoll::simulator {

namespace {
constexpr int kDepthMax = 900;  // a chain of nodes so long cannot have been validated
}

void NodeCache::begin(const Dict& prompt, const IsChanged& is_changed) {
    signatures_.clear();
    for (const auto& [id, node] : prompt) signature_of(prompt, id, is_changed, 0);
    std::set<int> used;
    for (const auto& [id, signature] : signatures_) used.insert(signature);
    std::erase_if(entries_, [&](const auto& item) { return !used.contains(item.first); });
    std::erase_if(numbers_, [&](const auto& item) { return !used.contains(item.second); });
}

// NOLINTNEXTLINE(misc-no-recursion): at most kDepthMax deep
int NodeCache::signature_of(const Dict& prompt, const std::string& node_id,
                            const IsChanged& is_changed, int depth) {
    if (const auto known = signatures_.find(node_id); known != signatures_.end())
        return known->second;
    const Value* const node = prompt.find(node_id);
    const Value* const inputs = node == nullptr ? nullptr : node->get("inputs");
    std::string text = "?";
    if (inputs != nullptr && inputs->as_dict() != nullptr && depth < kDepthMax) {
        const std::string class_type = python_str(*node->get("class_type"));
        text = fmt::format("{}\n{}\n", class_type, is_changed(class_type, *inputs));
        std::map<std::string, std::string> sorted;
        for (const auto& [name, value] : *inputs->as_dict())
            sorted[name] = is_link(value)
                               ? fmt::format("#{} {}",
                                             signature_of(prompt, *(*value.as_list())[0].as_str(),
                                                          is_changed, depth + 1),
                                             python_repr((*value.as_list())[1]))
                               : python_repr(value);
        for (const auto& [name, value] : sorted) text += fmt::format("{}={}\n", name, value);
    }
    // Numbers are never reused while a signature is known; a new text gets the next free one.
    const auto known = numbers_.find(text);
    int number = 1;
    if (known != numbers_.end()) {
        number = known->second;
    } else {
        for (const auto& [other, used] : numbers_) number = std::max(number, used + 1);
        numbers_[text] = number;
    }
    signatures_[node_id] = number;
    return number;
}

const NodeCache::Entry* NodeCache::find(const std::string& node_id) const {
    const auto signature = signatures_.find(node_id);
    if (signature == signatures_.end()) return nullptr;
    const auto entry = entries_.find(signature->second);
    return entry == entries_.end() ? nullptr : &entry->second;
}

void NodeCache::put(const std::string& node_id, Entry entry) {
    if (const auto signature = signatures_.find(node_id); signature != signatures_.end())
        entries_[signature->second] = std::move(entry);
}

void NodeCache::clear() {
    entries_.clear();
}

}  // namespace plimsoll::simulator
