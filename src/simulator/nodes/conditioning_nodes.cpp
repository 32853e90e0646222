// SPDX-License-Identifier: Apache-2.0
//
// Nodes that make and combine conditions: text encoders, ControlNet.
#include "base/text.h"
#include "simulator/nodes/card_work.h"
#include "simulator/nodes/registry.h"

#include <algorithm>
#include <array>

namespace plimsoll::simulator {

namespace {

constexpr int kChunkTokens = 75;  // of text in one window of CLIP; two more mark begin and end
constexpr int kWindowTokens = 77;

// CLIP's byte pairs: about four characters a token, at least one a word and a sign. An estimate;
// the number of windows is all that counts.
int count_tokens(std::string_view text) {
    int tokens = 0;
    std::size_t word = 0;
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
        if (letter) {
            if (word++ % 6 == 0) ++tokens;
        } else {
            word = 0;
            if (c != ' ' && c != '\n' && c != '\t') ++tokens;
        }
    }
    return tokens;
}

NodeOutcome encode_text(NodeContext& context, const ClipValue& clip, const std::string& text) {
    PLIMSOLL_STEP(load_models(context, {.models = {clip.patcher}}));
    const Weights& weights = *clip.patcher.weights;
    const int windows = std::max(1, (count_tokens(text) + kChunkTokens - 1) / kChunkTokens);
    for (const std::string& network : clip.networks) {
        const auto activation = activation_of({.network = network,
                                               .phase = "encode",
                                               .element_bytes = 4,
                                               .extent = kWindowTokens,
                                               .batch = windows});
        if (!activation) return std::unexpected(activation.error());
        PLIMSOLL_STEP(
            run_network(context, {.device = weights.load_device,
                                  .activation = *activation,
                                  .pcie_bytes = weights.streamed_bytes() /
                                                static_cast<std::int64_t>(clip.networks.size()),
                                  .streamed_peak_bytes = weights.largest_streamed_bytes(),
                                  .workspace_share = kForwardWorkspace}));
    }
    return NodeResult{{Conditioning{{Condition{.text = text,
                                               .model = clip.name,
                                               .tokens = windows * kWindowTokens,
                                               .control = nullptr}}}},
                      std::nullopt};
}

NodeOutcome clip_text_encode(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(clip, ClipValue, "clip", "tokenize");
    return encode_text(context, clip, inputs.text("text"));
}

NodeOutcome clip_text_encode_sdxl(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(clip, ClipValue, "clip", "tokenize");
    const std::string general = inputs.text("text_g");
    const std::string local = inputs.text("text_l");
    return encode_text(context, clip, general == local ? general : general + " " + local);
}

NodeOutcome conditioning_combine(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(first, Conditioning, "conditioning_1", "append");
    PLIMSOLL_LINKED(second, Conditioning, "conditioning_2", "append");
    Conditioning both = first;
    both.all.insert(both.all.end(), second.all.begin(), second.all.end());
    return NodeResult{{std::move(both)}, std::nullopt};
}

NodeOutcome conditioning_concat(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(to, Conditioning, "conditioning_to", "append");
    PLIMSOLL_LINKED(from, Conditioning, "conditioning_from", "append");
    Conditioning joined = to;
    for (Condition& condition : joined.all) {
        if (from.all.empty()) break;
        condition.text += " " + from.all.front().text;
        condition.tokens += from.all.front().tokens;
    }
    return NodeResult{{std::move(joined)}, std::nullopt};
}

NodeOutcome conditioning_zero_out(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(conditioning, Conditioning, "conditioning", "append");
    Conditioning zero = conditioning;
    for (Condition& condition : zero.all) condition.text.clear();
    return NodeResult{{std::move(zero)}, std::nullopt};
}

NodeOutcome pass_conditioning(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(conditioning, Conditioning, "conditioning", "append");
    return NodeResult{{conditioning}, std::nullopt};
}

Conditioning with_control(const Conditioning& conditioning, const ControlNetValue& control) {
    Conditioning controlled = conditioning;
    const auto shared = std::make_shared<const ControlNetValue>(control);
    for (Condition& condition : controlled.all) condition.control = shared;
    return controlled;
}

NodeOutcome control_net_apply(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(conditioning, Conditioning, "conditioning", "append");
    PLIMSOLL_LINKED(control, ControlNetValue, "control_net", "copy");
    if (inputs.number("strength") == 0) return NodeResult{{conditioning}, std::nullopt};
    return NodeResult{{with_control(conditioning, control)}, std::nullopt};
}

NodeOutcome control_net_apply_advanced(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(positive, Conditioning, "positive", "append");
    PLIMSOLL_LINKED(negative, Conditioning, "negative", "append");
    PLIMSOLL_LINKED(control, ControlNetValue, "control_net", "copy");
    if (inputs.number("strength") == 0) return NodeResult{{positive, negative}, std::nullopt};
    // One control object for both: that is what lets them share a forward.
    Conditioning first = with_control(positive, control);
    Conditioning second = negative;
    for (Condition& condition : second.all)
        condition.control = first.all.empty() ? nullptr : first.all.front().control;
    return NodeResult{{std::move(first), std::move(second)}, std::nullopt};
}

constexpr std::array<NodeEntry, 9> kNodes{{
    {"CLIPTextEncode", clip_text_encode},
    {"CLIPTextEncodeSDXL", clip_text_encode_sdxl},
    {"ConditioningCombine", conditioning_combine},
    {"ConditioningConcat", conditioning_concat},
    {"ConditioningZeroOut", conditioning_zero_out},
    {"ConditioningSetTimestepRange", pass_conditioning},
    {"ConditioningSetArea", pass_conditioning},
    {"ControlNetApply", control_net_apply},
    {"ControlNetApplyAdvanced", control_net_apply_advanced},
}};

}  // namespace

std::span<const NodeEntry> conditioning_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
