// SPDX-License-Identifier: Apache-2.0
//
// Steps that sample: the conditions that run together, ControlNets, patches, windows.
#include "base/say.h"
#include "memory/families.h"
#include "memory/networks/controlnet.h"
#include "memory/residency/estimates.h"
#include "memory/samplers.h"
#include "memory/simulation/explain.h"
#include "memory/simulation/pixels.h"
#include "memory/simulation/simulation.h"
#include "memory/simulation/step_shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace plimsoll::memory {

namespace {

// ComfyUI-GGUF unpacks a block's numbers and its scales apart: before the matrix is there, about as
// much again is (the reference's figure; the types differ in it).
bool unpacks_by_steps(const modelfile::PartWeights& weights) {
    return modelfile::dtype_traits(weights.dtype).block_elements > 1;
}

}  // namespace

void Simulation::encode_hints(const Step& step, const SampleStep& what,
                              const LatentFormat& format) {
    std::set<ModelIndex> encoded;
    for (const ConditionUse& use : conditions_of(what))
        for (const ModelIndex index : use.controlnets) {
            const LiveModel* control = live(index);
            if (control == nullptr || use.hint_vae < 0 || !encoded.insert(index).second) continue;
            if (!model(index).built.front()->controlnet->encodes_hint()) continue;
            const LatentShape latent = taken_by(what.latent, format);
            take(step, VaeStep{.vae = {.model = use.hint_vae},
                               .direction = VaeDirection::Encode,
                               .image = {1, latent.height * latent.pixels_per_cell,
                                         latent.width * latent.pixels_per_cell}});
        }
}

std::int64_t Simulation::times_of(const PlannedForward& planned, const PlannedStep& plan,
                                  int steps) {
    constexpr int kTimesMax = 64;  // chosen: as many shares of costs are told apart
    if (!plan.ranged) return 1;
    const double share = planned.share / plan.windows;
    return std::clamp<std::int64_t>(std::llround(share * std::min(steps, kTimesMax)), 1, kTimesMax);
}

void Simulation::keep_beside(Phase& phase, const SampleStep& what, const BuiltFile& file,
                             const LatentShape& latent, const Types& types, Activity& activity) {
    const auto kept = kept_bytes(what, program_, file.contents->denoiser->config, latent,
                                 bytes_per_element(types.compute));
    for (const LoraIndex index : what.patches.beside)
        if (lora(index).elements == 0) add_unknown(phase, say<"unknown.beside">(lora(index).file));
    if (!kept) add_unknown(phase, say<"unknown.hidden">());
    if (kept.value_or(0) == 0) return;
    activity.activations += Bytes(*kept);
    phase.reasons.push_back(say<"phase.patches_keep">(Bytes(*kept)));
}

void Simulation::explain_plan(Phase& phase, const PlannedStep& plan, const SampleStep& what) {
    phase.reasons.insert(phase.reasons.end(), what.patches.notes.begin(), what.patches.notes.end());
    if (plan.windows > 1)
        phase.reasons.push_back(say<"phase.windows">(plan.windows, what.patches.window->length));
    if (plan.ranged) phase.reasons.push_back(say<"phase.ranges">());
}

