// SPDX-License-Identifier: Apache-2.0
#include "guard/check.h"

#include "base/say.h"
#include "guard/shape.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::guard {

namespace {

constexpr double kLevelShare = 0.85;  // chosen: a seventh less at each level of the ladder

// Where a person would change something: the size of the picture, where it is written in the graph.
std::optional<gateway::NodeError> mark_of_size(const workflow::Graph& graph) {
    const workflow::Node* const latent = advisor::find_empty_latent(graph);
    if (latent == nullptr) return std::nullopt;
    for (const char* const side : {"width", "height", "length", "batch_size"})
        if (latent->int_of(side))
            return gateway::NodeError{.node_id = latent->id,
                                      .class_type = latent->class_type,
                                      .type = {},
                                      .message = {},
                                      .details = {},
                                      .input = side,
                                      .dependent_outputs = {}};
    return std::nullopt;
}

bool allows_change(const Wishes& wishes) {
    return wishes.policy == Policy::Fit || wishes.policy == Policy::Enforce;
}

class Checker {
  public:
    Checker(const CheckRequest& request, const Walls& walls, const advisor::Forecaster& forecaster)
        : request_(request), walls_(walls), forecaster_(forecaster) {}

    Result<Checked> check() {
        TRY_ASSIGN(graph_, workflow::parse_api_workflow(request_.prompt));
        checked_.prompt = request_.prompt;
        TRY_ASSIGN(checked_.priced, forecaster_({.workflow = request_.prompt,
                                                 .reserve_vram = std::nullopt,
                                                 .free_models_first = true}));
        const advisor::Judgement judged = advisor::judge(checked_.priced, request_.budget);
        const bool anyway = request_.wishes.run_anyway || is_marked_to_run_anyway(graph_);
        describe(graph_, request_.prompt);
        const auto wall = walls_.find(checked_.facts.shape);
        const bool is_well = judged.standing == advisor::Standing::Unknown ||
                             (judged.standing == advisor::Standing::Under && judged.in_time);
        const bool met_wall = wall != walls_.end();
        if ((is_well && !met_wall && request_.plan_level == 0) || anyway) return finish();
        checked_.sentence = met_wall ? say<"held.wall">(wall->second) : judged.sentence;
        if (may_change()) {
            const int first = std::max(request_.plan_level, met_wall ? 1 : 0);
            for (int level = first; level <= kPlanLevelMax; ++level) {
                TRY_ASSIGN(const bool changed, change(level));
                if (changed) return finish();
                if (level == 0 && !met_wall) break;
            }
        }
        // Weights that are merely parked on the card give way: no reason to refuse a job.
        const bool is_over = judged.standing == advisor::Standing::Over || !judged.in_time;
        const bool refused = (met_wall && request_.wishes.policy != Policy::Observe) ||
                             (request_.wishes.policy == Policy::Enforce && is_over);
        if (refused)
            checked_.outcome = Outcome::Refused;
        else if (is_over)
            checked_.outcome = Outcome::Warned;
        if (refused || is_over) mark(judged);
        return finish();
    }

  private:
    [[nodiscard]] bool may_change() const { return allows_change(request_.wishes); }

    // The plan at that level, spliced into the prompt; false where there is none that keeps it one
    // prompt.
    Result<bool> change(int level) {
        const advisor::PlanRequest asked{.workflow = request_.prompt,
                                         .budget = budget_at(request_.budget, level),
                                         .pins = pins(),
                                         .preference = advisor::Preference::Quality,
                                         .control = advisor::ServerControl::Theirs,
                                         .variants = {}};
        TRY_ASSIGN(advisor::Plan plan, advisor::solve_plan(asked, forecaster_));
        const bool fits = plan.verdict == advisor::PlanVerdict::FitsChanged ||
                          plan.verdict == advisor::PlanVerdict::FitsParked;
        if (!fits || plan.changes.empty() || plan.workflows.size() != 1) return false;
        TRY_ASSIGN(const workflow::Graph graph,
                   workflow::parse_api_workflow(plan.workflows.front()));
        if (walls_.contains(shape_of(graph))) return false;
        checked_.prompt = std::move(plan.workflows.front());
        checked_.priced = std::move(plan.after);
        checked_.facts.edits = edits_of(plan);
        checked_.facts.tries.plan_level = level;
        checked_.outcome = Outcome::Changed;
        describe(graph, checked_.prompt);
        // A picture that will look otherwise is said on its node, too.
        for (const advisor::Change& one : plan.changes)
            if (one.changes_composition)
                checked_.marks.push_back(
                    {.node_id = one.node_id,
                     .class_type = class_of(one.node_id),
                     .type = "plimsoll_changed",
                     .message = "Changed to fit",
                     .details = fmt::format("{}: {}", one.what.message(), one.reason.message()),
                     .input = one.input,
                     .dependent_outputs = sinks_of(graph_)});
        return true;
    }

    // A prompt stays one prompt: a batch in several runs would need several.
    [[nodiscard]] advisor::Pins pins() const {
        advisor::Pins all = request_.wishes.pins;
        all.insert({"seed", "batch"});
        return all;
    }

    [[nodiscard]] std::string class_of(const std::string& node_id) const {
        const workflow::Node* const node = graph_.find(node_id);
        return node == nullptr ? "" : node->class_type;
    }

