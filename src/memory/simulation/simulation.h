// SPDX-License-Identifier: Apache-2.0
//
// Simulation: one pass over a program's steps, each with what ComfyUI's loader makes of the card
// before it and what its networks allocate while they run. What a kind of step does stands apart:
// simulate_encoders.cpp (texts and images), simulate_sampling.cpp, simulate_pixels.cpp (VAEs and
// upscalers); simulate.cpp has the frame around them and the verdict.
//
// Enters through: Program, Server, Device, SessionState.   Leaves through: Forecast.   Threads:
// none.
#pragma once
#include "memory/forecast.h"
#include "memory/program.h"
#include "memory/server.h"
#include "memory/simulate.h"
#include "memory/simulation/activity.h"
#include "memory/simulation/bound.h"
#include "memory/simulation/sampling_plan.h"
#include "memory/simulation/session.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::memory {

class Simulation {
  public:
    Simulation(const Program& program, const Server& server, const Device& device,
               SessionState::Content& session)
        : program_(program),
          server_(server),
          device_(device),
          session_(session),
          rules_(forward_rules(server, device)),
          dynamic_(memory_policy(server, device) == MemoryPolicy::Dynamic) {}

    [[nodiscard]] Forecast run();

  private:
    // What the session still has.
    ResidencyPolicy& policy() { return *session_.policy; }
    void begin_session();
    void find_loaders();
    // Outputs of nodes that the new prompt does not have leave ComfyUI's cache, models with them.
    void drop_unused();
    LiveModel* live(ModelIndex index) {
        if (index < 0) return nullptr;
        const auto found = session_.models.find(keys_[static_cast<std::size_t>(index)]);
        return found == session_.models.end() ? nullptr : &found->second;
    }
    const ProgramLora& lora(LoraIndex index) const {
        return program_.loras[static_cast<std::size_t>(index)];
    }
    const ProgramModel& model(ModelIndex index) const {
        return program_.models[static_cast<std::size_t>(index)];
    }
    void add_model(ModelIndex index);

    // The steps, one form for each kind.
    void take(const Step& step, const LoadStep& what);
    void take(const Step& step, const TextEncodeStep& what);
    void take(const Step& step, const TextGenerateStep& what);
    void take(const Step& step, const ImageEncodeStep& what);
    void take(const Step& step, const SampleStep& asked);
    void take(const Step& step, const VaeStep& what);
    void take(const Step& step, const UpscaleStep& what);
    void take(const Step& step, const LatentUpscaleStep& what);
    void take(const Step& step, const LookStep& what);
    void take(const Step& step, const HearStep& what);
    void take(const Step& step, const UnknownStep& what);
    void take(const Step&, const CpuStep&) {}

    // Before and while a step computes.
    [[nodiscard]] static Phase begin(const Step& step, PhaseKind kind);
    [[nodiscard]] Phrase why_missing(ModelIndex index) const;
    [[nodiscard]] LoadRequest::Model use_of(const LiveModel& entry, const ModelUse& use);
    // Weights that are patched on their way to the card take their copies besides.
    Movement compute(const Activity& activity, const std::vector<ModelHandle>& in_use);
    static void add_movement(Movement& sum, Movement more);
    [[nodiscard]] Bytes largest_unit(ModelHandle handle);
    // Weights that the estimate left on the card stay there while the phase runs; pages would
    // leave.
    [[nodiscard]] bool has_room(const Activity& activity, const LiveModel& vae);

    // Sampling.
    // The hints of ControlNets that want latents, which ComfyUI encodes in the first step.
    void encode_hints(const Step& step, const SampleStep& what, const LatentFormat& format);
    // Where conditions run in a part of the steps only, costs go by how many steps those are.
    [[nodiscard]] static std::int64_t times_of(const PlannedForward& planned,
                                               const PlannedStep& plan, int steps);
    // What patches keep on the card through every forward.
    void keep_beside(Phase& phase, const SampleStep& what, const BuiltFile& file,
                     const LatentShape& latent, const Types& types, Activity& activity);

    // VAEs.
    // ComfyUI does not offload parts of VAEs of sound, nor of SeedVR2's.
    [[nodiscard]] static bool loads_whole(VaeKind kind, bool sound);
    // The last phase began with an attempt that filled the card and failed.
    void fill_card(const Activity& attempt, Bytes module);

    // What a phase came to, and why.
    enum class Costs : std::uint8_t { OfAllForwards, PerForward };
    void finish(Phase phase, const Movement& moved, const Activity& activity,
                const std::vector<ModelHandle>& in_use, Costs costs = Costs::OfAllForwards);
    // A phase that nobody knows how to walk.
    void unknown_phase(Phase phase, const Phrase& why);
    // The same because its network is not known: exact weights and bounds where its file was seen.
    // A bound never makes a verdict "fits"; where even the lower one is over the card, the job
    // dies.
    void unknown_network(Phase phase, const Step& step, ModelIndex index);
    void bound_model(Phase& phase, const Step& step, const ProgramModel& m);
    [[nodiscard]] std::optional<ActivationBound> bound_computing(
        const Step& step, const modelfile::Contents& contents) const;
    // Bytes of the widest type that a network of the file may compute in.
    [[nodiscard]] std::int64_t widest_element(const modelfile::Contents& contents) const;
    void bound_job();
    // A phase that is forecast but for something that nobody knows.
    void add_unknown(Phase& phase, const Phrase& why);
    void explain_loras(Phase& phase, const ModelUse& use) const;
    static void explain_plan(Phase& phase, const PlannedStep& plan, const SampleStep& what);
    // ComfyUI ends the prompt here and unloads everything; what would follow is forecast all the
    // same.
    void die(Phase& phase);

    // The host beside the card.
    // Outputs of nodes that have begun before this step stay until the next job, unless the cache
    // is off: then only those of the node at hand and the one before it.
    void begin_outputs(std::size_t step);
    [[nodiscard]] HostMemory host_memory();
    void warn_of_host();

    void judge();

    const Program& program_;
    const Server& server_;
    const Device& device_;
    SessionState::Content& session_;
    ForwardRules rules_;
    bool dynamic_;
    std::vector<ModelKey> keys_;  // by ModelIndex
    Forecast forecast_;
    std::size_t next_output_ = 0;
    Bytes outputs_;
    Bytes last_output_;
    Bytes reading_;  // of files, while a loader node runs
    bool unknown_ = false;
    bool half_known_ = false;  // something in a phase that is forecast is not
    bool died_ = false;
    bool fell_back_ = false;
};

}  // namespace plimsoll::memory
