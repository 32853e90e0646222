// SPDX-License-Identifier: Apache-2.0
//
// Sampling: what is loaded for it, how conditions are batched, and step after step on the card.
#include "simulator/card/estimate.h"
#include "simulator/nodes/card_work.h"
#include "simulator/nodes/registry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace plimsoll::simulator {

namespace {

constexpr double kBatchFactor =
    1.5;                             // room that ComfyUI wants for a joint forward, of its estimate
constexpr int kTokenStretchMax = 4;  // conditions are padded to a common length at most so often
constexpr int kPreviewSide = 512;    // pixels on the long side
constexpr std::int64_t kControlKernels = 480;  // a ControlNet is the encoder half of a UNet

// What one KSampler was asked for.
struct Sampling {
    const ModelValue& model;
    const Conditioning& positive;
    const Conditioning& negative;
    const LatentValue& latent;
    std::uint64_t seed = 0;
    int total_steps = 20;  // of the whole schedule
    int first_step = 0;
    int last_step = 20;
    double cfg = 8;
    double denoise = 1;
    std::string sampler;
    std::string scheduler;
    double left_over_noise = 0;  // 0 to 1, of an unfinished schedule
    bool adds_noise = true;

    [[nodiscard]] int steps() const { return std::max(0, last_step - first_step); }
};

std::int64_t cells_of(const ModelValue& model, const LatentValue& latent) {
    // SDXL's peak lies one level down, where odd sides are rounded up (recorded: 520 x 520).
    const auto side = [&](int cells) {
        return model.network.starts_with("sdxl") ? (cells + 1) / 2 * 2 : cells;
    };
    return std::int64_t{side(latent.width)} * side(latent.height);
}

double estimate(const Sampling& sampling, std::int64_t batch, const LaunchFlags& flags) {
    return estimate_forward_bytes(batch,
                                  std::int64_t{sampling.latent.width} * sampling.latent.height,
                                  sampling.model.element_bytes, sampling.model.factor, flags);
}

bool lengths_fit(int a, int b) {
    return std::lcm(a, b) / std::min(a, b) <= kTokenStretchMax;
}

// The conditions of one forward: how many run at once, and with what ControlNet.
struct Forward {
    std::int64_t conditions = 0;
    std::shared_ptr<const ControlNetValue> control;
};

// _calc_cond_batch of ComfyUI 0.3.64: groups what can be concatenated, and takes as many at once as
// its estimate says there is room for.
std::vector<Forward> plan_forwards(const Sampling& sampling, const Machine& machine) {
    std::vector<Condition> waiting = sampling.positive.all;
    // At exactly 1 the negative prompt has no weight and is not run.
    if (std::abs(sampling.cfg - 1) > 1e-9)
        waiting.insert(waiting.end(), sampling.negative.all.begin(), sampling.negative.all.end());
    std::vector<Forward> forwards;
    const auto batch = static_cast<std::int64_t>(sampling.latent.items.size());
    while (!waiting.empty()) {
        std::vector<std::size_t> group;
        for (std::size_t i = 0; i < waiting.size(); ++i)
            if (waiting[i].control == waiting[0].control &&
                lengths_fit(waiting[0].tokens, waiting[i].tokens))
                group.push_back(i);
        std::size_t count = 1;
        for (std::size_t part = 1; part <= group.size(); ++part) {
            const std::size_t candidate = std::max<std::size_t>(1, group.size() / part);
            const double needed =
                estimate(sampling, static_cast<std::int64_t>(candidate) * batch, machine.flags);
            if (needed * kBatchFactor < static_cast<double>(machine.memory.free())) {
                count = candidate;
                break;
            }
        }
        forwards.push_back({static_cast<std::int64_t>(count), waiting[0].control});
        for (std::size_t i = count; i-- > 0;)
            waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(group[i]));
    }
    return forwards;
}

Activation operator+(Activation a, const Activation& b) {
    a.peak_bytes += b.peak_bytes;
    return a;
}

