// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/activity.h"

#include "memory/built_models.h"
#include "memory/networks/clip_text.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/text/text_encoder.h"
#include "memory/networks/vae.h"
#include "memory/simulation/unet_patches.h"

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

// A walk with weight copies apart, and where weights are copied one with them among the tensors.
void run(Activity& activity, const Types& types, ForwardRules rules, std::int64_t times,
         const std::function<Walk(const ForwardRules&)>& walk) {
    rules.accounting = Accounting::CastsApart;
    const Walk apart = walk(rules);
    if (types.storage == types.compute) {
        activity.then(apart, apart, times);
        return;
    }
    rules.accounting = Accounting::CastsIncluded;
    activity.then(apart, walk(rules), times);
}

}  // namespace

void Activity::then(const Walk& walk, const Walk& with_casts, std::int64_t times) {
    forwards += times;
    for (std::size_t i = 0; i < kOpClasses; ++i)
        costs.by_class[i] += walk.costs.by_class[i] * times;
    const Bytes tensors = walk.peak + walk.input;
    const Bytes copies = std::max(Bytes(0), with_casts.peak - walk.peak);
    if (tensors + copies <= activations + cast) return;
    activations = tensors;
    cast = copies;
    peak_module = with_casts.peak_module;
    peak_op = with_casts.peak_op;
    top_live = with_casts.top_live;
}

Bytes Activity::held(Bytes tensors) const {
    return Bytes(static_cast<std::int64_t>(static_cast<double>(tensors.count) * held_per_tensor));
}

Activity walk_in_types(const Types& types, const ForwardRules& rules,
                       const std::function<Walk(const ForwardRules&)>& walk) {
    Activity activity;
    run(activity, types, rules, 1, walk);
    return activity;
}

OpCosts divided(OpCosts costs, std::int64_t by) {
    if (by < 2) return costs;
    for (OpCost& cost : costs.by_class)
        cost = {cost.flops / by, cost.bytes_moved / by, cost.kernels / by, cost.scores / by};
    return costs;
}

ForwardRules forward_rules(const Server& server, const Device& device) {
    constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
    ForwardRules rules;
    rules.card_gib = static_cast<double>(device.total.count) / kGib;
    const ComfyVersion& v = server.version;
    rules.comfyui_minor_key = v.major * 1'000'000 + v.minor * 1000 + v.patch;
    return rules;
}

namespace {

void encode_clip(Activity& activity, const ClipNetwork& clip, const EncoderRun& encoder,
                 const Types& types, bool alone, const ForwardRules& rules) {
    // SD 1.x takes the last layer; SD 2.x and SDXL the last but one.
    const bool last_layer = alone && clip.config().name == "clip_l";
    ClipCall call{.batch = encoder.rows,
                  .tokens = clip.config().positions,
                  .storage = types.storage,
                  .compute = types.compute,
                  .stop_at_hidden_minus_two = !last_layer};
    run(activity, types, rules, 1, [&](const ForwardRules& with) {
        call.rules = with;
        return simulate_text_encode(clip, call);
    });
}

void encode_text(Activity& activity, const TextNetwork& text, const EncoderRun& encoder,
                 const Types& types, const DecoderOutput* output, const ForwardRules& rules) {
    TextCall call{.batch = encoder.rows,
                  .tokens = encoder.tokens,
                  .storage = types.storage,
                  .compute = types.compute,
                  .rules = {},
                  .output = output};
    run(activity, types, rules, 1, [&](const ForwardRules& with) {
        call.rules = with;
        return simulate_text_encode(text, call);
    });
}

}  // namespace

