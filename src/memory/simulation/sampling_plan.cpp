// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/sampling_plan.h"

#include "memory/simulation/step_shapes.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kSingleBytes = 4;  // fp32, in which samplers compute

// The latent's side along an axis, as PyTorch counts them: images have no axis of time.
int* side_of(LatentShape& latent, int axis) {
    const bool video = latent.frames_per_cell > 1 || latent.frames > 1;
    if (axis == 0) return &latent.batch;
    if (video && axis == 2) return &latent.frames;
    const int row = video ? 3 : 2;
    if (axis == row) return &latent.height;
    return axis == row + 1 ? &latent.width : nullptr;
}

int length_of(LatentShape latent, int axis) {
    const int* side = side_of(latent, axis);
    return side == nullptr ? 1 : *side;
}

// A side of an area; what would reach over the edge is cut.
int cut(double size, double offset, bool shares, int whole) {
    if (shares) {
        size = std::round(size * whole);
        offset = std::round(offset * whole);
    }
    return static_cast<int>(std::clamp(size, 1.0, std::max(1.0, whole - offset)));
}

LatentShape cropped(LatentShape latent, const ConditionUse& use) {
    if (!use.area) return latent;
    const ConditionArea& area = *use.area;
    latent.height = cut(area.height, area.top, area.shares, latent.height);
    latent.width = cut(area.width, area.left, area.shares, latent.width);
    if (area.frames > 0) latent.frames = cut(area.frames, 0, area.shares, latent.frames);
    return latent;
}

// Borders of the stretches of the schedule in which the same conditions run.
std::vector<double> borders_of(const std::vector<ConditionUse>& uses) {
    std::vector<double> borders{0, 1};
    for (const ConditionUse& use : uses)
        for (const double border : {use.start, use.end})
            if (border > 0 && border < 1) borders.push_back(border);
    std::ranges::sort(borders);
    const auto rest = std::ranges::unique(borders);
    borders.erase(rest.begin(), rest.end());
    return borders;
}

}  // namespace

LatentShape windowed(const LatentShape& latent, const SamplingPatches& patches) {
    LatentShape window = latent;
    if (!patches.window) return window;
    int* side = side_of(window, patches.window->axis);
    if (side == nullptr || *side <= patches.window->length) return window;
    const int lead = patches.window->leading ? 1 : 0;
    *side = std::min(*side, patches.window->length + lead);
    return window;
}

int window_count(const LatentShape& latent, const SamplingPatches& patches) {
    if (!patches.window) return 1;
    const ContextWindow& window = *patches.window;
    const int whole = length_of(latent, window.axis);
    if (whole <= window.length) return 1;
    const auto pieces = [](int length, int by) { return (length + by - 1) / std::max(1, by); };
    if (window.batched) return pieces(whole, window.length);
    const int step = std::max(1, window.length - window.overlap);
    if (!window.uniform) return 1 + pieces(whole - window.length, step);
    // Windows of neighbours, then of every second cell, every fourth...
    const int strides = std::min(
        window.stride,
        static_cast<int>(std::ceil(std::log2(static_cast<double>(whole) / window.length))) + 1);
    int count = 0;
    for (int i = 0; i < std::max(1, strides) && i < 16; ++i)
        count +=
            pieces(std::max(1, whole - window.overlap), window.length * (1 << i) - window.overlap);
    return std::max(1, count);
}

