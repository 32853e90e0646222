// SPDX-License-Identifier: Apache-2.0
//
// Steps whose network is not walked: exact weights, bounds of what computing takes, and why.
#include "base/say.h"
#include "memory/residency/dtypes.h"
#include "memory/simulation/bound.h"
#include "memory/simulation/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

std::int64_t cells_of(const LatentShape& latent) {
    return std::int64_t{latent.frames} * latent.height * latent.width + latent.sound;
}

// All conditions in one forward, the longest text and all its references for each of them.
BoundedStep largest_step(const SampleStep& what) {
    BoundedStep step{.cells = cells_of(what.latent), .channels = what.latent.channels};
    std::int64_t conditions = 0;
    std::int64_t references = 0;
    for (const auto* uses : {&what.positive, &what.negative})
        for (const ConditionUse& use : *uses) {
            ++conditions;
            step.tokens = std::max<std::int64_t>(step.tokens, use.tokens + use.lyrics);
            std::int64_t own = 0;
            for (const LatentShape& reference : use.references)
                own += reference.batch * cells_of(reference);
            references = std::max(references, own);
        }
    step.cells += references;
    step.batch = std::max<std::int64_t>(1, conditions) * what.latent.batch;
    return step;
}

BoundedPixels largest_pixels(const VaeStep& what) {
    BoundedPixels pixels{.images = what.image.batch,
                         .pixels = std::int64_t{what.image.height} * what.image.width};
    if (!what.tiled) return pixels;
    const std::int64_t side = what.tile_size;
    pixels.pixels = std::min(pixels.pixels, side * side);
    if (what.video) pixels.images = std::min<std::int64_t>(pixels.images, what.tile_frames);
    return pixels;
}

bool always_on_card(ModelRole role) {
    return role == ModelRole::Unet || role == ModelRole::Vae || role == ModelRole::ControlNet;
}

}  // namespace

std::int64_t Simulation::widest_element(const modelfile::Contents& contents) const {
    constexpr std::int64_t kFloat = 4;
    constexpr std::int64_t kHalf = 2;
    // A network that takes no fp16 computes in fp32 where the card has no bf16.
    const bool half = computes_bf16(device_, server_.flags) &&
                      contents.everything.dtype != modelfile::DType::Float32;
    return half ? kHalf : kFloat;
}

std::optional<ActivationBound> Simulation::bound_computing(
    const Step& step, const modelfile::Contents& contents) const {
    const modelfile::Outline& outline = contents.outline;
    if (const auto* sample = std::get_if<SampleStep>(&step.what)) {
        BoundedStep largest = largest_step(*sample);
        largest.element_bytes = widest_element(contents);
        return bound_step(outline, largest);
    }
    if (const auto* vae = std::get_if<VaeStep>(&step.what)) {
        if (vae->sound_latents > 0) return std::nullopt;
        BoundedPixels largest = largest_pixels(*vae);
        largest.element_bytes = widest_element(contents);
        largest.attention_by_square = rules_.math_attention_in_vae;
        return bound_pixels(outline, largest);
    }
    if (const auto* text = std::get_if<TextEncodeStep>(&step.what)) {
        if (text->runs.empty()) return std::nullopt;
        BoundedText longest{.rows = 1, .tokens = 1};
        for (const EncoderRun& run : text->runs) {
            longest.rows = std::max<std::int64_t>(longest.rows, run.rows);
            longest.tokens = std::max<std::int64_t>(longest.tokens, run.tokens);
        }
        return bound_text(outline, longest);
    }
    return std::nullopt;
}

void Simulation::bound_model(Phase& phase, const Step& step, const ProgramModel& m) {
    PhaseBound bound{.weights = {}, .lower = {}, .upper = Bytes(0), .reason = {}};
    bool seen = false;
    for (const auto& file : m.built) {
        if (file == nullptr || file->contents->outline.is_empty()) {
            bound.upper.reset();
            continue;
        }
        seen = true;
        const modelfile::Contents& contents = *file->contents;
        bound.weights += contents.everything.bytes;
        bound.lower = std::max(bound.lower, contents.outline.largest_tensor);
        const auto computing = bound_computing(step, contents);
        if (!computing) {
            bound.upper.reset();
            if (bound.reason.empty()) bound.reason = say<"bound.weights_only">();
            continue;
        }
        bound.lower = std::max(bound.lower, computing->lower);
        if (bound.upper) bound.upper = std::max(*bound.upper, computing->upper);
        bound.reason = computing->reason;
    }
    if (!seen) return;
    if (bound.upper) *bound.upper += bound.weights;
    if (always_on_card(m.role) && bound.lower > forecast_.card_limit) {
        phase.reasons.push_back(say<"phase.dies_anyhow">(bound.lower, forecast_.card_limit));
        phase.floor = bound.lower;
        died_ = true;
    }
    phase.bound = std::move(bound);
}

void Simulation::unknown_network(Phase phase, const Step& step, ModelIndex index) {
    if (index >= 0) bound_model(phase, step, model(index));
    unknown_phase(std::move(phase), why_missing(index));
}

void Simulation::take(const Step& step, const UnknownStep& what) {
    unknown_ = true;
    Phase phase = begin(step, PhaseKind::Unknown);
    phase.reasons.push_back(what.reason);
    for (const ModelIndex index : what.models)
        if (!phase.bound) bound_model(phase, step, model(index));
    forecast_.phases.push_back(std::move(phase));
}

void Simulation::bound_job() {
    if (!unknown_) return;
    Forecast::Bound bound{.lower = forecast_.floor, .upper = forecast_.peak};
    if (half_known_) bound.upper.reset();
    for (const Phase& phase : forecast_.phases) {
        if (phase.kind != PhaseKind::Unknown) continue;
        if (phase.bound) bound.lower = std::max(bound.lower, phase.bound->lower);
        if (!phase.bound || !phase.bound->upper) bound.upper.reset();
        if (bound.upper) bound.upper = std::max(*bound.upper, *phase.bound->upper);
    }
    forecast_.bound = bound;
}

}  // namespace plimsoll::memory