Activity text_encode_activity(const ProgramModel& model, std::span<const EncoderRun> runs,
                              const LaunchFlags& flags, const Device& device,
                              const ForwardRules& rules) {
    Activity activity;
    std::vector<const BuiltTextEncoder*> encoders;
    for (const auto& file : model.built)
        for (const BuiltTextEncoder& encoder : file->text_encoders) encoders.push_back(&encoder);
    for (std::size_t i = 0; i < encoders.size(); ++i) {
        const BuiltTextEncoder& encoder = *encoders[i];
        const EncoderRun how = i < runs.size() ? runs[i] : EncoderRun{};
        if (how.rows == 0) continue;
        const Types types = types_on(device, encoder, flags);
        if (encoder.clip)
            encode_clip(activity, *encoder.clip, how, types, encoders.size() == 1, rules);
        else
            encode_text(activity, *encoder.text, how, types, output_for(encoder, model.purpose),
                        rules);
    }
    return activity;
}

std::optional<Activity> text_generate_activity(const ProgramModel& model,
                                               const TextGenerateStep& step,
                                               const LaunchFlags& flags, const Device& device,
                                               const ForwardRules& rules) {
    const TextNetwork* writer = nullptr;
    Types types;
    for (const auto& file : model.built)
        for (const BuiltTextEncoder& encoder : file->text_encoders) {
            if (!encoder.text || !encoder.text->writes()) continue;  // of several the last one
            writer = encoder.text.get();
            types = types_of(encoder, flags);
        }
    if (writer == nullptr) return std::nullopt;
    // Unlike encoding, writing is not done in fp32 where the card has bf16.
    types.compute = computes_bf16(device, flags) ? ComputeType::BFloat16 : ComputeType::Float32;
    GenerateCall call{.batch = step.prompts,
                      .prompt_tokens = step.prompt_tokens,
                      .new_tokens = step.new_tokens,
                      .masked = step.prompts > 1,
                      .storage = types.storage,
                      .compute = types.compute,
                      .rules = {}};
    Activity activity;
    const auto forwards = [&](const GenerateStep& what, std::int64_t times) {
        run(activity, types, rules, times, [&](const ForwardRules& with) {
            call.rules = with;
            return simulate_text_generate(*writer, call, what);
        });
    };
    forwards({.past = 0, .tokens = step.prompt_tokens}, 1);
    if (step.new_tokens < 2) return activity;
    // What a word costs grows evenly with the text before it: all cost what the middle one does.
    // The last one has the most to look back at.
    forwards({.past = step.prompt_tokens + step.new_tokens / 2, .tokens = 1}, step.new_tokens - 1);
    forwards({.past = step.prompt_tokens + step.new_tokens - 1, .tokens = 1}, 0);
    return activity;
}

Activity sampling_activity(const Denoiser& unet, const modelfile::DenoiserConfig& config,
                           std::span<const StepForward> forwards, const Types& types,
                           const SamplingPatches& patches, const ForwardRules& rules) {
    Activity activity;
    const auto* patched =
        patches_forward(config, patches) ? std::get_if<modelfile::UnetConfig>(&config) : nullptr;
    for (const StepForward& forward : forwards) {
        const LatentShape& latent = forward.latent;
        const bool masked = latent.kept > 0 || latent.guides > 0;
        StepCall call{.entry = StepEntry::SamplingFunction,
                      .batch = forward.conds * latent.batch,
                      .latent_height = latent.height,
                      .latent_width = latent.width,
                      .tokens = forward.tokens,
                      .storage = types.storage,
                      .compute = types.compute,
                      .conds = forward.conds,
                      .controlnet = forward.controlnet,
                      .patch = forward.patch,
                      .latent_frames = latent.frames,
                      .audio_latents = latent.sound,
                      .timestep_per_frame = masked,
                      .timestep_per_token = masked};
        if (forward.lyrics > 0) call.lyrics = forward.lyrics;
        for (const LatentShape& reference : forward.references)
            call.references.push_back({reference.frames, reference.height, reference.width});
        call.reference_method = forward.reference_method;
        run(activity, types, rules, forward.times, [&](const ForwardRules& with) {
            call.rules = with;
            return patched != nullptr ? simulate_patched_step(unet, *patched, patches, call)
                                      : simulate_step(unet, call);
        });
    }
    return activity;
}