std::expected<NetworkRun, NodeFailure> price_forward(const Sampling& sampling,
                                                     const Forward& forward) {
    const ModelValue& model = sampling.model;
    const auto items = static_cast<std::int64_t>(sampling.latent.items.size());
    RunQuestion question{.network = model.network,
                         .phase = "forward",
                         .element_bytes = model.element_bytes,
                         .extent = cells_of(model, sampling.latent),
                         .batch = forward.conditions * items};
    auto activation = activation_of(question, model.share);
    if (!activation) return std::unexpected(activation.error());
    // What joining and splitting the conditions adds is recorded for the base networks.
    question.network = model.network.starts_with("sdxl") ? "sdxl" : "sd15";
    question.element_bytes = 2;
    question.phase = "guidance_extra";
    if (forward.conditions > 1)
        if (const auto extra = activation_of(question, model.share))
            activation->peak_bytes += extra->peak_bytes;
    const Weights& weights = *model.patcher.weights;
    NetworkRun run{
        .device = weights.load_device,
        .activation = *activation,
        .pcie_bytes = weights.streamed_bytes(),
        .streamed_peak_bytes = weights.largest_streamed_bytes(),
        .least_seconds = model.forward_seconds + model.forward_seconds_per_cell *
                                                     static_cast<double>(question.extent * items),
        .workspace_share = kForwardWorkspace};
    // Patched weights that are streamed are patched anew on every use: two more copies.
    if (model.lora_count > 0) run.streamed_peak_bytes *= 3;
    if (forward.control) {
        question.phase = "control_extra";
        if (const auto extra = activation_of(question, model.share))
            run.activation = run.activation + *extra;
        question.network = forward.control->network;
        question.phase = "forward";
        if (const auto control = activation_of(question)) {
            run.activation.flops += control->flops;
            run.activation.kernels += kControlKernels;
        }
        run.pcie_bytes += forward.control->weights->streamed_bytes();
    }
    return run;
}

NodeStep load_for(NodeContext& context, const Sampling& sampling) {
    const auto batch = static_cast<std::int64_t>(sampling.latent.items.size());
    ModelManager::LoadRequest request{
        .models = {sampling.model.patcher},
        .memory_required = estimate(sampling, 2 * batch, context.machine.flags),
        .minimum_memory_required = estimate(sampling, batch, context.machine.flags)};
    for (const auto* const side : {&sampling.positive, &sampling.negative})
        for (const Condition& condition : side->all) {
            if (!condition.control) continue;
            const auto same = [&](const Patcher& one) {
                return one.weights == condition.control->weights;
            };
            if (std::ranges::none_of(request.models, same))
                request.models.push_back({condition.control->weights, 0});
        }
    return load_models(context, request);
}

// The picture that the latents stand for after this sampling.
std::vector<Recipe> make_recipes(const Sampling& sampling) {
    std::vector<Recipe> recipes;
    std::string positive;
    std::string negative;
    for (const Condition& condition : sampling.positive.all) positive += condition.text + "\n";
    for (const Condition& condition : sampling.negative.all) negative += condition.text + "\n";
    int index = 0;
    for (const Recipe& earlier : sampling.latent.items) {
        Recipe recipe;
        recipe.positive = positive;
        recipe.negative = negative;
        recipe.model = sampling.model.name;
        recipe.seed = sampling.seed;
        recipe.index = index++;
        recipe.steps = std::max(1, sampling.steps());
        recipe.cfg = sampling.cfg;
        recipe.denoise = sampling.denoise;
        recipe.sampler = sampling.sampler;
        recipe.scheduler = sampling.scheduler;
        recipe.native_side = sampling.model.native_side;
        recipe.left_over_noise = 0.5 * sampling.left_over_noise;
        const bool continues = earlier.steps > 0 || earlier.begins_with_something();
        if (continues && earlier.steps == 0) recipe.start = earlier.start;
        if (continues && earlier.steps > 0) recipe.before = std::make_shared<const Recipe>(earlier);
        // A later pass refines: the composition is that of the first one.
        if (continues && recipe.denoise < 1 && earlier.composed_width > 0) {
            recipe.composed_width = earlier.composed_width;
            recipe.composed_height = earlier.composed_height;
        } else {
            recipe.composed_width = sampling.latent.width * 8;
            recipe.composed_height = sampling.latent.height * 8;
        }
        recipes.push_back(std::move(recipe));
    }
    return recipes;
}

