// SPDX-License-Identifier: Apache-2.0
//
// simulate_program: the frame around the steps: what the session still has, what a phase came to,
// and the verdict.
#include "memory/simulate.h"

#include "base/say.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/residency/segments.h"
#include "memory/simulation/explain.h"
#include "memory/simulation/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace plimsoll::memory {

Forecast Simulation::run() {
    begin_session();
    forecast_.card_limit = device_.total - device_.used_by_others;
    forecast_.unknown_nodes = program_.unknown_nodes;
    forecast_.warnings = program_.warnings;
    find_loaders();
    drop_unused();
    for (const Step& step : program_.steps) {
        begin_outputs(static_cast<std::size_t>(&step - program_.steps.data()));
        const bool cached = session_.cached.contains(step.signature);
        session_.cached.insert(step.signature);
        if (cached) continue;
        std::visit([&](const auto& what) { take(step, what); }, step.what);
    }
    if (server_.flags.disable_smart_memory) (void)policy().unload_all();
    judge();
    return std::move(forecast_);
}

void Simulation::begin_session() {
    if (session_.policy && session_.server == server_ && session_.card_total == device_.total) {
        policy().set_others(device_.used_by_others);
        return;
    }
    session_ = {};
    session_.server = server_;
    session_.card_total = device_.total;
    session_.policy =
        dynamic_ ? dynamic_policy(server_, device_) : estimate_policy(server_, device_);
}

void Simulation::find_loaders() {
    keys_.resize(program_.models.size());
    for (const Step& step : program_.steps)
        if (const auto* load = std::get_if<LoadStep>(&step.what))
            for (std::size_t i = 0; i < load->models.size(); ++i)
                keys_[static_cast<std::size_t>(load->models[i])] = {step.signature, i};
}

void Simulation::drop_unused() {
    std::set<std::uint64_t> wanted;
    for (const Step& step : program_.steps) wanted.insert(step.signature);
    std::erase_if(session_.cached, [&](std::uint64_t s) { return !wanted.contains(s); });
    std::erase_if(session_.models, [&](const auto& entry) {
        if (session_.cached.contains(entry.first.first)) return false;
        policy().drop(entry.second.handle);
        return true;
    });
}

namespace {

// Some of what looks at images is loaded as encoders are.
ModelRole placed_as(const ProgramModel& m) {
    const bool encoder = m.role == ModelRole::ImageReader &&
                         m.built.front()->image_reader->loader() == ReaderLoader::AsTextEncoder;
    return encoder ? ModelRole::ClipVision : m.role;
}

}  // namespace

void Simulation::add_model(ModelIndex index) {
    const ProgramModel& m = model(index);
    if (!m.known()) return;
    LiveModel entry;
    std::shared_ptr<LoadableModel> what = make_loadable(m, server_, device_, entry.types);
    entry.placement =
        place_model(placed_as(m), what->placement_bytes, server_, device_, policy().free_bytes(),
                    m.own_file ? LoadedFrom::OwnFile : LoadedFrom::Checkpoint);
    if (dynamic_) entry.placement.built_on = Place::Host;  // weights stay in the file until used
    entry.handle = policy().add(std::move(what), entry.placement);
    session_.models.insert_or_assign(keys_[static_cast<std::size_t>(index)], entry);
}

void Simulation::take(const Step& step, const LoadStep& what) {
    Phase phase = begin(step, PhaseKind::Load);
    Bytes read;
    for (const ModelIndex index : what.models) {
        const ProgramModel& m = model(index);
        if (!m.known()) {
            phase.reasons.push_back(say<"phase.model_unknown">(model_role_name(m.role),
                                                               with_weights(m.why_unknown, m)));
            continue;
        }
        for (std::size_t i = 0; i < m.files.size(); ++i)
            if (session_.files_in_ram.insert(m.files[i]).second)
                read += m.built[i]->contents->everything.bytes;
        add_model(index);
    }
    phase.read_from_disk = read;
    reading_ = read;
    Movement moved;
    // Text encoders first, then the diffusion model, as a checkpoint loader does.
    for (const ModelRole role : {ModelRole::TextEncoder, ModelRole::Unet})
        for (const ModelIndex index : what.models) {
            const LiveModel* entry = live(index);
            if (entry == nullptr || model(index).role != role) continue;
            const Placement& p = entry->placement;
            const bool at_once = role == ModelRole::TextEncoder ? p.built_on == p.runs_on
                                                                : p.built_on == Place::Card;
            if (at_once && !dynamic_)
                add_movement(
                    moved,
                    policy().load({.models = {{entry->handle, {}}}, .minimum = {}, .whole = true}));
        }
    finish(std::move(phase), moved, {}, {});
    reading_ = Bytes(0);
}

