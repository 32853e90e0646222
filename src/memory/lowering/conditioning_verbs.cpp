// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/text_rules.h"
#include "memory/lowering/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

constexpr int kTokensMax = 1 << 20;           // chosen: far above any text
constexpr std::size_t kConditionsMax = 1024;  // chosen: no graph draws as many

Values encode_text(NodeScope& scope) {
    const auto* clip = scope.get<ModelValue>("clip");
    if (clip == nullptr) return {scope.unknown_step()};
    PromptLength longest;
    for (const std::string& input : scope.kind().texts) {
        const auto prompt = scope.text(input);
        if (!prompt) scope.note(fmt::format("{} is made by a node: taken as short", input));
        const PromptLength length = estimate_prompt_length(prompt.value_or(""));
        longest.tokens = std::max(longest.tokens, length.tokens);
        longest.chunks = std::max(longest.chunks, length.chunks);
        longest.weighted = longest.weighted || length.weighted;
    }
    const ProgramModel& model = scope.program().models[static_cast<std::size_t>(clip->use.model)];
    std::vector<std::string> encoders;
    for (const auto& file : model.built)
        if (file)
            for (const BuiltTextEncoder& encoder : file->text_encoders)
                encoders.push_back(encoder.name);
    PromptUse use = use_prompt(encoders, model.purpose, longest);
    scope.step(TextEncodeStep{.text_encoder = clip->use, .runs = std::move(use.runs)});
    ConditionUse condition;
    condition.tokens = use.tokens;
    return {{ConditioningValue{{std::move(condition)}}}};
}

// Both run in every step.
Values combine(NodeScope& scope) {
    const auto* first = scope.get<ConditioningValue>("conditioning_1");
    const auto* second = scope.get<ConditioningValue>("conditioning_2");
    if (first == nullptr || second == nullptr) return {scope.nothing()};
    ConditioningValue both = *first;
    for (const ConditionUse& condition : second->conditions)
        if (both.conditions.size() < kConditionsMax) both.conditions.push_back(condition);
    return {{std::move(both)}};
}

// One longer text.
Values concat(NodeScope& scope) {
    const auto* to = scope.get<ConditioningValue>("conditioning_to");
    const auto* from = scope.get<ConditioningValue>("conditioning_from");
    if (to == nullptr || from == nullptr) return {scope.nothing()};
    ConditioningValue longer = *to;
    if (!from->conditions.empty())
        for (ConditionUse& condition : longer.conditions)
            condition.tokens =
                std::min(kTokensMax, condition.tokens + from->conditions.front().tokens);
    return {{std::move(longer)}};
}

Values apply_controlnet(NodeScope& scope) {
    const auto* control = scope.get<ModelValue>("control_net");
    const bool applies = scope.number("strength") != 0.0;
    Values values;
    for (const std::string& input : scope.kind().outputs) {
        const auto* conditioning = scope.get<ConditioningValue>(input);
        if (conditioning == nullptr || control == nullptr) {
            values.push_back(scope.nothing());
            continue;
        }
        ConditioningValue with = *conditioning;
        for (ConditionUse& condition : with.conditions) {
            if (!applies) break;
            condition.controlnets.push_back(control->use.model);
            condition.control_id = hash_number(scope.signature(), condition.control_id);
        }
        values.push_back({std::move(with)});
    }
    return values;
}

// The pixels become a part of the conditioning, and a latent of their size comes out last.
Values encode_conditioning(NodeScope& scope) {
    Values values = handed_through(scope);
    const auto* vae = scope.get<ModelValue>("vae");
    const auto* pixels = scope.get<ImageShape>("pixels");
    if (vae == nullptr || pixels == nullptr) {
        values.back() = scope.unknown_step();
        return values;
    }
    VaeStep step;
    step.vae = vae->use;
    step.direction = VaeDirection::Encode;
    step.image = *pixels;
    values.back() = {latent_of(*pixels, grid_of(scope, *vae))};
    scope.step(step);
    return values;
}

}  // namespace

Values lower_conditioning_verb(NodeScope& scope) {
    switch (scope.kind().verb) {
        case NodeVerb::EncodeText:
            return encode_text(scope);
        case NodeVerb::CombineConditioning:
            return combine(scope);
        case NodeVerb::ConcatConditioning:
            return concat(scope);
        case NodeVerb::ApplyControlNet:
            return apply_controlnet(scope);
        default:
            return encode_conditioning(scope);
    }
}

}  // namespace plimsoll::memory
