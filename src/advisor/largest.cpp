// SPDX-License-Identifier: Apache-2.0
#include "advisor/largest.h"

#include "advisor/levers.h"
#include "advisor/settings.h"
#include "advisor/tile_plan.h"
#include "base/text.h"
#include "workflow/node_catalogue.h"
#include "workflow/parse.h"
#include "workflow/splice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::advisor {
namespace {

constexpr double kStepsTurnedMax = 200;  // chosen: no sampler's picture gains beyond
constexpr double kValuesMax = 1'000'000;

constexpr std::array kKnobs{Knob::Width, Knob::Height, Knob::Batch, Knob::Frames,
                            Knob::Tile,  Knob::Steps,  Knob::Cfg};

struct Probe {
    bool fits = false;
    PricedForecast forecast;
    std::string sentence;
};

std::string_view input_of(Knob knob) {
    if (knob == Knob::Frames) return "length";
    return knob == Knob::Batch ? "batch_size" : knob_name(knob);
}

// A node that makes a latent of a size of its own, and says the knob.
bool makes_latent_with(const workflow::Node& node, Knob knob) {
    const workflow::NodeKind* kind = workflow::find_node_kind(node.class_type);
    if (kind == nullptr) return false;
    const bool makes = std::ranges::any_of(kind->outputs, [](const workflow::NodeOutput& out) {
        return out.kind == workflow::NodeOutput::Kind::Latent && out.shape.like.empty();
    });
    const std::string_view input = input_of(knob);
    return makes && (node.link_of(input) != nullptr || node.int_of(input));
}

// A sampler, or what schedules (steps) or guides (cfg) for one, and says the knob.
bool samples_by(const workflow::Node& node, Knob knob) {
    using workflow::NodeVerb;
    const workflow::NodeKind* kind = workflow::find_node_kind(node.class_type);
    if (kind == nullptr) return false;
    const bool schedules = std::ranges::any_of(kind->outputs, [](const workflow::NodeOutput& out) {
        return out.kind == workflow::NodeOutput::Kind::Schedule;
    });
    const bool has_part = knob == Knob::Steps ? schedules : kind->verb == NodeVerb::Guide;
    const std::string_view input = input_of(knob);
    return (kind->verb == NodeVerb::Sample || has_part) &&
           (node.link_of(input) != nullptr || node.number_of(input));
}

bool decodes(const workflow::Node& node) {
    return node.class_type == "VAEDecode" || node.class_type == "VAEDecodeTiled";
}

const workflow::Node* find_turned(const workflow::Graph& graph, Knob knob) {
    const bool is_size = knob == Knob::Width || knob == Knob::Height || knob == Knob::Batch;
    if (const workflow::Node* empty = is_size ? find_empty_latent(graph) : nullptr) return empty;
    const auto found = std::ranges::find_if(graph.nodes, [&](const workflow::Node& node) {
        if (knob == Knob::Tile) return decodes(node);
        if (knob == Knob::Steps || knob == Knob::Cfg) return samples_by(node, knob);
        return makes_latent_with(node, knob);
    });
    return found == graph.nodes.end() ? nullptr : &*found;
}

std::string missing_words(Knob knob) {
    if (knob == Knob::Tile) return "the workflow decodes nothing with a VAE";
    if (knob == Knob::Steps || knob == Knob::Cfg)
        return fmt::format("the workflow samples by no {} of its own", knob_name(knob));
    return fmt::format("the workflow has no empty latent whose {} could grow",
                       knob == Knob::Frames ? "frames" : "size");
}

class Prober {
  public:
    Prober(std::string_view text, const workflow::Graph& graph, std::string node_id, Knob knob,
           const Budget& budget, const Forecaster& forecaster)
        : text_(text),
          graph_(graph),
          node_id_(std::move(node_id)),
          knob_(knob),
          budget_(budget),
          forecaster_(forecaster) {}

    Result<Probe> at(double value) {
        ++forecasts_;
        TRY_ASSIGN(const std::string edited,
                   workflow::apply_edits(text_, graph_, edits_for(value)));
        Probe probe;
        TRY_ASSIGN(probe.forecast, forecaster_(Scenario{.workflow = edited, .reserve_vram = {}}));
        const Judgement judged = judge(probe.forecast, budget_);
        probe.fits = judged.standing != Standing::Over && judged.in_time;
        probe.sentence =
            fmt::format("{} {}: {}", knob_name(knob_), value, judged.sentence.message());
        return probe;
    }
    [[nodiscard]] int forecasts() const { return forecasts_; }

