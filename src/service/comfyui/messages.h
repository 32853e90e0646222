// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's WebSocket messages as values. Messages of other prompts, unknown types and broken texts
// become Ignored: custom nodes send what they like. Input is untrusted.
//
// Enters through: bytes.   Leaves through: Message.   Threads: no shared state.
#pragma once
#include "service/comfyui/answers.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::service {

struct Ignored {};
struct QueueRemaining {
    std::int64_t count = 0;
};
struct Started {};
struct Cached {
    std::vector<std::string> nodes;
};
struct NodeStarted {
    std::string node_id;
};
struct NodeProgress {
    std::string node_id;
    double value = 0;
    double max = 0;
};
struct NodeOutput {
    std::string node_id;
    std::vector<ImageRef> images;
};
struct Preview {
    std::size_t bytes = 0;              // of the whole message
    std::string image = std::string();  // JPEG or PNG; empty where it is above kPreviewBytesMax
};
inline constexpr std::size_t kPreviewBytesMax = 4U << 20U;  // chosen: a preview has 512 pixels
struct Succeeded {};  // not the end yet: /history is written after it
struct Failed {
    NodeError error;
};
struct WasInterrupted {};
struct Ended {};  // the worker is done with the prompt: /history has it
using Message = std::variant<Ignored, QueueRemaining, Started, Cached, NodeStarted, NodeProgress,
                             NodeOutput, Preview, Succeeded, Failed, WasInterrupted, Ended>;

[[nodiscard]] Message parse_message(std::string_view text, std::string_view prompt_id);
// The first four bytes say what it is.
[[nodiscard]] Message parse_binary_message(std::span<const std::byte> bytes);

}  // namespace plimsoll::service
