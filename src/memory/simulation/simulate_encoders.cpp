// SPDX-License-Identifier: Apache-2.0
//
// Steps that read texts and pictures, and those that write texts.
#include "base/say.h"
#include "memory/networks/audio/audio_encoder.h"
#include "memory/simulation/pixels.h"
#include "memory/simulation/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

void Simulation::take(const Step& step, const TextEncodeStep& what) {
    Phase phase = begin(step, PhaseKind::TextEncode);
    const LiveModel* te = live(what.text_encoder.model);
    if (te == nullptr) return unknown_network(std::move(phase), step, what.text_encoder.model);
    const LoadRequest request{.models = {use_of(*te, what.text_encoder)}, .minimum = {}};
    Movement moved = policy().load(request);
    const ProgramModel& m = model(what.text_encoder.model);
    const Activity activity = text_encode_activity(m, what.runs, server_.flags, device_, rules_);
    add_movement(moved, compute(activity, {te->handle}));
    phase.runs_on_card = te->placement.runs_on == Place::Card;
    phase.compute = te->types.compute;
    explain_loras(phase, what.text_encoder);
    int longest = 0;
    for (const EncoderRun& run : what.runs) {
        phase.batch_per_forward = std::max(phase.batch_per_forward, run.rows);
        longest = std::max(longest, run.rows * run.tokens);
    }
    if (!phase.runs_on_card) phase.reasons.push_back(say<"phase.text_on_cpu">());
    constexpr int kChunk = 77;
    if (longest > kChunk) phase.reasons.push_back(say<"phase.tokens">(longest));
    finish(std::move(phase), moved, activity, {te->handle});
}

void Simulation::take(const Step& step, const TextGenerateStep& what) {
    Phase phase = begin(step, PhaseKind::Other);
    const LiveModel* te = live(what.text_encoder.model);
    if (te == nullptr) return unknown_network(std::move(phase), step, what.text_encoder.model);
    const ProgramModel& m = model(what.text_encoder.model);
    const std::optional<Activity> activity =
        text_generate_activity(m, what, server_.flags, device_, rules_);
    if (!activity) return unknown_phase(std::move(phase), say<"unknown.writing">(file_list(m)));
    Movement moved = policy().load({.models = {use_of(*te, what.text_encoder)}, .minimum = {}});
    add_movement(moved, compute(*activity, {te->handle}));
    phase.runs_on_card = te->placement.runs_on == Place::Card;
    phase.compute = te->types.compute;
    phase.reasons.push_back(what.exact
                                ? say<"phase.writes">(what.new_tokens, what.prompt_tokens)
                                : say<"phase.writes_at_most">(what.new_tokens, what.prompt_tokens));
    if (!phase.runs_on_card) phase.reasons.push_back(say<"phase.text_on_cpu">());
    finish(std::move(phase), moved, *activity, {te->handle});
}

void Simulation::take(const Step& step, const ImageEncodeStep& what) {
    Phase phase = begin(step, PhaseKind::ImageEncode);
    const LiveModel* vision = live(what.clip_vision.model);
    if (vision == nullptr) return unknown_network(std::move(phase), step, what.clip_vision.model);
    const ClipVisionNetwork& network = *model(what.clip_vision.model).built.front()->clip_vision;
    Movement moved = policy().load({.models = {{vision->handle, {}}}, .minimum = {}});
    const Activity activity = image_encode_activity(network, what.image, vision->types, rules_);
    add_movement(moved, policy().compute((activity.activations + activity.cast).count));
    phase.runs_on_card = vision->placement.runs_on == Place::Card;
    phase.compute = vision->types.compute;
    phase.batch_per_forward = what.image.batch;
    if (!phase.runs_on_card) phase.reasons.push_back(say<"phase.image_on_cpu">());
    finish(std::move(phase), moved, activity, {vision->handle});
}

void Simulation::take(const Step& step, const LookStep& what) {
    Phase phase = begin(step, PhaseKind::Other);
    const LiveModel* reader = live(what.reader.model);
    if (reader == nullptr) return unknown_network(std::move(phase), step, what.reader.model);
    const ImageReader& network = *model(what.reader.model).built.front()->image_reader;
    Movement moved = policy().load({.models = {{reader->handle, {}}}, .minimum = {}});
    const Activity activity = reading_activity(network, what, reader->types, rules_);
    add_movement(moved, policy().compute((activity.activations + activity.cast).count));
    phase.runs_on_card = reader->placement.runs_on == Place::Card;
    phase.compute = reader->types.compute;
    phase.batch_per_forward =
        static_cast<int>(what.image.batch / std::max<std::int64_t>(1, activity.forwards));
    phase.reasons.push_back(
        say<"phase.looks">(network.title(), what.image.batch, what.image.width, what.image.height));
    if (!phase.runs_on_card) phase.reasons.push_back(say<"phase.image_on_cpu">());
    finish(std::move(phase), moved, activity, {reader->handle}, Costs::PerForward);
}

void Simulation::take(const Step& step, const HearStep& what) {
    Phase phase = begin(step, PhaseKind::Other);
    const LiveModel* listener = live(what.listener.model);
    if (listener == nullptr) return unknown_network(std::move(phase), step, what.listener.model);
    const AudioEncoder& network = *model(what.listener.model).built.front()->audio_encoder;
    Movement moved = policy().load({.models = {{listener->handle, {}}}, .minimum = {}});
    const Activity activity =
        walk_in_types(listener->types, rules_, [&](const ForwardRules& rules) {
            return simulate_hearing(network, {.seconds = what.seconds,
                                              .storage = listener->types.storage,
                                              .compute = listener->types.compute,
                                              .rules = rules});
        });
    add_movement(moved, policy().compute((activity.activations + activity.cast).count));
    phase.runs_on_card = listener->placement.runs_on == Place::Card;
    phase.compute = listener->types.compute;
    phase.reasons.push_back(say<"phase.hears">(network.title(), what.seconds));
    if (!phase.runs_on_card) phase.reasons.push_back(say<"phase.audio_on_cpu">());
    finish(std::move(phase), moved, activity, {listener->handle});
}

}  // namespace plimsoll::memory
