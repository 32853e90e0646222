// SPDX-License-Identifier: Apache-2.0
#include "base/say.h"
#include "memory/lowering/text_rules.h"
#include "memory/lowering/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

constexpr int kTokensMax = 1 << 20;         // chosen: far above any text
constexpr std::size_t kConditionsMax = 64;  // chosen: no graph draws as many

PromptLength longest_prompt(NodeScope& scope) {
    PromptLength longest;
    for (const std::string& input : scope.kind().texts) {
        const auto prompt = scope.text(input);
        if (!prompt && scope.node().find(input) != nullptr)
            scope.note(say<"taken.short_text">(input));
        const PromptLength length = estimate_prompt_length(prompt.value_or(""));
        longest.tokens = std::max(longest.tokens, length.tokens);
        longest.chunks = std::max(longest.chunks, length.chunks);
        longest.weighted = longest.weighted || length.weighted;
    }
    return longest;
}

// Images beside the text of a language model that sees: a few hundred tokens each.
int image_tokens(NodeScope& scope) {
    if (scope.kind().image_tokens == 0) return 0;
    int images = 0;
    for (const workflow::EncodeRule& rule : scope.kind().encodes)
        for (const std::string_view input : scope.inputs_of(rule.pixels))
            if (scope.is_linked(input)) ++images;
    if (images > 0) scope.note(say<"taken.images_beside">(images));
    return std::min(images * scope.kind().image_tokens, kTokensMax);
}

// About: lyrics have a vocabulary of their own, and the networks that sing take this many at most.
int lyric_tokens(const NodeScope& scope) {
    constexpr int kLyricsMax = 5000;
    if (scope.kind().lyrics.empty()) return 0;
    const auto lyrics = scope.text(scope.kind().lyrics);
    return std::clamp(estimate_prompt_length(lyrics.value_or("")).tokens, 1, kLyricsMax);
}

// Codes of sound that a language model writes after the prompt and the lyrics, guided by a negative
// prompt. False (and why) where their number is not known.
bool write_behind(NodeScope& scope, const ModelUse& text_encoder, int prompt_tokens,
                  ConditionUse& condition) {
    constexpr int kTemplateTokens = 80;   // about: its instruction and what the song is like
    constexpr int kWrittenMax = 1 << 16;  // chosen: far above any song
    const auto written = scope.evaluate_count(scope.kind().written, 0, kWrittenMax);
    if (!written) return false;
    if (*written == 0) return true;
    // Of models that do nothing else, what they thought of each moment is the condition.
    if (scope.kind().written_is_condition) condition.tokens = *written;
    scope.step(
        TextGenerateStep{.text_encoder = text_encoder,
                         .prompts = scope.number("cfg_scale").value_or(2.0) == 1.0 ? 1 : 2,
                         .prompt_tokens = std::min(prompt_tokens + kTemplateTokens, kTokensMax),
                         .new_tokens = *written,
                         .exact = !scope.kind().written_is_condition});
    return true;
}

Values encode_text(NodeScope& scope) {
    std::vector<LatentShape> encoded;
    const bool sees = run_encodes(scope, encoded);
    const auto* clip = scope.get<ModelValue>("clip");
    if (clip == nullptr || !sees) return {scope.unknown_step()};
    PromptLength longest = longest_prompt(scope);
    longest.tokens += image_tokens(scope);
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
    condition.lyrics = lyric_tokens(scope);
    if (!scope.kind().written.empty() &&
        !write_behind(scope, clip->use, longest.tokens + condition.lyrics, condition))
        return {scope.unknown_step()};
    const Value conditioning{ConditioningValue{{std::move(condition)}}};
    Values values{conditioning};
    // A node with further outputs names the conditioning by what makes it.
    if (!scope.kind().outputs.empty()) {
        values = make_outputs(scope);
        for (std::size_t slot = 0; slot < values.size(); ++slot)
            if (scope.kind().outputs[slot].from == "clip") values[slot] = conditioning;
    }
    if (scope.kind().refers_to_encoded) refer_to(values, encoded);
    return values;
}

Values write_text(NodeScope& scope) {
    constexpr int kTemplateTokens = 30;     // about: the marks of a chat and a short instruction
    constexpr int kNewTokensMax = 1 << 16;  // chosen: far above what the nodes take
    const auto* clip = scope.get<ModelValue>("clip");
    if (clip == nullptr) return {scope.unknown_step()};
    std::int64_t prompt = scope.kind().own_tokens + kTemplateTokens;
    for (const std::string& input : scope.kind().texts) {
        const auto text = scope.text(input);
        if (!text && scope.is_linked(input)) scope.note(say<"taken.short_text">(input));
        prompt += estimate_prompt_length(text.value_or("")).tokens;
    }
    int images = 0;
    for (const std::string& input : scope.kind().images)
        if (scope.is_linked(input)) ++images;
    prompt += std::int64_t{images} * scope.kind().image_tokens;
    if (images > 0) scope.note(say<"taken.senses">());
    const auto room = scope.count("max_length", 1, kNewTokensMax);
    if (!room) return {scope.unknown_step()};
    scope.step(TextGenerateStep{
        .text_encoder = clip->use,
        .prompt_tokens = static_cast<int>(std::min<std::int64_t>(prompt, kTokensMax)),
        .new_tokens = *room});
    return {{Nothing{say<"unknown.written_text">()}}};
}

// All run in every step.
Values combine(NodeScope& scope) {
    ConditioningValue all;
    for (const std::string& input : scope.kind().combined) {
        const auto* more = scope.get<ConditioningValue>(input);
        if (more == nullptr) return {scope.nothing()};
        for (const ConditionUse& condition : more->conditions)
            if (all.conditions.size() < kConditionsMax) all.conditions.push_back(condition);
    }
    return {{std::move(all)}};
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
    const auto* vae = scope.look<ModelValue>("vae");
    const bool applies = scope.number("strength") != 0.0;
    Values values;
    for (const workflow::NodeOutput& output : scope.kind().outputs) {
        const auto* conditioning = scope.get<ConditioningValue>(output.from);
        if (conditioning == nullptr || control == nullptr) {
            values.push_back(scope.nothing());
            continue;
        }
        ConditioningValue with = *conditioning;
        for (ConditionUse& condition : with.conditions) {
            if (!applies) break;
            condition.controlnets.push_back(control->use.model);
            if (vae != nullptr) condition.hint_vae = vae->use.model;
            condition.control_id = hash_number(scope.signature(), condition.control_id);
        }
        values.push_back({std::move(with)});
    }
    return values;
}

}  // namespace

Values lower_conditioning_verb(NodeScope& scope) {
    switch (scope.kind().verb) {
        case NodeVerb::EncodeText:
            return encode_text(scope);
        case NodeVerb::WriteText:
            return write_text(scope);
        case NodeVerb::CombineConditioning:
            return combine(scope);
        case NodeVerb::ConcatConditioning:
            return concat(scope);
        default:
            return apply_controlnet(scope);
    }
}

}  // namespace plimsoll::memory