void Simulation::take(const Step& step, const SampleStep& asked) {
    SampleStep what = asked;
    // Windows took no frame before them along in older versions.
    if (what.patches.window && server_.version < kNewerTables) what.patches.window->leading = false;
    if (live(what.unet.model) != nullptr) {
        const modelfile::Contents& contents = *model(what.unet.model).built.front()->contents;
        encode_hints(
            step, what,
            family_traits(contents.family, contents.denoiser->config, server_.version).latent);
    }
    Phase phase = begin(step, PhaseKind::Sample);
    const LiveModel* unet = live(what.unet.model);
    if (unet == nullptr) return unknown_network(std::move(phase), step, what.unet.model);
    const ProgramModel& m = model(what.unet.model);
    const BuiltFile& file = *m.built.front();
    const std::vector<ConditionUse> uses = conditions_of(what);

    std::vector<ModelHandle> in_use{unet->handle};
    LoadRequest request{.models = {use_of(*unet, what.unet)}, .minimum = {}};
    std::map<ModelIndex, const ControlNetNetwork*> controlnets;
    for (const ConditionUse& use : uses)
        for (const ModelIndex index : use.controlnets) {
            if (controlnets.contains(index)) continue;
            const LiveModel* control = live(index);
            if (control == nullptr) return unknown_network(std::move(phase), step, index);
            controlnets[index] = model(index).built.front()->controlnet.get();
            constexpr int kReferences = 3;  // the node's output and the copy in the conditions
            policy().set_references(control->handle, kReferences);
            request.models.push_back({control->handle, {}});
            in_use.push_back(control->handle);
        }

    const ModelPatchNetwork* patch = nullptr;
    for (const ModelIndex index : what.unet.additions) {
        const LiveModel* addition = live(index);
        if (addition == nullptr) return unknown_network(std::move(phase), step, index);
        const BuiltFile& patched = *model(index).built.front();
        if (patched.contents->family != file.contents->family)
            return unknown_phase(std::move(phase),
                                 say<"unknown.other_patch">(file_list(model(index))));
        if (patch != nullptr) phase.reasons.push_back(say<"phase.last_patch">());
        patch = patched.model_patch.get();
        request.models.push_back({addition->handle, {}});
        in_use.push_back(addition->handle);
    }
    const FamilyTraits traits =
        family_traits(file.contents->family, file.contents->denoiser->config, server_.version);
    if (traits.references_unknown &&
        std::ranges::any_of(uses, [](const auto& use) { return !use.references.empty(); }))
        return unknown_phase(std::move(phase), say<"unknown.references">());
    const SamplingEstimate estimate{.factor = traits.usage_factor,
                                    .element_bytes = bytes_per_element(unet->types.compute),
                                    .attention = attention_memory(server_.flags)};
    const LatentShape latent = taken_by(what.latent, traits.latent);
    const LatentShape window = windowed(latent, what.patches);
    if (const Phrase why = why_not_walked(traits, what.latent); !why.empty())
        return unknown_phase(std::move(phase), why);
    const std::int64_t area = estimated_area(traits, window, uses);
    request.required = estimate.bytes(2 * area);
    request.minimum = estimate.bytes(area);
    Movement moved = policy().load(request);
    const auto free = static_cast<double>(policy().free_bytes());

    const PlannedStep plan = plan_step(what, uses, latent, traits, estimate, free);
    std::vector<StepForward> forwards;
    for (const PlannedForward& planned : plan.forwards) {
        const ConditionUse& first = uses[static_cast<std::size_t>(planned.conditions.front())];
        LatentShape walked = planned.latent;
        // Its frames come one by one, as a batch.
        if (file.contents->family == modelfile::Family::Svd) walked.frames = walked.batch;
        forwards.push_back({.conds = static_cast<int>(planned.conditions.size()),
                            .tokens = planned.tokens,
                            .lyrics = first.lyrics,
                            .controlnet = first.controlnets.empty()
                                              ? nullptr
                                              : controlnets[first.controlnets.front()],
                            .patch = patch,
                            .references = first.references,
                            .reference_method = first.reference_method,
                            .latent = walked,
                            .times = times_of(planned, plan, what.steps)});
        if (first.controlnets.size() > 1) phase.reasons.push_back(say<"phase.first_controlnet">());
    }
    Activity activity = sampling_activity(*file.denoiser, file.contents->denoiser->config, forwards,
                                          unet->types, what.patches, rules_);
    if (unpacks_by_steps(file.contents->denoiser->weights)) activity.cast += activity.cast;
    keep_beside(phase, what, file, latent, unet->types, activity);
    const std::int64_t runs = sampler_forwards(what.sampler, what.steps, what.ending);
    double per_step = 0;
    for (const PlannedForward& planned : plan.forwards) per_step += planned.share;
    // A forward of one condition costs its share of the step's.
    const double more = what.patches.extra_forwards * per_step /
                        static_cast<double>(std::max<std::size_t>(1, plan.together));
    activity.costs = divided(activity.costs, activity.forwards);
    activity.forwards = std::llround(static_cast<double>(runs) * (per_step + std::max(0.0, more)));
    phase.compute = unet->types.compute;
    explain_loras(phase, what.unet);
    explain_plan(phase, plan, what);
    phase.batch_per_forward = 1;
    for (const StepForward& forward : forwards)
        phase.batch_per_forward =
            std::max(phase.batch_per_forward, forward.conds * forward.latent.batch);
    if (!sampler_traits(what.sampler) && !what.sampler.empty())
        phase.reasons.push_back(say<"phase.sampler">(what.sampler));
    const auto all = static_cast<std::int64_t>(plan.together);
    explain_conditions(phase, plan.together, plan.groups,
                       estimate.bytes(area * all) * kForwardMargin, free);
    add_movement(moved, compute(activity, in_use));
    finish(std::move(phase), moved, activity, in_use, Costs::PerForward);
}

}  // namespace plimsoll::memory