Phase Simulation::begin(const Step& step, PhaseKind kind) {
    Phase phase;
    phase.kind = kind;
    phase.node_id = step.node_id;
    phase.class_type = step.class_type;
    phase.reasons = step.notes;
    return phase;
}

void Simulation::add_movement(Movement& sum, Movement more) {
    sum.loaded_bytes += more.loaded_bytes;
    sum.evicted_bytes += more.evicted_bytes;
    sum.merge_peak = std::max(sum.merge_peak, more.merge_peak);
    sum.evicted.insert(sum.evicted.end(), more.evicted.begin(), more.evicted.end());
}

void Simulation::unknown_phase(Phase phase, const Phrase& why) {
    unknown_ = true;
    phase.kind = PhaseKind::Unknown;
    phase.reasons.push_back(why);
    forecast_.unknown_nodes.push_back(say<"unknown.node">(phase.node_id, phase.class_type, why));
    forecast_.phases.push_back(std::move(phase));
}

Phrase Simulation::why_missing(ModelIndex index) const {
    if (index < 0) return say<"unknown.no_model">();
    const ProgramModel& m = model(index);
    return m.known() ? say<"unknown.not_loaded">(file_list(m)) : with_weights(m.why_unknown, m);
}

LoadRequest::Model Simulation::use_of(const LiveModel& entry, const ModelUse& use) {
    LoadRequest::Model wanted{.handle = entry.handle, .patches = {}};
    if (use.patch_id == 0) return wanted;
    const LoadableModel& weights = policy().model(entry.handle);
    wanted.patches.id = use.patch_id;
    wanted.patches.units = use.merged_whole ? std::vector<std::uint8_t>(weights.units.size(), 1)
                                            : transformer_linears(weights);
    // One after the other: the matrices of one are gone when the next come.
    for (const LoraIndex index : use.loras)
        wanted.patches.low_rank_elements =
            std::max(wanted.patches.low_rank_elements, lora(index).elements);
    return wanted;
}

Movement Simulation::compute(const Activity& activity, const std::vector<ModelHandle>& in_use) {
    Bytes copies = activity.cast;
    for (const Stay& stay : policy().stays())
        if (std::ranges::find(in_use, stay.handle) != in_use.end())
            copies = std::max(copies, Bytes(stay.patched_copy));
    return policy().compute((activity.activations + copies).count);
}

void Simulation::explain_loras(Phase& phase, const ModelUse& use) const {
    for (const LoraIndex index : use.loras)
        phase.reasons.push_back(lora(index).elements > 0
                                    ? say<"phase.lora">(lora(index).file, lora(index).bytes)
                                    : say<"phase.lora_unseen">(lora(index).file));
}

void Simulation::add_unknown(Phase& phase, const Phrase& why) {
    unknown_ = true;
    half_known_ = true;
    phase.reasons.push_back(why);
    forecast_.unknown_nodes.push_back(say<"unknown.node">(phase.node_id, phase.class_type, why));
}

