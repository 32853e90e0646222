// SPDX-License-Identifier: Apache-2.0
//
// simulate_program: the steps of a program in order, each with what ComfyUI's loader makes of the
// card before it and what its networks allocate while they run.
#include "memory/simulate.h"

#include "memory/families.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/vae.h"
#include "memory/residency/estimates.h"
#include "memory/residency/segments.h"
#include "memory/samplers.h"
#include "memory/simulation/activity.h"
#include "memory/simulation/explain.h"
#include "memory/simulation/pixels.h"
#include "memory/simulation/sampling_plan.h"
#include "memory/simulation/session.h"
#include "memory/simulation/step_shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace plimsoll::memory {

namespace {

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

    Forecast run() {
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

  private:
    ResidencyPolicy& policy() { return *session_.policy; }

    void begin_session() {
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

    // --- what the session still has ----------------------------------------------------------

    void find_loaders() {
        keys_.resize(program_.models.size());
        for (const Step& step : program_.steps)
            if (const auto* load = std::get_if<LoadStep>(&step.what))
                for (std::size_t i = 0; i < load->models.size(); ++i)
                    keys_[static_cast<std::size_t>(load->models[i])] = {step.signature, i};
    }

    // Outputs of nodes that the new prompt does not have leave ComfyUI's cache, models with them.
    void drop_unused() {
        std::set<std::uint64_t> wanted;
        for (const Step& step : program_.steps) wanted.insert(step.signature);
        std::erase_if(session_.cached, [&](std::uint64_t s) { return !wanted.contains(s); });
        std::erase_if(session_.models, [&](const auto& entry) {
            if (session_.cached.contains(entry.first.first)) return false;
            policy().drop(entry.second.handle);
            return true;
        });
    }

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

    // --- loading -----------------------------------------------------------------------------

    void add_model(ModelIndex index) {
        const ProgramModel& m = model(index);
        if (!m.known()) return;
        LiveModel entry;
        std::shared_ptr<LoadableModel> what = make_loadable(m, server_, device_, entry.types);
        entry.placement =
            place_model(m.role, what->placement_bytes, server_, device_, policy().free_bytes(),
                        m.own_file ? LoadedFrom::OwnFile : LoadedFrom::Checkpoint);
        if (dynamic_)
            entry.placement.built_on = Place::Host;  // weights stay in the file until used
        entry.handle = policy().add(std::move(what), entry.placement);
        session_.models.insert_or_assign(keys_[static_cast<std::size_t>(index)], entry);
    }

    void take(const Step& step, const LoadStep& what) {
        Phase phase = begin(step, PhaseKind::Load);
        Bytes read;
        for (const ModelIndex index : what.models) {
            const ProgramModel& m = model(index);
            if (!m.known()) {
                phase.reasons.push_back(fmt::format("{} is not forecast: {}{}",
                                                    model_role_name(m.role), m.why_unknown,
                                                    weights_text(m)));
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
                    add_movement(moved, policy().load({.models = {{entry->handle, {}}},
                                                       .minimum = {},
                                                       .whole = true}));
            }
        finish(std::move(phase), moved, {}, {});
        reading_ = Bytes(0);
    }

    void take(const Step&, const CpuStep&) {}

    void take(const Step& step, const UnknownStep& what) {
        unknown_ = true;
        Phase phase = begin(step, PhaseKind::Unknown);
        phase.reasons.push_back(what.reason);
        forecast_.phases.push_back(std::move(phase));
    }

    // --- phases ------------------------------------------------------------------------------

    static Phase begin(const Step& step, PhaseKind kind) {
        Phase phase;
        phase.kind = kind;
        phase.node_id = step.node_id;
        phase.class_type = step.class_type;
        phase.reasons = step.notes;
        return phase;
    }

    static void add_movement(Movement& sum, Movement more) {
        sum.loaded_bytes += more.loaded_bytes;
        sum.evicted_bytes += more.evicted_bytes;
        sum.merge_peak = std::max(sum.merge_peak, more.merge_peak);
        sum.evicted.insert(sum.evicted.end(), more.evicted.begin(), more.evicted.end());
    }

    // A phase whose model is not known: exact weights may be, what it allocates is not.
    void unknown_phase(Phase phase, const std::string& why) {
        unknown_ = true;
        phase.kind = PhaseKind::Unknown;
        phase.reasons.push_back(why);
        forecast_.unknown_nodes.push_back(
            fmt::format("{} {}: {}", phase.node_id, phase.class_type, why));
        forecast_.phases.push_back(std::move(phase));
    }

    void take(const Step& step, const TextEncodeStep& what) {
        Phase phase = begin(step, PhaseKind::TextEncode);
        const LiveModel* te = live(what.text_encoder.model);
        if (te == nullptr)
            return unknown_phase(std::move(phase), why_missing(what.text_encoder.model));
        const LoadRequest request{.models = {use_of(*te, what.text_encoder)}, .minimum = {}};
        Movement moved = policy().load(request);
        const ProgramModel& m = model(what.text_encoder.model);
        const Activity activity =
            text_encode_activity(m, what.runs, server_.flags, device_, rules_);
        add_movement(moved, compute(activity, {te->handle}));
        phase.runs_on_card = te->placement.runs_on == Place::Card;
        phase.compute = te->types.compute;
        explain_loras(phase, what.text_encoder);
        int longest = 0;
        for (const EncoderRun& run : what.runs) {
            phase.batch_per_forward = std::max(phase.batch_per_forward, run.rows);
            longest = std::max(longest, run.rows * run.tokens);
        }
        if (!phase.runs_on_card) phase.reasons.emplace_back("text encoders run on the CPU");
        constexpr int kChunk = 77;
        if (longest > kChunk)
            phase.reasons.push_back(
                fmt::format("the text and its padding take {} tokens (estimated)", longest));
        finish(std::move(phase), moved, activity, {te->handle});
    }

    void take(const Step& step, const TextGenerateStep& what) {
        Phase phase = begin(step, PhaseKind::Other);
        const LiveModel* te = live(what.text_encoder.model);
        if (te == nullptr)
            return unknown_phase(std::move(phase), why_missing(what.text_encoder.model));
        const ProgramModel& m = model(what.text_encoder.model);
        const std::optional<Activity> activity =
            text_generate_activity(m, what, server_.flags, device_, rules_);
        if (!activity)
            return unknown_phase(std::move(phase),
                                 fmt::format("writing text with {} is not forecast", file_list(m)));
        Movement moved = policy().load({.models = {use_of(*te, what.text_encoder)}, .minimum = {}});
        add_movement(moved, compute(*activity, {te->handle}));
        phase.runs_on_card = te->placement.runs_on == Place::Card;
        phase.compute = te->types.compute;
        phase.reasons.push_back(fmt::format(
            "{} tokens are written after {} (estimated){}", what.new_tokens, what.prompt_tokens,
            what.exact ? "" : ": at most, it takes less time where the text ends before"));
        if (!phase.runs_on_card) phase.reasons.emplace_back("text encoders run on the CPU");
        finish(std::move(phase), moved, *activity, {te->handle});
    }

    std::string why_missing(ModelIndex index) const {
        if (index < 0) return "no model is connected";
        const ProgramModel& m = model(index);
        return m.known() ? fmt::format("{} was not loaded", file_list(m))
                         : m.why_unknown + weights_text(m);
    }

    LoadRequest::Model use_of(const LiveModel& entry, const ModelUse& use) {
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

    // The hints of ControlNets that want latents, which ComfyUI encodes in the first step.
    void encode_hints(const Step& step, const SampleStep& what, const LatentFormat& format) {
        std::set<ModelIndex> encoded;
        for (const ConditionUse& use : conditions_of(what))
            for (const ModelIndex index : use.controlnets) {
                const LiveModel* control = live(index);
                if (control == nullptr || use.hint_vae < 0 || !encoded.insert(index).second)
                    continue;
                if (!model(index).built.front()->controlnet->encodes_hint()) continue;
                const LatentShape latent = taken_by(what.latent, format);
                take(step, VaeStep{.vae = {.model = use.hint_vae},
                                   .direction = VaeDirection::Encode,
                                   .image = {1, latent.height * latent.pixels_per_cell,
                                             latent.width * latent.pixels_per_cell}});
            }
    }

    // Weights that are patched on their way to the card take their copies besides.
    Movement compute(const Activity& activity, const std::vector<ModelHandle>& in_use) {
        Bytes copies = activity.cast;
        for (const Stay& stay : policy().stays())
            if (std::ranges::find(in_use, stay.handle) != in_use.end())
                copies = std::max(copies, Bytes(stay.patched_copy));
        return policy().compute((activity.activations + copies).count);
    }

    void explain_loras(Phase& phase, const ModelUse& use) const {
        for (const LoraIndex index : use.loras)
            phase.reasons.push_back(
                lora(index).elements > 0
                    ? fmt::format("the LoRA {} ({}) changes the weights where they lie",
                                  lora(index).file, to_text(lora(index).bytes))
                    : fmt::format("the LoRA {} was not seen: taken to patch the linear layers of "
                                  "the blocks, its own matrices are not counted",
                                  lora(index).file));
    }

    // Where conditions run in a part of the steps only, costs go by how many steps those are.
    static std::int64_t times_of(const PlannedForward& planned, const PlannedStep& plan,
                                 int steps) {
        constexpr int kTimesMax = 64;  // chosen: as many shares of costs are told apart
        if (!plan.ranged) return 1;
        const double share = planned.share / plan.windows;
        return std::clamp<std::int64_t>(std::llround(share * std::min(steps, kTimesMax)), 1,
                                        kTimesMax);
    }

    // What patches keep on the card through every forward.
    void keep_beside(Phase& phase, const SampleStep& what, const BuiltFile& file,
                     const LatentShape& latent, const Types& types, Activity& activity) {
        const auto kept = kept_bytes(what, program_, file.contents->denoiser->config, latent,
                                     bytes_per_element(types.compute));
        for (const LoraIndex index : what.patches.beside)
            if (lora(index).elements == 0)
                add_unknown(phase, fmt::format("{} lies beside the model on the card, and the file "
                                               "was not seen",
                                               lora(index).file));
        if (!kept)
            add_unknown(phase,
                        "a patch keeps hidden states of the network from step to step, and their "
                        "size is not known");
        if (kept.value_or(0) == 0) return;
        activity.activations += Bytes(*kept);
        phase.reasons.push_back(fmt::format(
            "{} stay on the card from forward to forward: what patches of the model keep",
            to_text(Bytes(*kept))));
    }

    // A phase that is forecast but for something that nobody knows.
    void add_unknown(Phase& phase, const std::string& why) {
        unknown_ = true;
        phase.reasons.push_back(why);
        forecast_.unknown_nodes.push_back(
            fmt::format("{} {}: {}", phase.node_id, phase.class_type, why));
    }

    static void explain_plan(Phase& phase, const PlannedStep& plan, const SampleStep& what) {
        phase.reasons.insert(phase.reasons.end(), what.patches.notes.begin(),
                             what.patches.notes.end());
        if (plan.windows > 1)
            phase.reasons.push_back(
                fmt::format("the latent is sampled in {} windows of {} cells, one after the other",
                            plan.windows, what.patches.window->length));
        if (plan.ranged)
            phase.reasons.emplace_back(
                "some conditions run in a part of the steps: the peak is that of the part with "
                "the most");
    }

    void take(const Step& step, const SampleStep& asked) {
        SampleStep what = asked;
        // Windows took no frame before them along in older versions.
        if (what.patches.window && server_.version < kNewerTables)
            what.patches.window->leading = false;
        if (live(what.unet.model) != nullptr) {
            const modelfile::Contents& contents = *model(what.unet.model).built.front()->contents;
            encode_hints(
                step, what,
                family_traits(contents.family, contents.denoiser->config, server_.version).latent);
        }
        Phase phase = begin(step, PhaseKind::Sample);
        const LiveModel* unet = live(what.unet.model);
        if (unet == nullptr) return unknown_phase(std::move(phase), why_missing(what.unet.model));
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
                if (control == nullptr) return unknown_phase(std::move(phase), why_missing(index));
                controlnets[index] = model(index).built.front()->controlnet.get();
                constexpr int kReferences = 3;  // the node's output and the copy in the conditions
                policy().set_references(control->handle, kReferences);
                request.models.push_back({control->handle, {}});
                in_use.push_back(control->handle);
            }

        const ModelPatchNetwork* patch = nullptr;
        for (const ModelIndex index : what.unet.additions) {
            const LiveModel* addition = live(index);
            if (addition == nullptr) return unknown_phase(std::move(phase), why_missing(index));
            const BuiltFile& patched = *model(index).built.front();
            if (patched.contents->family != file.contents->family)
                return unknown_phase(
                    std::move(phase),
                    fmt::format("{} is a patch of another network", file_list(model(index))));
            if (patch != nullptr)
                phase.reasons.emplace_back("of several model patches the walk has the last");
            patch = patched.model_patch.get();
            request.models.push_back({addition->handle, {}});
            in_use.push_back(addition->handle);
        }
        const FamilyTraits traits =
            family_traits(file.contents->family, file.contents->denoiser->config, server_.version);
        if (traits.references_unknown &&
            std::ranges::any_of(uses, [](const auto& use) { return !use.references.empty(); }))
            return unknown_phase(std::move(phase),
                                 "reference images of this network are not simulated yet");
        const SamplingEstimate estimate{.factor = traits.usage_factor,
                                        .element_bytes = bytes_per_element(unet->types.compute),
                                        .attention = attention_memory(server_.flags)};
        const LatentShape latent = taken_by(what.latent, traits.latent);
        const LatentShape window = windowed(latent, what.patches);
        if (const std::string why = why_not_walked(traits, what.latent); !why.empty())
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
            if (first.controlnets.size() > 1)
                phase.reasons.emplace_back(
                    "several ControlNets run one after the other; the walk has the first");
        }
        Activity activity = sampling_activity(*file.denoiser, file.contents->denoiser->config,
                                              forwards, unet->types, what.patches, rules_);
        keep_beside(phase, what, file, latent, unet->types, activity);
        const std::int64_t runs = sampler_forwards(what.sampler, what.steps, what.ending);
        double per_step = 0;
        for (const PlannedForward& planned : plan.forwards) per_step += planned.share;
        // A forward of one condition costs its share of the step's.
        const double more = what.patches.extra_forwards * per_step /
                            static_cast<double>(std::max<std::size_t>(1, plan.together));
        activity.costs = divided(activity.costs, activity.forwards);
        activity.forwards =
            std::llround(static_cast<double>(runs) * (per_step + std::max(0.0, more)));
        phase.compute = unet->types.compute;
        explain_loras(phase, what.unet);
        explain_plan(phase, plan, what);
        phase.batch_per_forward = 1;
        for (const StepForward& forward : forwards)
            phase.batch_per_forward =
                std::max(phase.batch_per_forward, forward.conds * forward.latent.batch);
        if (!sampler_traits(what.sampler) && !what.sampler.empty())
            phase.reasons.push_back(
                fmt::format("sampler {} is not known: one forward a step", what.sampler));
        const auto all = static_cast<std::int64_t>(plan.together);
        explain_conditions(phase, plan.together, plan.groups,
                           estimate.bytes(area * all) * kForwardMargin, free);
        add_movement(moved, compute(activity, in_use));
        finish(std::move(phase), moved, activity, in_use, Costs::PerForward);
    }

    void take(const Step& step, const VaeStep& what) {
        const bool decode = what.direction == VaeDirection::Decode;
        Phase phase = begin(step, decode ? PhaseKind::VaeDecode : PhaseKind::VaeEncode);
        const LiveModel* vae = live(what.vae.model);
        if (vae == nullptr) return unknown_phase(std::move(phase), why_missing(what.vae.model));
        const Vae& network = *model(what.vae.model).built.front()->vae;
        const bool sound = network.sound().has_value();
        if (sound != (what.sound_latents > 0))
            return unknown_phase(std::move(phase), sound ? "a VAE of sound has no images"
                                                         : "a VAE of images has no sound");
        if (!decode && !network.encodes())
            return unknown_phase(std::move(phase), "how this VAE encodes is not simulated");
        const ComputeType type = vae->types.compute;
        if (!network.knows(vae_call(what, type, rules_)))
            return unknown_phase(std::move(phase),
                                 "how this version of ComfyUI runs this VAE is "
                                 "not known");
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
                phase.reasons.push_back(fmt::format(
                    "the whole image takes {} and {} are free: ComfyUI runs out of memory and "
                    "begins again in tiles",
                    to_text(activity.activations), to_text(Bytes(policy().free_bytes()))));
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

    void take(const Step& step, const ImageEncodeStep& what) {
        Phase phase = begin(step, PhaseKind::ImageEncode);
        const LiveModel* vision = live(what.clip_vision.model);
        if (vision == nullptr)
            return unknown_phase(std::move(phase), why_missing(what.clip_vision.model));
        const ClipVisionNetwork& network =
            *model(what.clip_vision.model).built.front()->clip_vision;
        Movement moved = policy().load({.models = {{vision->handle, {}}}, .minimum = {}});
        const Activity activity = image_encode_activity(network, what.image, vision->types, rules_);
        add_movement(moved, policy().compute((activity.activations + activity.cast).count));
        phase.runs_on_card = vision->placement.runs_on == Place::Card;
        phase.compute = vision->types.compute;
        phase.batch_per_forward = what.image.batch;
        if (!phase.runs_on_card) phase.reasons.emplace_back("image encoders run on the CPU");
        finish(std::move(phase), moved, activity, {vision->handle});
    }

    void take(const Step& step, const UpscaleStep& what) {
        Phase phase = begin(step, PhaseKind::Upscale);
        const LiveModel* upscaler = live(what.upscaler.model);
        if (upscaler == nullptr)
            return unknown_phase(std::move(phase), why_missing(what.upscaler.model));
        const Upscaler& network = *model(what.upscaler.model).built.front()->upscaler;
        const ModelHandle handle = upscaler->handle;
        const double estimate = upscale_estimate(network, what.image);
        const bool managed = server_.version >= kUpscalerIsManaged;
        const auto weights = static_cast<double>(policy().model(handle).size_bytes);
        Movement moved = managed ? policy().load({.models = {{handle, {}}},
                                                  .required = estimate,
                                                  .minimum = {},
                                                  .whole = true})
                                 : policy().visit(handle, weights + estimate);
        const UpscalePlan plan =
            plan_upscale(network, what.image, rules_,
                         [&](const Activity& activity) { return has_room(activity, *upscaler); });
        phase.tiled = plan.activity.forwards > what.image.batch;
        phase.compute = ComputeType::Float32;
        phase.reasons.push_back(fmt::format("enlarges {} times, in tiles of {} pixels at most",
                                            network.scale(), plan.tile));
        if (plan.failed.forwards > 0)
            phase.reasons.push_back(fmt::format(
                "a larger tile takes {} and {} are free: ComfyUI runs out of memory and halves it",
                to_text(plan.failed.activations), to_text(Bytes(policy().free_bytes()))));
        add_movement(moved, policy().compute(plan.activity.activations.count));
        finish(std::move(phase), moved, plan.activity, {handle});
        if (plan.failed.forwards > 0 && plan.fits) fill_card(plan.failed, largest_unit(handle));
        if (!managed && !died_) policy().leave(handle);
    }

    void take(const Step& step, const LatentUpscaleStep& what) {
        Phase phase = begin(step, PhaseKind::Upscale);
        const LiveModel* upscaler = live(what.upscaler.model);
        if (upscaler == nullptr)
            return unknown_phase(std::move(phase), why_missing(what.upscaler.model));
        const LatentUpscaler& network = *model(what.upscaler.model).built.front()->latent_upscaler;
        if (what.latent.channels != network.config().in_channels)
            return unknown_phase(
                std::move(phase),
                fmt::format("a latent of {} channels, where the upsampler takes {}",
                            what.latent.channels, network.config().in_channels));
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

    // The last phase began with an attempt that filled the card and failed.
    void fill_card(const Activity& attempt, Bytes module) {
        Phase& last = forecast_.phases.back();
        const Bytes attempted = attempt.activations + module;
        last.peak = forecast_.card_limit;
        last.reserved = forecast_.card_limit;
        last.floor = std::max(last.floor, attempted);
        last.working_set = attempt.held(attempted);
        fell_back_ = true;
    }

    // ComfyUI does not offload parts of VAEs of sound, nor of SeedVR2's.
    static bool loads_whole(VaeKind kind, bool sound) {
        if (kind == VaeKind::MiniMaxSound) return false;
        return sound || kind == VaeKind::Seedvr2;
    }

    Bytes largest_unit(ModelHandle handle) {
        const LoadableModel& m = policy().model(handle);
        return m.units.empty() ? Bytes(0) : Bytes(m.units.front().bytes);
    }

    // Weights that the estimate left on the card stay there while the phase runs; pages would
    // leave.
    bool has_room(const Activity& activity, const LiveModel& vae) {
        const Bytes need = activity.activations + activity.cast;
        if (dynamic_) return need + largest_unit(vae.handle) <= forecast_.card_limit;
        return need.count <= policy().free_bytes();
    }

    // --- what a phase came to ----------------------------------------------------------------

    enum class Costs : std::uint8_t { OfAllForwards, PerForward };

    void finish(Phase phase, const Movement& moved, const Activity& activity,
                const std::vector<ModelHandle>& in_use, Costs costs = Costs::OfAllForwards) {
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
            Residency residency{
                .model = policy().model(stay.handle).name,
                .size = Bytes(stay.size_bytes),
                .resident = Bytes(stay.card_bytes),
                .streamed = Bytes(used ? stay.streamed_bytes : 0),
                .largest_streamed = Bytes(used ? stay.largest_streamed : 0),
                .streamed_modules = used ? static_cast<int>(stay.streamed_count) : 0,
                .in_use = used};
            if (used) {
                phase.streamed_per_forward += residency.streamed;
                in_flight =
                    std::max({in_flight, residency.largest_streamed, Bytes(stay.patched_copy)});
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
        phase.reserved =
            std::max(phase.peak, std::min(held + phase.working_set, forecast_.card_limit));
        phase.host = host_memory();
        explain_weights(phase, moved, policy());
        if (phase.runs_on_card && !in_use.empty() && phase.peak > forecast_.card_limit) die(phase);
        forecast_.phases.push_back(std::move(phase));
    }

    // Outputs of nodes that have begun before this step stay until the next job, unless the cache
    // is off: then only those of the node at hand and the one before it.
    void begin_outputs(std::size_t step) {
        for (;
             next_output_ < program_.outputs.size() && program_.outputs[next_output_].step <= step;
             ++next_output_) {
            const Bytes bytes = program_.outputs[next_output_].bytes;
            outputs_ = server_.flags.keeps_outputs ? outputs_ + bytes : last_output_ + bytes;
            last_output_ = bytes;
        }
    }

    HostMemory host_memory() {
        HostMemory host;
        host.weights = Bytes(policy().host_bytes());
        host.mapped = Bytes(policy().mapped_bytes()) + reading_;
        for (const ProgramLora& one : program_.loras) host.loras += one.bytes;
        host.outputs = outputs_;
        return host;
    }

    // ComfyUI ends the prompt here and unloads everything; what would follow is forecast all the
    // same.
    void die(Phase& phase) {
        phase.reasons.push_back(fmt::format("{} are needed, the card has {}: out of memory",
                                            to_text(phase.peak), to_text(forecast_.card_limit)));
        died_ = true;
        (void)policy().unload_all();
    }

    void warn_of_host() {
        if (!device_.host_ram_known) return;
        const Bytes free = device_.host_ram_free;
        if (forecast_.host > free)
            forecast_.warnings.push_back(
                fmt::format("the job holds {} in the machine's memory and {} are free: it will "
                            "swap, or the system ends it",
                            to_text(forecast_.host), to_text(free)));
        else if (dynamic_ && forecast_.host_mapped > free)
            forecast_.warnings.push_back(
                fmt::format("weights and outputs take {} of the machine's memory and {} are free: "
                            "weights are read from the disk again",
                            to_text(forecast_.host_mapped), to_text(free)));
    }

    void judge() {
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
        if (died_)
            forecast_.verdict = Verdict::WillNotFit;
        else if (unknown_ || program_.steps.empty())  // without steps: no node that ComfyUI runs
            forecast_.verdict = Verdict::Unknown;
        else
            forecast_.verdict = slow ? Verdict::FitsSlowly : Verdict::Fits;
    }

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
    bool died_ = false;
    bool fell_back_ = false;
};

}  // namespace

Forecast simulate_program(const Program& program, const Server& server, const Device& device,
                          SessionState* session) {
    SessionState fresh;
    return Simulation(program, server, device, (session != nullptr ? *session : fresh).content())
        .run();
}

}  // namespace plimsoll::memory
