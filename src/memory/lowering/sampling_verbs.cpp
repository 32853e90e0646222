// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/verbs.h"

#include "base/say.h"

#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

constexpr int kStepsMax = 10'000;  // ComfyUI's own limit
constexpr int kStepsUsual = 20;    // where a graph computes them: time only, the peak is the same
constexpr double kCfgUsual = 7.0;  // where a graph computes it: both conditions run

Values guide(NodeScope& scope) {
    const auto* model = scope.get<ModelValue>("model");
    if (model == nullptr) return {scope.nothing()};
    GuideValue value{.model = *model, .positive = {}, .negative = {}, .cfg = 1.0};
    for (const std::string& input : scope.kind().positives) {
        const auto* positive = scope.get<ConditioningValue>(input);
        if (positive == nullptr) return {scope.nothing()};
        value.positive.insert(value.positive.end(), positive->conditions.begin(),
                              positive->conditions.end());
    }
    if (scope.is_linked("negative")) {
        const auto* negative = scope.get<ConditioningValue>("negative");
        if (negative == nullptr) return {scope.nothing()};
        value.negative = negative->conditions;
        value.cfg = scope.evaluate_number(scope.kind().cfg).value_or(kCfgUsual);
        scope.forgive();
    }
    return {{std::move(value)}};
}

bool take_guider(NodeScope& scope, SampleStep& step) {
    const auto* guide = scope.get<GuideValue>("guider");
    if (guide == nullptr) return false;
    step.unet = guide->model.use;
    step.patches = guide->model.patches;
    step.positive = guide->positive;
    step.negative = guide->negative;
    step.cfg = guide->cfg;
    return true;
}

bool take_conditions(NodeScope& scope, SampleStep& step) {
    const auto* model = scope.get<ModelValue>("model");
    const auto* positive = scope.get<ConditioningValue>("positive");
    const auto* negative = scope.get<ConditioningValue>("negative");
    if (model == nullptr || positive == nullptr || negative == nullptr) return false;
    step.unet = model->use;
    step.patches = model->patches;
    step.positive = positive->conditions;
    step.negative = negative->conditions;
    const auto cfg = scope.number("cfg");
    if (!cfg) scope.note(say<"taken.cfg">());
    step.cfg = cfg.value_or(kCfgUsual);
    return true;
}

// A custom sampler: sampler and steps come as values of their own.
void take_sigmas(NodeScope& scope, SampleStep& step) {
    const auto* schedule = scope.get<ScheduleValue>("sigmas");
    const auto* sampler = scope.get<SamplerValue>("sampler");
    step.steps = schedule != nullptr ? schedule->steps : kStepsUsual;
    if (schedule != nullptr) step.scheduler = schedule->scheduler;
    if (sampler != nullptr) step.sampler = sampler->sampler;
    if (schedule == nullptr || sampler == nullptr) {
        scope.note(say<"taken.sigmas">(scope.why()));
        scope.forgive();
    }
}

void take_steps(NodeScope& scope, SampleStep& step) {
    step.sampler = scope.text("sampler_name").value_or("");
    step.scheduler = scope.text("scheduler").value_or("");
    const auto steps = scope.number("steps");
    if (!steps) scope.note(say<"taken.steps">(kStepsUsual));
    step.steps = clamped(steps.value_or(kStepsUsual), 0, kStepsMax);
    // With a denoise below 1 (its threshold) ComfyUI draws a longer schedule and runs its last
    // `steps` steps.
    const double denoise = scope.number("denoise").value_or(1.0);
    if (denoise > 0.9999) step.steps = scheduled_steps(step.scheduler, step.sampler, step.steps);
    if (denoise <= 0) step.steps = 0;
    const auto& kind = scope.kind();
    const int first = clamped(scope.number(kind.input_of("first_step")).value_or(0), 0, step.steps);
    const int last =
        clamped(scope.number(kind.input_of("last_step")).value_or(step.steps), first, step.steps);
    if (last < step.steps && scope.text("return_with_leftover_noise") == "enable")
        step.ending = Ending::LeftoverNoise;
    step.steps = last - first;
}

Values sample(NodeScope& scope) {
    SampleStep step;
    const bool sound =
        scope.is_linked("guider") ? take_guider(scope, step) : take_conditions(scope, step);
    const auto* latent = scope.get<LatentShape>("latent_image");
    // Another sampler or a decode after it may still know the size.
    if (!sound || latent == nullptr) {
        const Value nothing = scope.unknown_step();
        return {latent != nullptr ? Value{*latent} : nothing};
    }
    if (scope.is_linked("sigmas"))
        take_sigmas(scope, step);
    else
        take_steps(scope, step);
    step.latent = *latent;
    if (step.patches.cfg) step.cfg = *step.patches.cfg;
    scope.step(std::move(step));
    return {{*latent}};
}

}  // namespace

Values lower_sampling_verb(NodeScope& scope) {
    switch (scope.kind().verb) {
        case NodeVerb::Guide:
            return guide(scope);
        default:
            return sample(scope);
    }
}

}  // namespace plimsoll::memory