// Latent2RGB: one pixel a cell, enlarged.
Preview make_preview(const Recipe& recipe, const LatentValue& latent, int done, int total) {
    const int width = std::max(1, latent.width);
    const int height = std::max(1, latent.height);
    const double scale = static_cast<double>(kPreviewSide) / std::max(width, height);
    return {
        resize(render_preview(recipe, width, height, done, total),
               std::max(1, static_cast<int>(std::lround(width * scale))),
               std::max(1, static_cast<int>(std::lround(height * scale))), Resampling::Bilinear),
        false};
}

NodeOutcome sample(NodeContext& context, const Sampling& sampling) {
    LatentValue result = sampling.latent;
    const int steps = sampling.steps();
    if (steps == 0 || sampling.denoise <= 0 || result.items.empty())
        return NodeResult{{std::move(result)}, std::nullopt};
    PLIMSOLL_STEP(load_for(context, sampling));
    std::vector<NetworkRun> runs;
    for (const Forward& forward : plan_forwards(sampling, context.machine)) {
        auto run = price_forward(sampling, forward);
        if (!run) return std::unexpected(run.error());
        // Latent, noise and the sampler's state stay on the card: five fp32 copies.
        run->kept_bytes = 5 * 16 * std::int64_t{result.width} * result.height *
                          static_cast<std::int64_t>(result.items.size());
        runs.push_back(*run);
    }
    const std::vector<Recipe> recipes = make_recipes(sampling);
    const bool previews = context.machine.flags.preview != PreviewMethod::None;
    for (int step = 0; step < steps; ++step) {
        for (int i = 0; i < forwards_per_step(sampling.sampler); ++i)
            for (const NetworkRun& run : runs) PLIMSOLL_STEP(run_network(context, run));
        std::optional<Preview> preview;
        if (previews) preview = make_preview(recipes.front(), result, step + 1, steps);
        PLIMSOLL_STEP(context.progress(step + 1, steps, preview ? &*preview : nullptr));
    }
    result.items = recipes;
    return NodeResult{{std::move(result)}, std::nullopt};
}

NodeOutcome ksampler(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(latent, LatentValue, "latent_image", "get");
    PLIMSOLL_LINKED(model, ModelValue, "model", "get_model_object");
    PLIMSOLL_LINKED(positive, Conditioning, "positive", "copy");
    PLIMSOLL_LINKED(negative, Conditioning, "negative", "copy");
    const int steps = inputs.whole("steps", 20);
    return sample(context, {.model = model,
                            .positive = positive,
                            .negative = negative,
                            .latent = latent,
                            .seed = inputs.seed("seed"),
                            .total_steps = steps,
                            .last_step = steps,
                            .cfg = inputs.number("cfg", 8),
                            .denoise = inputs.number("denoise", 1),
                            .sampler = inputs.text("sampler_name"),
                            .scheduler = inputs.text("scheduler")});
}

NodeOutcome ksampler_advanced(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(latent, LatentValue, "latent_image", "get");
    PLIMSOLL_LINKED(model, ModelValue, "model", "get_model_object");
    PLIMSOLL_LINKED(positive, Conditioning, "positive", "copy");
    PLIMSOLL_LINKED(negative, Conditioning, "negative", "copy");
    const int steps = inputs.whole("steps", 20);
    const int last = std::min(steps, inputs.whole("end_at_step", steps));
    const int first = std::clamp(inputs.whole("start_at_step"), 0, last);
    const bool leaves_noise = inputs.text("return_with_leftover_noise") == "enable";
    const double done = static_cast<double>(last) / std::max(1, steps);
    return sample(context, {.model = model,
                            .positive = positive,
                            .negative = negative,
                            .latent = latent,
                            .seed = inputs.seed("noise_seed"),
                            .total_steps = steps,
                            .first_step = first,
                            .last_step = last,
                            .cfg = inputs.number("cfg", 8),
                            // Starting late is denoising less.
                            .denoise = 1 - static_cast<double>(first) / std::max(1, steps),
                            .sampler = inputs.text("sampler_name"),
                            .scheduler = inputs.text("scheduler"),
                            .left_over_noise = leaves_noise ? 1 - done : 0,
                            .adds_noise = inputs.text("add_noise") == "enable"});
}

constexpr std::array<NodeEntry, 2> kNodes{{
    {"KSampler", ksampler},
    {"KSamplerAdvanced", ksampler_advanced},
}};

}  // namespace

std::span<const NodeEntry> sampler_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
