// SPDX-License-Identifier: Apache-2.0
//
// Steps between latents and pixels: VAEs, whole and in tiles, and upscalers.
#include "base/say.h"
#include "memory/networks/vae.h"
#include "memory/residency/estimates.h"
#include "memory/simulation/pixels.h"
#include "memory/simulation/simulation.h"
#include "memory/simulation/step_shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

void Simulation::take(const Step& step, const VaeStep& what) {
    const bool decode = what.direction == VaeDirection::Decode;
    Phase phase = begin(step, decode ? PhaseKind::VaeDecode : PhaseKind::VaeEncode);
    const LiveModel* vae = live(what.vae.model);
    if (vae == nullptr) return unknown_network(std::move(phase), step, what.vae.model);
    const Vae& network = *model(what.vae.model).built.front()->vae;
    const bool sound = network.sound().has_value();
    if (sound != (what.sound_latents > 0))
        return unknown_phase(std::move(phase), sound ? say<"unknown.vae_of_sound">()
                                                     : say<"unknown.vae_of_images">());
    if (!decode && !network.encodes())
        return unknown_phase(std::move(phase), say<"unknown.vae_encodes">());
    const ComputeType type = vae->types.compute;
    if (!network.knows(vae_call(what, type, rules_)))
        return unknown_phase(std::move(phase), say<"unknown.vae_version">());
    const VaeExtents extents = extents_of(what, network);
    const double estimate =
        decode ? vae_decode_estimate(network.kind(), extents.cells, type, server_.version)
               : vae_encode_estimate(network.kind(), extents.pixels, type, server_.version);
    Movement moved = policy().load({.models = {{vae->handle, {}}},
                                    .required = estimate,
                                    .minimum = {},
                                    .whole = loads_whole(network.kind(), sound)});
    const int slice = std::min(what.video ? 1 : what.image.batch,
                               vae_batch(static_cast<double>(policy().free_bytes()), estimate));
    phase.compute = type;
    phase.runs_on_card = vae->placement.runs_on == Place::Card;
    phase.tiled = what.tiled && !network.tiles_itself();
    Activity activity;
    Activity failed;
    if (!phase.tiled) {
        activity = vae_activity(network, what, slice, type, rules_);
        phase.batch_per_forward = slice;
        if (phase.runs_on_card && !network.tiles_itself() && !has_room(activity, *vae)) {
            // The attempt fills the card and fails; ComfyUI goes on in tiles.
            failed = activity;
            phase.tiled = true;
            phase.reasons.push_back(
                say<"phase.vae_tiles">(activity.activations, Bytes(policy().free_bytes())));
        }
    }
    if (phase.tiled) {
        const std::vector<TileRun> tiles = tiles_of(what, network);
        activity = tiled_vae_activity(network, what.direction, tiles, type, rules_);
        if (tiles.size() > 1) activity.activations += kept_beside_tiles(what, network);
        phase.batch_per_forward = 1;
    }
    add_movement(moved, policy().compute((activity.activations + activity.cast).count));
    finish(std::move(phase), moved, activity, {vae->handle});
    if (failed.forwards > 0) fill_card(failed, largest_unit(vae->handle));
}

void Simulation::take(const Step& step, const UpscaleStep& what) {
    Phase phase = begin(step, PhaseKind::Upscale);
    const LiveModel* upscaler = live(what.upscaler.model);
    if (upscaler == nullptr) return unknown_network(std::move(phase), step, what.upscaler.model);
    const Upscaler& network = *model(what.upscaler.model).built.front()->upscaler;
    const ModelHandle handle = upscaler->handle;
    const double estimate = upscale_estimate(network, what.image);
    const bool managed = server_.version >= kUpscalerIsManaged;
    const auto weights = static_cast<double>(policy().model(handle).size_bytes);
    Movement moved =
        managed
            ? policy().load(
                  {.models = {{handle, {}}}, .required = estimate, .minimum = {}, .whole = true})
            : policy().visit(handle, weights + estimate);
    const UpscalePlan plan =
        plan_upscale(network, what.image, rules_,
                     [&](const Activity& activity) { return has_room(activity, *upscaler); });
    phase.tiled = plan.activity.forwards > what.image.batch;
    phase.compute = ComputeType::Float32;
    phase.reasons.push_back(say<"phase.enlarges">(network.scale(), plan.tile));
    if (plan.failed.forwards > 0)
        phase.reasons.push_back(
            say<"phase.halves_tile">(plan.failed.activations, Bytes(policy().free_bytes())));
    add_movement(moved, policy().compute(plan.activity.activations.count));
    finish(std::move(phase), moved, plan.activity, {handle});
    if (plan.failed.forwards > 0 && plan.fits) fill_card(plan.failed, largest_unit(handle));
    if (!managed && !died_) policy().leave(handle);
}

void Simulation::take(const Step& step, const LatentUpscaleStep& what) {
    Phase phase = begin(step, PhaseKind::Upscale);
    const LiveModel* upscaler = live(what.upscaler.model);
    if (upscaler == nullptr) return unknown_network(std::move(phase), step, what.upscaler.model);
    const LatentUpscaler& network = *model(what.upscaler.model).built.front()->latent_upscaler;
    if (what.latent.channels != network.config().in_channels)
        return unknown_phase(
            std::move(phase),
            say<"unknown.channels">(what.latent.channels, network.config().in_channels));
    const ModelHandle handle = upscaler->handle;
    const double estimate = latent_upscale_estimate(what.latent);
    const bool managed = server_.version >= kUpscalerIsManaged;
    const auto weights = static_cast<double>(policy().model(handle).size_bytes);
    Movement moved =
        managed ? policy().load({.models = {{handle, {}}}, .required = estimate, .minimum = {}})
                : policy().visit(handle, weights + estimate);
    const Activity activity =
        latent_upscale_activity(network, what.latent, upscaler->types, rules_);
    phase.compute = upscaler->types.compute;
    phase.batch_per_forward = what.latent.batch;
    add_movement(moved, policy().compute((activity.activations + activity.cast).count));
    finish(std::move(phase), moved, activity, {handle});
    if (!managed && !died_) policy().leave(handle);
}

void Simulation::fill_card(const Activity& attempt, Bytes module) {
    Phase& last = forecast_.phases.back();
    const Bytes attempted = attempt.activations + module;
    last.peak = forecast_.card_limit;
    last.reserved = forecast_.card_limit;
    last.floor = std::max(last.floor, attempted);
    last.working_set = attempt.held(attempted);
    fell_back_ = true;
}

bool Simulation::loads_whole(VaeKind kind, bool sound) {
    if (kind == VaeKind::MiniMaxSound) return false;
    return sound || kind == VaeKind::Seedvr2;
}

Bytes Simulation::largest_unit(ModelHandle handle) {
    const LoadableModel& m = policy().model(handle);
    return m.units.empty() ? Bytes(0) : Bytes(m.units.front().bytes);
}

bool Simulation::has_room(const Activity& activity, const LiveModel& vae) {
    const Bytes need = activity.activations + activity.cast;
    if (dynamic_) return need + largest_unit(vae.handle) <= forecast_.card_limit;
    return need.count <= policy().free_bytes();
}

}  // namespace plimsoll::memory