namespace {

// Bytes that the allocator holds for each byte that tensors take, where there is room: kernels'
// workspaces and segments. Slopes over the batch of 512 x 512 Stable Diffusion on A10, A100 and
// A6000 (public measurements of memory_reserved, PyTorch 1.13): 1.04 GiB an image decoded against
// 0.31 GiB of tensors, 0.149 GiB an image and step against 0.108. The same rows show that both
// shrink to what the card has: 16 images decode on a V100 of 16 GB in 10.1 GiB instead of 18.5.
// kHeldPerTensorOfPixels is that.
// VAEs with convolutions over time: allocated and reserved of Qwen-Image's VAE side by
// side (InvokeAI PR 9305): 1.26 to 1.27 at every size; 1.06 to 1.4 of other video VAEs.
// kHeldPerTensorOfVideo is that.

double held_per_tensor(VaeKind kind) {
    const bool images =
        kind == VaeKind::AutoencoderKl || kind == VaeKind::Flux2 || kind == VaeKind::Mage;
    return images ? kHeldPerTensorOfPixels : kHeldPerTensorOfVideo;
}

Walk walk_vae(const Vae& vae, VaeDirection direction, const VaeCall& call) {
    return direction == VaeDirection::Decode ? vae.simulate_decode(call)
                                             : vae.simulate_encode(call);
}

}  // namespace

VaeCall vae_call(const VaeStep& step, ComputeType type, const ForwardRules& rules) {
    return {.batch = 1,
            .frames = step.video ? step.image.batch : 1,
            .height = step.image.height,
            .width = step.image.width,
            .latents = step.sound_latents,
            .compute = type,
            .storage = type,
            .rules = rules};
}

Activity vae_activity(const Vae& vae, const VaeStep& step, int slice, ComputeType type,
                      const ForwardRules& rules) {
    Activity activity;
    activity.held_per_tensor = held_per_tensor(vae.kind());
    VaeCall call = vae_call(step, type, rules);
    if (step.video) {
        const Walk walk = walk_vae(vae, step.direction, call);
        activity.then(walk, walk, 1);
        return activity;
    }
    const int full = step.image.batch / slice;
    const int rest = step.image.batch % slice;
    for (const auto& [images, times] : {std::pair{slice, full}, std::pair{rest, 1}}) {
        if (images == 0 || times == 0) continue;
        call.batch = images;
        const Walk walk = walk_vae(vae, step.direction, call);
        activity.then(walk, walk, times);
    }
    return activity;
}

Activity tiled_vae_activity(const Vae& vae, VaeDirection direction, std::span<const TileRun> tiles,
                            ComputeType type, const ForwardRules& rules) {
    // Equal tiles come back in every row: each size is walked once.
    std::vector<TileRun> sizes;
    for (const TileRun& run : tiles) {
        const auto known = std::ranges::find(sizes, run.size, &TileRun::size);
        if (known == sizes.end())
            sizes.push_back(run);
        else
            known->count += run.count;
    }
    Activity activity;
    activity.held_per_tensor = held_per_tensor(vae.kind());
    const VaeGrid grid = vae.grid();
    const bool decode = direction == VaeDirection::Decode;
    const int cell = decode ? grid.pixels_per_cell : 1;
    const bool sound = vae.sound().has_value();
    for (const TileRun& run : sizes) {
        const VaeCall call{.batch = 1,
                           .frames = decode ? static_cast<int>(grid.pixel_frames(run.size.frames))
                                            : run.size.frames,
                           .height = run.size.height * cell,
                           .width = run.size.width * cell,
                           .latents = sound ? run.size.width : 0,
                           .compute = type,
                           .storage = type,
                           .rules = rules};
        const Walk walk = walk_vae(vae, direction, call);
        activity.then(walk, walk, run.count);
    }
    return activity;
}

}  // namespace plimsoll::memory