PlannedStep plan_step(const SampleStep& step, const std::vector<ConditionUse>& uses,
                      const LatentShape& latent, const FamilyTraits& traits,
                      const SamplingEstimate& estimate, double free_bytes) {
    PlannedStep plan;
    plan.windows = window_count(latent, step.patches);
    const LatentShape window = windowed(latent, step.patches);
    const std::vector<double> borders = borders_of(uses);
    plan.ranged = borders.size() > 2;
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        std::vector<int> waiting;  // active here, in order
        for (std::size_t u = 0; u < uses.size(); ++u)
            if (uses[u].start <= borders[i] && uses[u].end >= borders[i + 1])
                waiting.push_back(static_cast<int>(u));
        plan.together = std::max(plan.together, waiting.size());
        std::size_t groups = 0;
        while (!waiting.empty()) {
            // Only conditions of equally large areas can share a forward.
            const LatentShape area =
                cropped(window, uses[static_cast<std::size_t>(waiting.front())]);
            std::vector<int> alike;
            std::vector<Condition> conditions;
            int apart = 0;
            for (const int u : waiting) {
                const ConditionUse& use = uses[static_cast<std::size_t>(u)];
                if (cropped(window, use) != area) continue;
                alike.push_back(u);
                const bool negative = std::cmp_greater_equal(u, step.positive.size());
                std::uint64_t control = use.control_id;
                if (traits.alone) control = static_cast<std::uint64_t>(--apart);
                if (negative && step.patches.negative_apart) control ^= 1ULL << 63U;
                conditions.push_back({.tokens = use.tokens, .control_id = control});
            }
            std::erase_if(waiting,
                          [&](int u) { return std::ranges::find(alike, u) != alike.end(); });
            for (ForwardGroup& group : group_conditions(
                     conditions, estimated_area(traits, area, uses), estimate, free_bytes)) {
                PlannedForward forward{.conditions = {},
                                       .tokens = group.tokens,
                                       .latent = area,
                                       .share = (borders[i + 1] - borders[i]) * plan.windows};
                for (const int index : group.conditions)
                    forward.conditions.push_back(alike[static_cast<std::size_t>(index)]);
                plan.forwards.push_back(std::move(forward));
                ++groups;
            }
        }
        plan.groups = std::max(plan.groups, groups);
    }
    return plan;
}

namespace {

// Image tokens times the width of the blocks.
struct Hidden {
    const LatentShape& latent;

    [[nodiscard]] std::int64_t of(std::int64_t width, int patch) const {
        const auto pieces = [&](int side) { return std::int64_t{(side + patch - 1) / patch}; };
        return width * latent.frames * pieces(latent.height) * pieces(latent.width);
    }
    std::optional<std::int64_t> operator()(const modelfile::FluxConfig& c) const {
        return of(c.hidden_size, c.patch_size);
    }
    std::optional<std::int64_t> operator()(const modelfile::ChromaConfig& c) const {
        return of(c.hidden_size, c.patch_size);
    }
    std::optional<std::int64_t> operator()(const modelfile::QwenImageConfig& c) const {
        return of(std::int64_t{c.attention_head_dim} * c.num_attention_heads, c.patch_size);
    }
    std::optional<std::int64_t> operator()(const modelfile::Lumina2Config& c) const {
        return of(c.dim, c.patch_size);
    }
    std::optional<std::int64_t> operator()(const modelfile::WanConfig& c) const {
        constexpr int kPatch = 2;
        return of(c.dim, kPatch);
    }
    std::optional<std::int64_t> operator()(const modelfile::HunyuanVideoConfig& c) const {
        return of(c.hidden_size, std::max(1, c.patch_size.back()));
    }
    std::optional<std::int64_t> operator()(const modelfile::LtxvConfig& c) const {
        return of(std::int64_t{c.attention_head_dim} * c.num_attention_heads, 1);
    }
    template <class Config>
    std::optional<std::int64_t> operator()(const Config&) const {
        return std::nullopt;
    }
};

}  // namespace

std::optional<std::int64_t> hidden_elements(const modelfile::DenoiserConfig& config,
                                            const LatentShape& latent) {
    return std::visit(Hidden{latent}, config);
}

std::optional<std::int64_t> kept_bytes(const SampleStep& step, const Program& program,
                                       const modelfile::DenoiserConfig& config,
                                       const LatentShape& latent, std::int64_t element_bytes) {
    const SamplingPatches& patches = step.patches;
    const auto uses = static_cast<double>(conditions_of(step).size());
    const double elements = static_cast<double>(latent_area(latent)) * latent.channels;
    double bytes = patches.kept_latents * elements * kSingleBytes +
                   patches.kept_outputs * uses * elements * static_cast<double>(element_bytes);
    if (patches.kept_hidden > 0) {
        const auto hidden = hidden_elements(config, latent);
        if (!hidden) return std::nullopt;
        bytes += patches.kept_hidden * uses * static_cast<double>(*hidden) * latent.batch *
                 static_cast<double>(element_bytes);
    }
    // The whole latent beside the window, and what the windows of each list of conditions add up
    // to.
    if (window_count(latent, patches) > 1)
        bytes += (1 + (step.negative.empty() ? 1 : 2)) * elements * kSingleBytes;
    for (const LoraIndex index : patches.beside)
        bytes += static_cast<double>(program.loras[static_cast<std::size_t>(index)].elements) *
                 static_cast<double>(element_bytes);
    constexpr double kBytesMax = 1e15;  // chosen: far above any card
    return static_cast<std::int64_t>(std::clamp(bytes, 0.0, kBytesMax));
}

}  // namespace plimsoll::memory
