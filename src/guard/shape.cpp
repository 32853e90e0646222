// SPDX-License-Identifier: Apache-2.0
#include "guard/shape.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <variant>

namespace plimsoll::guard {

namespace {

// FNV-1a, 64 bits: the constants are the algorithm's.
class Digest {
  public:
    void add(std::string_view text) {
        for (const char c : text) add_byte(static_cast<unsigned char>(c));
        add_byte(0);  // keeps "ab" + "c" from "a" + "bc"
    }
    [[nodiscard]] std::string text() const { return fmt::format("{:016x}", state_); }

  private:
    void add_byte(unsigned char byte) {
        constexpr std::uint64_t kPrime = 0x100000001b3;
        state_ = (state_ ^ byte) * kPrime;
    }
    std::uint64_t state_ = 0xcbf29ce484222325;
};

// Values that change the picture and not the memory.
bool is_free_of_memory(const workflow::Input& input) {
    constexpr std::array<std::string_view, 4> kNames{"seed", "noise_seed", "filename_prefix",
                                                     "control_after_generate"};
    if (std::ranges::find(kNames, input.name) != kNames.end()) return true;
    const auto* const text = std::get_if<std::string>(&input.value);
    if (text == nullptr) return false;
    return input.name.starts_with("text") || input.name.ends_with("prompt") ||
           input.name.ends_with("text");
}

bool is_model_file(std::string_view name) {
    constexpr std::array<std::string_view, 7> kEnds{".safetensors", ".ckpt", ".gguf", ".pt",
                                                    ".pth",         ".sft",  ".bin"};
    const std::string lower = to_lower_ascii(name);
    return std::ranges::any_of(kEnds, [&](std::string_view end) { return lower.ends_with(end); });
}

void add_value(Digest& digest, const workflow::Input& input) {
    if (const auto* const link = std::get_if<workflow::Link>(&input.value)) {
        digest.add(link->node_id);
        digest.add(fmt::format("link {}", link->slot));
    } else if (const auto* const number = std::get_if<workflow::Number>(&input.value)) {
        // 7 and 7.0 are the same to ComfyUI.
        const auto value = number->as_double();
        digest.add(value ? fmt::format("{}", *value) : number->text);
    } else if (const auto* const text = std::get_if<std::string>(&input.value)) {
        digest.add(*text);
    } else if (const auto* const flag = std::get_if<bool>(&input.value)) {
        digest.add(*flag ? "true" : "false");
    } else {
        digest.add("raw");
    }
}

}  // namespace

std::string shape_of(const workflow::Graph& graph) {
    std::vector<const workflow::Node*> nodes;
    nodes.reserve(graph.nodes.size());
    for (const workflow::Node& node : graph.nodes) nodes.push_back(&node);
    std::ranges::sort(nodes, {}, [](const workflow::Node* node) { return node->id; });
    Digest digest;
    for (const workflow::Node* const node : nodes) {
        digest.add(node->id);
        digest.add(node->class_type);
        std::vector<const workflow::Input*> inputs;
        for (const workflow::Input& input : node->inputs)
            if (!is_free_of_memory(input)) inputs.push_back(&input);
        std::ranges::sort(inputs, {}, [](const workflow::Input* input) { return input->name; });
        for (const workflow::Input* const input : inputs) {
            digest.add(input->name);
            add_value(digest, *input);
        }
    }
    return digest.text();
}

std::string models_of(const workflow::Graph& graph) {
    std::vector<std::string> files;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs) {
            if (input.name.contains("lora") || input.name.contains("vae")) continue;
            const auto* const text = std::get_if<std::string>(&input.value);
            if (text != nullptr && is_model_file(*text)) files.push_back(*text);
        }
    std::ranges::sort(files);
    const auto same = std::ranges::unique(files);
    files.erase(same.begin(), same.end());
    std::string joined;
    for (const std::string& file : files) joined += (joined.empty() ? "" : " + ") + file;
    return joined;
}

std::vector<std::string> sinks_of(const workflow::Graph& graph) {
    std::set<std::string_view> read;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs)
            if (const auto* const link = std::get_if<workflow::Link>(&input.value))
                read.insert(link->node_id);
    std::vector<std::string> sinks;
    for (const workflow::Node& node : graph.nodes)
        if (!read.contains(node.id)) sinks.push_back(node.id);
    return sinks;
}

std::string digest_of(std::string_view bytes) {
    Digest digest;
    digest.add(bytes);
    return digest.text();
}

}  // namespace plimsoll::guard