  private:
    [[nodiscard]] std::vector<workflow::Edit> edits_for(double value) const {
        const auto whole = static_cast<std::int64_t>(std::llround(value));
        if (knob_ == Knob::Tile)
            return tiling_edits(*graph_.find(node_id_),
                                tiling_of(static_cast<int>(whole), NodeTiling{}.frames));
        const std::string input(input_of(knob_));
        if (knob_ == Knob::Cfg) return {workflow::SetInput{node_id_, input, value}};
        return {workflow::SetInput{node_id_, input, whole}};
    }

    std::string_view text_;
    const workflow::Graph& graph_;
    std::string node_id_;
    Knob knob_;
    const Budget& budget_;
    const Forecaster& forecaster_;
    int forecasts_ = 0;
};

}  // namespace

std::string_view knob_name(Knob knob) {
    switch (knob) {
        case Knob::Width:
            return "width";
        case Knob::Height:
            return "height";
        case Knob::Batch:
            return "batch";
        case Knob::Frames:
            return "frames";
        case Knob::Tile:
            return "tile";
        case Knob::Steps:
            return "steps";
        case Knob::Cfg:
            return "cfg";
    }
    return "width";
}

Result<Knob> parse_knob(std::string_view name) {
    for (const Knob knob : kKnobs)
        if (to_lower_ascii(trim(name)) == knob_name(knob)) return knob;
    return fail(Errc::InvalidInput,
                fmt::format("knob '{}' is not one of width, height, batch, frames, tile, steps, "
                            "cfg",
                            name.substr(0, 40)));
}

KnobLimits default_limits(Knob knob) {
    if (knob == Knob::Batch) return {.min = 1, .max = 64, .step = 1};
    if (knob == Knob::Frames) return {.min = 1, .max = 481, .step = 4};
    if (knob == Knob::Steps) return {.min = 1, .max = kStepsTurnedMax, .step = 1};
    if (knob == Knob::Cfg) return {.min = kCfgMin, .max = kCfgMax, .step = 0.5};
    if (knob == Knob::Tile)
        return {.min = kPlannedTileMin, .max = kPlannedTileMax, .step = kPlannedTileStep};
    return {.min = 256, .max = 4096, .step = 8};
}

Result<Largest> largest(std::string_view text, Knob knob, const KnobLimits& limits,
                        const Budget& budget, const Forecaster& forecaster) {
    // Written so that what is no number is refused, too.
    const bool is_range = limits.step >= 0.01 && limits.min >= 1 && limits.max >= limits.min &&
                          limits.max <= kValuesMax;
    if (!is_range)
        return fail(Errc::InvalidInput,
                    fmt::format("limits {} to {} in steps of {} are not a range", limits.min,
                                limits.max, limits.step));
    TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(text));
    const workflow::Node* turned = find_turned(graph, knob);
    if (turned == nullptr) return fail(Errc::NotFound, missing_words(knob));
    if (knob != Knob::Tile && turned->link_of(input_of(knob)) != nullptr)
        return fail(Errc::InvalidInput, fmt::format("{} of node {} is computed in the graph",
                                                    input_of(knob), turned->id));

    Prober prober(text, graph, turned->id, knob, budget, forecaster);
    const auto value_of = [&](int index) { return limits.min + index * limits.step; };
    const int last = static_cast<int>((limits.max - limits.min) / limits.step);

    Largest out;
    TRY_ASSIGN(Probe top, prober.at(value_of(last)));
    if (top.fits) {
        out = {.value = value_of(last),
               .forecast = std::move(top.forecast),
               .next_value_fails_because = {}};
        out.forecasts = prober.forecasts();
        return out;
    }
    TRY_ASSIGN(Probe bottom, prober.at(value_of(0)));
    if (!bottom.fits) {
        out.forecast = std::move(bottom.forecast);
        out.next_value_fails_because = std::move(bottom.sentence);
        out.forecasts = prober.forecasts();
        return out;
    }
    // The loader's decisions jump (batching of cond and uncond, modules that no longer fit), so
    // what fits need not be one range; the bisection ends at a value that fits and whose successor
    // does not, which is what the answer says.
    int low = 0;
    int high = last;
    Probe fits = std::move(bottom);
    Probe fails = std::move(top);
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        TRY_ASSIGN(Probe probe, prober.at(value_of(middle)));
        if (probe.fits) {
            low = middle;
            fits = std::move(probe);
        } else {
            high = middle;
            fails = std::move(probe);
        }
    }
    out.value = value_of(low);
    out.forecast = std::move(fits.forecast);
    out.next_value_fails_because = std::move(fails.sentence);
    out.forecasts = prober.forecasts();
    return out;
}

}  // namespace plimsoll::advisor