void Simulation::finish(Phase phase, const Movement& moved, const Activity& activity,
                        const std::vector<ModelHandle>& in_use, Costs costs) {
    phase.loaded = Bytes(moved.loaded_bytes);
    phase.evicted = Bytes(moved.evicted_bytes);
    phase.forwards = activity.forwards;
    phase.cost_per_forward =
        divided(activity.costs, costs == Costs::OfAllForwards ? activity.forwards : 1);
    phase.peak_module = activity.peak_module;
    phase.peak_op = activity.peak_op;
    phase.top_live = activity.top_live;
    Bytes whole;
    Bytes in_flight;
    for (const Stay& stay : policy().stays()) {
        const bool used = std::ranges::find(in_use, stay.handle) != in_use.end();
        Residency residency{.model = policy().model(stay.handle).name,
                            .size = Bytes(stay.size_bytes),
                            .resident = Bytes(stay.card_bytes),
                            .streamed = Bytes(used ? stay.streamed_bytes : 0),
                            .largest_streamed = Bytes(used ? stay.largest_streamed : 0),
                            .streamed_modules = used ? static_cast<int>(stay.streamed_count) : 0,
                            .in_use = used};
        if (used) {
            phase.streamed_per_forward += residency.streamed;
            in_flight = std::max({in_flight, Bytes(stay.in_flight), Bytes(stay.patched_copy)});
            whole += residency.size;
        }
        phase.models.push_back(std::move(residency));
    }
    phase.resident = Bytes(policy().card_bytes());
    if (phase.runs_on_card) {
        phase.activations = activity.activations;
        phase.cast = std::max(activity.cast, in_flight);
        Bytes module = phase.cast;
        for (const ModelHandle handle : in_use) module = std::max(module, largest_unit(handle));
        if (!in_use.empty()) {
            phase.floor = phase.activations + module;
            phase.comfort = phase.activations + activity.cast + whole;
        }
    }
    phase.merging = Bytes(moved.merge_peak);
    phase.peak = std::max(phase.resident + phase.activations + phase.cast, phase.merging);
    phase.working_set = activity.held(phase.activations) + phase.cast;
    const Bytes held = allocator_of(server_, device_) == Allocator::Native
                           ? std::max(phase.resident, Bytes(policy().segment_bytes()))
                           : phase.resident;
    phase.reserved = std::max(phase.peak, std::min(held + phase.working_set, forecast_.card_limit));
    phase.host = host_memory();
    explain_weights(phase, moved, policy());
    if (phase.runs_on_card && !in_use.empty() && phase.peak > forecast_.card_limit) die(phase);
    forecast_.phases.push_back(std::move(phase));
}

void Simulation::begin_outputs(std::size_t step) {
    for (; next_output_ < program_.outputs.size() && program_.outputs[next_output_].step <= step;
         ++next_output_) {
        const Bytes bytes = program_.outputs[next_output_].bytes;
        outputs_ = server_.flags.keeps_outputs ? outputs_ + bytes : last_output_ + bytes;
        last_output_ = bytes;
    }
}

HostMemory Simulation::host_memory() {
    HostMemory host;
    host.weights = Bytes(policy().host_bytes());
    host.mapped = Bytes(policy().mapped_bytes()) + reading_;
    for (const ProgramLora& one : program_.loras) host.loras += one.bytes;
    host.outputs = outputs_;
    return host;
}

void Simulation::die(Phase& phase) {
    phase.reasons.push_back(say<"phase.dies">(phase.peak, forecast_.card_limit));
    died_ = true;
    (void)policy().unload_all();
}

void Simulation::warn_of_host() {
    if (!device_.host_ram_known) return;
    const Bytes free = device_.host_ram_free;
    if (forecast_.host > free)
        forecast_.warnings.push_back(say<"note.host_swaps">(forecast_.host, free));
    else if (dynamic_ && forecast_.host_mapped > free)
        forecast_.warnings.push_back(say<"note.host_rereads">(forecast_.host_mapped, free));
}

void Simulation::judge() {
    bool slow = fell_back_;
    for (const Phase& phase : forecast_.phases) {
        forecast_.peak = std::max(forecast_.peak, phase.peak);
        forecast_.floor = std::max(forecast_.floor, phase.floor);
        forecast_.comfort = std::max(forecast_.comfort, phase.comfort);
        forecast_.working_set = std::max(forecast_.working_set, phase.working_set);
        forecast_.reserved = std::max(forecast_.reserved, phase.reserved);
        forecast_.host = std::max(forecast_.host, phase.host.held());
        forecast_.host_mapped =
            std::max(forecast_.host_mapped, phase.host.held() + phase.host.mapped);
        slow = slow || phase.streamed_per_forward > Bytes(0);
    }
    warn_of_host();
    bound_job();
    if (died_)
        forecast_.verdict = Verdict::WillNotFit;
    else if (unknown_ || program_.steps.empty())  // without steps: no node that ComfyUI runs
        forecast_.verdict = Verdict::Unknown;
    else
        forecast_.verdict = slow ? Verdict::FitsSlowly : Verdict::Fits;
}

Forecast simulate_program(const Program& program, const Server& server, const Device& device,
                          SessionState* session) {
    SessionState fresh;
    return Simulation(program, server, device, (session != nullptr ? *session : fresh).content())
        .run();
}

}  // namespace plimsoll::memory