    void mark(const advisor::Judgement& judged) {
        const bool refused = checked_.outcome == Outcome::Refused;
        const std::string type = refused ? "plimsoll_over_line" : "plimsoll_warning";
        const std::string message =
            refused ? "Does not fit under the load line" : "May not fit under the load line";
        std::vector<gateway::NodeError> marks;
        if (auto size = mark_of_size(graph_)) marks.push_back(std::move(*size));
        const auto& phases = checked_.priced.memory.phases;
        if (judged.binding_phase >= 0 &&
            static_cast<std::size_t>(judged.binding_phase) < phases.size()) {
            const memory::Phase& phase = phases[static_cast<std::size_t>(judged.binding_phase)];
            if (graph_.find(phase.node_id) != nullptr &&
                (marks.empty() || marks.front().node_id != phase.node_id))
                marks.push_back({.node_id = phase.node_id,
                                 .class_type = phase.class_type,
                                 .type = {},
                                 .message = {},
                                 .details = {},
                                 .input = {},
                                 .dependent_outputs = {}});
        }
        for (gateway::NodeError& one : marks) {
            one.type = type;
            one.message = message;
            one.details = checked_.sentence.message();
            one.dependent_outputs = sinks_of(graph_);
        }
        checked_.marks = std::move(marks);
    }

    void describe(const workflow::Graph& graph, std::string_view prompt) {
        Facts& facts = checked_.facts;
        facts.shape = shape_of(graph);
        facts.model = models_of(graph);
        // Of what the client sent: by that it is known again.
        if (facts.digest.empty()) facts.digest = digest_of(prompt);
    }

    Checked finish() {
        Facts& facts = checked_.facts;
        const memory::Forecast& forecast = checked_.priced.memory;
        const bool known = forecast.verdict != memory::Verdict::Unknown;
        if (known) {
            facts.peak = forecast.peak;
            facts.floor = forecast.floor;
            facts.seconds = checked_.priced.seconds.total;
            facts.load_seconds =
                checked_.priced.seconds.total - checked_.priced.seconds.without_load;
        }
        note_wishes(facts, request_.wishes);
        checked_.forecast = job_forecast(checked_.priced, request_.budget.load_line);
        return std::move(checked_);
    }

    const CheckRequest& request_;
    const Walls& walls_;
    const advisor::Forecaster& forecaster_;
    workflow::Graph graph_;
    Checked checked_;
};

// A header holds visible ASCII; anything else of a name becomes '?'.
std::string header_text(std::string text) {
    for (char& c : text)
        if (c < ' ' || c > '~') c = '?';
    return text;
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
    switch (outcome) {
        case Outcome::AsItIs:
            return "as_it_is";
        case Outcome::Warned:
            return "warned";
        case Outcome::Changed:
            return "changed";
        case Outcome::Refused:
            return "refused";
    }
    return "as_it_is";
}

advisor::Budget budget_at(const advisor::Budget& budget, int plan_level) {
    const double share = std::pow(kLevelShare, plan_level);
    const auto part = [&](Bytes bytes) {
        return Bytes(static_cast<std::int64_t>(static_cast<double>(bytes.count) * share));
    };
    return {.load_line = part(budget.load_line),
            .vram_max = part(budget.vram_max),
            .seconds_max = budget.seconds_max};
}

JobForecast job_forecast(const advisor::PricedForecast& priced, Bytes load_line) {
    JobForecast forecast{.nodes = {}, .load_line = load_line};
    if (priced.memory.verdict == memory::Verdict::Unknown) return forecast;
    const auto& phases = priced.memory.phases;
    for (std::size_t i = 0; i < phases.size(); ++i) {
        NodeForecast& node = forecast.nodes[phases[i].node_id];
        node.peak = std::max(node.peak, phases[i].peak);
        node.activations = std::max(node.activations, phases[i].activations);
        if (i < priced.seconds.phases.size()) node.seconds += priced.seconds.phases[i].total;
    }
    return forecast;
}

void note_wishes(Facts& facts, const Wishes& wishes) {
    facts.may_change = allows_change(wishes);
    facts.stop_late = wishes.policy == Policy::Enforce && !wishes.run_anyway;
    facts.pins.assign(wishes.pins.begin(), wishes.pins.end());
}

std::vector<Edit> edits_of(const advisor::Plan& plan) {
    std::vector<Edit> edits;
    for (const advisor::Change& change : plan.changes) {
        const std::string knob(advisor::change_kind_name(change.kind));
        if (change.values.empty())
            edits.push_back(
                {knob, change.node_id, change.input, change.from, change.to, change.what});
        for (const advisor::ValueChange& value : change.values)
            edits.push_back({knob, value.node_id, value.input, value.from, value.to, change.what});
    }
    return edits;
}

std::string edit_line(const Edit& edit) {
    return header_text(fmt::format("{}.{}: {} -> {} ({})", edit.node_id, edit.input, edit.from,
                                   edit.to, edit.what.message()));
}

Result<Checked> check_prompt(const CheckRequest& request, const Walls& walls,
                             const advisor::Forecaster& forecaster) {
    return Checker(request, walls, forecaster).check();
}

}  // namespace plimsoll::guard
