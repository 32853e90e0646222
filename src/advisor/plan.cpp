// SPDX-License-Identifier: Apache-2.0
#include "advisor/plan.h"

#include "base/say.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::advisor {
namespace {

using workflow::Edit;
using workflow::Link;

constexpr int kHoldAttemptsMax =
    6;  // chosen: the loader gives way byte for byte, one or two suffice

struct Applied {
    ChangeKind kind;
    std::string node_id;
    Offer offer;
};

// A set of changes, forecast. `reserve` is the flag that holds the line where the workflow alone
// does not.
struct Trial {
    std::string text;  // first run
    int runs = 1;
    PricedForecast plain;  // with the server's own flags
    PricedForecast held;   // with `reserve`, else the same as plain
    std::optional<Bytes> reserve;
    bool memory_ok = false;
    bool time_ok = false;
    Bytes excess;  // least that any flag reached
    double seconds_all = 0;
    [[nodiscard]] bool ok() const { return memory_ok && time_ok; }
};

double seconds_of_runs(const PricedForecast& forecast, int runs) {
    return forecast.seconds.total + (runs - 1) * forecast.seconds.without_load;
}

// How far a forecast is from the line: what is too much in each phase, so that relief of one phase
// counts while another is still worse, and what the highest peak has above it. Dying on the card is
// far above all of that.
Bytes excess_of(const PricedForecast& forecast, const Budget& budget) {
    const memory::Forecast& m = forecast.memory;
    const Bytes line = budget.load_line;
    Bytes sum = std::max(Bytes(0), m.peak - line);
    for (const memory::Phase& phase : m.phases)
        sum += std::max(Bytes(0), phase.floor - line) +
               std::max(Bytes(0), phase.working_set - budget.vram_max);
    return m.verdict == memory::Verdict::WillNotFit ? sum + Bytes::from_gib(1024) : sum;
}

Bytes round_up_to_flag(Bytes bytes) {  // --reserve-vram in steps of 0.1 GiB
    return Bytes::from_gib(std::ceil(bytes.gib() * 10 - 1e-9) / 10);
}

std::string flag_text(Bytes reserve) {
    return fmt::format("{:.1f}", reserve.gib());
}

// The largest relief of any one phase (matched by node), of its peak or of its working set.
Bytes relief(const memory::Forecast& before, const memory::Forecast& after) {
    Bytes best = before.peak - after.peak;
    for (const auto& b : before.phases)
        for (const auto& a : after.phases)
            if (a.node_id == b.node_id)
                best = std::max({best, b.peak - a.peak, b.working_set - a.working_set});
    return best;
}

class Solver {
  public:
    Solver(const PlanRequest& request, workflow::Graph graph, const Forecaster& forecaster)
        : request_(request), graph_(std::move(graph)), forecaster_(forecaster) {}

    Result<Plan> solve() {
        TRY_ASSIGN(Trial start, evaluate({}));
        TRY_DO(consider_freeing(start));
        LeverList levers = find_levers(graph_, request_.pins, request_.variants);
        const std::optional<Settings> now = settings_of_graph(graph_);
        for (Lever& lever : levers.levers)
            for (Offer& offer : lever.offers) put_price(lever.kind, now, request_.evidence, offer);
        std::vector<Applied> applied;
        Trial best = start;
        TRY_DO(relieve_memory(levers, applied, best));
        TRY_DO(relieve_time(levers, applied, best));
        if (best.ok()) TRY_DO(prune(applied, best));
        if (best.ok() && request_.preference == Preference::Speed)
            TRY_DO(hurry(levers, applied, best));
        return describe(start, best, applied, levers);
    }

  private:
    // --- forecasts -----------------------------------------------------------------------------

    Result<std::string> text_of(const std::vector<Applied>& applied, int run) const {
        std::vector<Edit> edits;
        const BatchSplit* split = nullptr;
        int added = 0;
        for (const Applied& one : applied) {
            for (const Edit& edit : one.offer.edits) {
                if (std::holds_alternative<workflow::AddNode>(edit)) ++added;
                edits.push_back(edit);
            }
            if (!one.offer.splits.empty()) split = &one.offer.splits.front();
        }
        if (split != nullptr) {
            // The whole latent is made, then run i takes its rows: ComfyUI then draws each image's
            // own noise.
            const int id = std::atoi(workflow::free_node_id(graph_).c_str()) + added;
            const int first = run * split->size;
            const int length = std::min(split->size, split->total - first);
            edits.emplace_back(workflow::AddNode{std::to_string(id),
                                                 "LatentFromBatch",
                                                 {{"samples", Link{split->latent_node, 0}},
                                                  {"batch_index", std::int64_t{first}},
                                                  {"length", std::int64_t{length}}},
                                                 "plimsoll: part of the batch"});
            for (const auto& [node, input] : split->consumers)
                edits.emplace_back(workflow::SetInput{node, input, Link{std::to_string(id), 0}});
        }
        if (edits.empty()) return std::string(request_.workflow);
        return workflow::apply_edits(request_.workflow, graph_, edits);
    }

    static int runs_of(const std::vector<Applied>& applied) {
        for (const Applied& one : applied)
            if (!one.offer.splits.empty()) {
                const BatchSplit& split = one.offer.splits.front();
                return (split.total + split.size - 1) / split.size;
            }
        return 1;
    }

    Result<PricedForecast> forecast(std::string_view text, std::optional<Bytes> reserve) const {
        return forecaster_(Scenario{text, reserve, free_first_});
    }

    Result<Trial> evaluate(const std::vector<Applied>& applied) const {
        Trial trial;
        TRY_ASSIGN(trial.text, text_of(applied, 0));
        trial.runs = runs_of(applied);
        TRY_ASSIGN(trial.plain, forecast(trial.text, std::nullopt));
        trial.held = trial.plain;
        trial.excess = excess_of(trial.plain, request_.budget);
        const Standing standing = judge(trial.plain, request_.budget).standing;
        trial.memory_ok = standing == Standing::Under || standing == Standing::Unknown;
        if (standing == Standing::Parked) TRY_DO(hold_line(trial));
        trial.seconds_all = seconds_of_runs(expected(trial), trial.runs);
        trial.time_ok = trial.seconds_all <= request_.budget.seconds_max;
        return trial;
    }

    // The loader fills the card up to its reserve, so raising the reserve by what is above the line
    // brings it under: tried, not believed. Gives up when the peak no longer falls (the rest is
    // need).
    Result<void> hold_line(Trial& trial) const {
        Bytes reserve = Bytes::from_mib(400);  // ComfyUI's own default on Linux
        PricedForecast last = trial.plain;
        for (int attempt = 0; attempt < kHoldAttemptsMax; ++attempt) {
            const Bytes above =
                std::max(last.memory.peak, last.memory.floor) - request_.budget.load_line;
            reserve = round_up_to_flag(reserve + std::max(above, Bytes(1)));
            if (reserve >= trial.plain.memory.card_limit) break;
            TRY_ASSIGN(PricedForecast next, forecast(trial.text, reserve));
            const Standing standing = judge(next, request_.budget).standing;
            trial.excess = std::min(trial.excess, excess_of(next, request_.budget));
            if (standing == Standing::Under || standing == Standing::Unknown) {
                trial.held = std::move(next);
                trial.reserve = reserve;
                trial.memory_ok = true;
                break;
            }
            if (attempt > 0 && next.memory.peak >= last.memory.peak) break;
            last = std::move(next);
        }
        return {};
    }

    // What the first run will be: a user's own server keeps its flags.
    [[nodiscard]] const PricedForecast& expected(const Trial& trial) const {
        return request_.control == ServerControl::Ours ? trial.held : trial.plain;
    }

    // --- search --------------------------------------------------------------------------------

    Result<void> consider_freeing(Trial& start) {
        if (start.memory_ok) return {};
        free_first_ = true;
        TRY_ASSIGN(Trial freed, evaluate({}));
        if (start.excess - freed.excess > Bytes::from_mib(1)) {
            before_freeing_ = start.plain;
            start = std::move(freed);
        } else {
            free_first_ = false;
        }
        return {};
    }

    static bool better(const Trial& a, const Trial& than, bool by_time) {
        if (by_time)
            return a.seconds_all < 0.99 * than.seconds_all && (a.memory_ok || !than.memory_ok);
        return than.excess - a.excess > Bytes::from_mib(1);
    }

    // Tries a lever's offers from mild to strong; keeps the first that suffices, else the best if
    // it helps at all.
    Result<void> try_lever(const Lever& lever, bool by_time, std::vector<Applied>& applied,
                           Trial& best) const {
        std::vector<Applied> base = applied;
        // Plain smaller pictures replace the two-pass, they do not stack on it.
        if (lever.kind == ChangeKind::Resolution)
            std::erase_if(base, [](const Applied& one) { return one.kind == ChangeKind::TwoPass; });
        std::optional<std::pair<Trial, Applied>> kept;
        for (const Offer& offer : lever.offers) {
            std::vector<Applied> with = base;
            with.push_back({lever.kind, lever.node_id, offer});
            TRY_ASSIGN(Trial trial, evaluate(with));
            const bool enough =
                by_time ? trial.time_ok && (trial.memory_ok || !best.memory_ok) : trial.memory_ok;
            if (enough || better(trial, kept ? kept->first : best, by_time))
                kept.emplace(std::move(trial), with.back());
            if (enough) break;
        }
        if (kept) {
            base.push_back(std::move(kept->second));
            applied = std::move(base);
            best = std::move(kept->first);
        }
        return {};
    }

    Result<void> relieve_memory(const LeverList& levers, std::vector<Applied>& applied,
                                Trial& best) const {
        for (const Lever& lever : levers.levers) {
            if (best.memory_ok) break;
            if (!lever.saves_memory) continue;
            if (lever.kind != ChangeKind::TileVae) {
                TRY_DO(try_lever(lever, false, applied, best));
            } else if (phase_of(best.plain, lever.node_id) != nullptr &&
                       !node_fits(best.plain, lever.node_id)) {
                TRY_ASSIGN(const Lever planned, with_planned_tiles(lever, applied));
                TRY_DO(try_lever(planned, false, applied, best));
            }
        }
        return {};
    }

    static const memory::Phase* phase_of(const PricedForecast& forecast, std::string_view node_id) {
        const auto& phases = forecast.memory.phases;
        const auto found = std::ranges::find_if(
            phases, [&](const memory::Phase& phase) { return phase.node_id == node_id; });
        return found == phases.end() ? nullptr : &*found;
    }

    // Whether this node, with its VAE whole on the card, is under the line, whatever else is there.
    [[nodiscard]] bool node_fits(const PricedForecast& forecast, std::string_view node_id) const {
        const Budget& budget = request_.budget;
        return std::ranges::all_of(forecast.memory.phases, [&](const memory::Phase& phase) {
            return phase.node_id != node_id ||
                   (std::max(phase.floor, phase.comfort) <= budget.load_line &&
                    phase.working_set <= budget.vram_max);
        });
    }

    // The largest tiles in which this node is under the line; the smallest where none is.
    Result<Lever> with_planned_tiles(const Lever& lever,
                                     const std::vector<Applied>& applied) const {
        const workflow::Node& node = *graph_.find(lever.node_id);
        const auto ask = [&](const NodeTiling& tiling) -> Result<TileTrial> {
            std::vector<Applied> with = applied;
            with.push_back({lever.kind, lever.node_id, tile_offer(node, tiling, false)});
            TRY_ASSIGN(const std::string text, text_of(with, 0));
            TRY_ASSIGN(const PricedForecast priced, forecast(text, std::nullopt));
            return TileTrial{.fits = node_fits(priced, node.id), .seconds = priced.seconds.total};
        };
        TRY_ASSIGN(const std::optional<TilePlan> tiles, plan_tiles(ask));
        Lever planned = lever;
        planned.offers = {
            tiles ? tile_offer(node, tiles->tiling, tiles->video)
                  : tile_offer(node, tiling_of(kPlannedTileMin, NodeTiling{}.frames), false)};
        return planned;
    }

    // Steps first: they cost less of the picture than its size.
    Result<void> relieve_time(const LeverList& levers, std::vector<Applied>& applied,
                              Trial& best) const {
        for (const bool steps : {true, false})
            for (const Lever& lever : levers.levers) {
                if (best.time_ok) return {};
                const bool used = std::ranges::any_of(
                    applied, [&](const Applied& one) { return one.kind == lever.kind; });
                if (!lever.saves_time || (lever.kind == ChangeKind::Steps) != steps ||
                    (used && !steps))
                    continue;
                TRY_DO(try_lever(lever, true, applied, best));
            }
        return {};
    }

    // Changes that a later, stronger one made needless go again, the costliest first.
    Result<void> prune(std::vector<Applied>& applied, Trial& best) const {
        std::vector<std::size_t> order(applied.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::ranges::stable_sort(order, std::greater{},
                                 [&](std::size_t i) { return applied[i].offer.quality_cost; });
        std::vector<bool> keep(applied.size(), true);
        for (const std::size_t candidate : order) {
            keep[candidate] = false;
            std::vector<Applied> without;
            for (std::size_t i = 0; i < applied.size(); ++i)
                if (keep[i]) without.push_back(applied[i]);
            TRY_ASSIGN(Trial trial, evaluate(without));
            if (trial.ok())
                best = std::move(trial);
            else
                keep[candidate] = true;
        }
        std::vector<Applied> left;
        for (std::size_t i = 0; i < applied.size(); ++i)
            if (keep[i]) left.push_back(std::move(applied[i]));
        applied = std::move(left);
        return {};
    }

    // The strongest offer that hardly shows: of priors only the mildest is trusted; of what was
    // measured, or voted on, the strongest that is surely so.
    static const Offer* offer_that_hardly_shows(const Lever& lever) {
        const Offer* found = nullptr;
        for (const Offer& offer : lever.offers) {
            const bool known = offer.price_basis != PriceBasis::Prior;
            const double cost = known ? offer.quality_cost_high : offer.quality_cost;
            if (cost > kHardlyShows || offer.changes_composition) continue;
            if (known || &offer == &lever.offers.front()) found = &offer;
        }
        return found;
    }

    // Preference for speed: changes that hardly show and save at least a twentieth of the time.
    Result<void> hurry(const LeverList& levers, std::vector<Applied>& applied, Trial& best) const {
        for (const Lever& lever : levers.levers) {
            const bool used = std::ranges::any_of(
                applied, [&](const Applied& one) { return one.kind == lever.kind; });
            const Offer* const hardly = offer_that_hardly_shows(lever);
            if (used || hardly == nullptr) continue;
            std::vector<Applied> with = applied;
            with.push_back({lever.kind, lever.node_id, *hardly});
            TRY_ASSIGN(Trial trial, evaluate(with));
            if (!trial.ok() || trial.seconds_all > 0.95 * best.seconds_all) continue;
            applied = std::move(with);
            best = std::move(trial);
        }
        return {};
    }

    // --- words ---------------------------------------------------------------------------------

    Result<std::vector<Change>> price(const Trial& start,
                                      const std::vector<Applied>& applied) const {
        std::vector<Change> out;
        std::vector<Applied> prefix;
        Trial before = start;
        for (const Applied& one : applied) {
            prefix.push_back(one);
            TRY_ASSIGN(Trial after, evaluate(prefix));
            Change change;
            change.kind = one.kind;
            change.what = one.offer.what;
            change.values = one.offer.values;
            change.node_id = one.node_id;
            change.input = one.offer.values.front().input;
            change.from = one.offer.values.front().from;
            change.to = one.offer.values.front().to;
            change.saves = relief(before.plain.memory, after.plain.memory);
            change.seconds_delta = seconds_of_runs(after.plain, after.runs) -
                                   seconds_of_runs(before.plain, before.runs);
            change.quality_cost = one.offer.quality_cost;
            change.price_basis = one.offer.price_basis;
            change.quality_words = one.offer.quality_words;
            change.changes_composition = one.offer.changes_composition;
            change.reason = judge(before.plain, request_.budget).sentence;
            if (one.kind == ChangeKind::TileVae)
                change.reason = beside_fallback(std::move(change.reason), before.plain, after.plain,
                                                one.node_id);
            out.push_back(std::move(change));
            before = std::move(after);
        }
        return out;
    }

    // What planned tiles are worth beside ComfyUI's own, which it falls back to after running out
    // of memory.
    static Phrase beside_fallback(Phrase judged, const PricedForecast& before,
                                  const PricedForecast& after, std::string_view node_id) {
        const memory::Phase* was = phase_of(before, node_id);
        const memory::Phase* is = phase_of(after, node_id);
        if (was == nullptr || is == nullptr || !was->tiled || was->class_type == is->class_type)
            return judged;
        const auto seconds = [](const PricedForecast& of, const memory::Phase* phase) {
            const auto at = static_cast<std::size_t>(phase - of.memory.phases.data());
            return at < of.seconds.phases.size() ? of.seconds.phases[at].total : 0;
        };
        return say<"reason.tiles">(std::move(judged), seconds(before, was), seconds(after, is));
    }

    std::vector<Change> environment(const Trial& best) const {
        std::vector<Change> out;
        if (free_first_) {
            Change change;
            change.kind = ChangeKind::FreeModels;
            change.what = say<"change.free">();
            change.saves = before_freeing_.memory.peak - best.plain.memory.peak;
            change.seconds_delta = best.plain.seconds.total - before_freeing_.seconds.total;
            change.quality_words = say<"price.none">();
            change.reason = say<"reason.free">();
            out.push_back(std::move(change));
        }
        if (best.reserve) {
            Change change;
            change.kind = ChangeKind::ReserveVram;
            change.what = say<"change.reserve">(flag_text(*best.reserve));
            change.input = "--reserve-vram";
            change.from = "server's own";
            change.to = flag_text(*best.reserve);
            change.saves = best.plain.memory.peak - best.held.memory.peak;
            change.seconds_delta =
                seconds_of_runs(best.held, best.runs) - seconds_of_runs(best.plain, best.runs);
            change.quality_words = say<"price.same_picture">();
            change.reason = say<"reason.reserve">();
            change.needs_restart = true;
            out.push_back(std::move(change));
        }
        return out;
    }

    [[nodiscard]] Phrase run_anyway(const Trial& start) const {
        const memory::Forecast& m = start.plain.memory;
        const Judgement judged = judge(start.plain, request_.budget);
        const memory::Phase* phase =
            judged.binding_phase < 0 ? nullptr
                                     : &m.phases[static_cast<std::size_t>(judged.binding_phase)];
        Phrase where = phase == nullptr ? say<"where.job">()
                                        : say<"where.node">(phase->node_id, phase->class_type);
        if (m.verdict == memory::Verdict::WillNotFit)
            return say<"anyway.dies">(std::move(where), m.floor, m.card_limit);
        Phrases late;
        if (!judged.in_time)
            late.push_back(
                say<"anyway.late">(start.plain.seconds.total, request_.budget.seconds_max));
        if (m.working_set > request_.budget.vram_max)
            return say<"anyway.fills">(m.working_set, m.card_limit, std::move(late));
        if (judged.over_by.count > 0)
            return say<"anyway.over">(std::move(where), m.peak, judged.over_by, m.card_limit,
                                      std::move(late));
        return say<"anyway.under">(m.peak, std::move(late));
    }

    [[nodiscard]] PlanVerdict verdict_of(const Trial& best, bool changed) const {
        if (judge(expected(best), request_.budget).standing == Standing::Unknown && best.time_ok)
            return PlanVerdict::Unknown;
        if (!best.ok()) return PlanVerdict::NothingFits;
        const bool flag_is_advice = best.reserve && request_.control == ServerControl::Theirs;
        if (flag_is_advice) return PlanVerdict::FitsParked;
        return changed || best.reserve || free_first_ ? PlanVerdict::FitsChanged
                                                      : PlanVerdict::Fits;
    }

    [[nodiscard]] Phrase explain(const Plan& plan, const Trial& best) const {
        switch (plan.verdict) {
            case PlanVerdict::Fits:
                return say<"plan.nothing">(plan.judged_before.sentence);
            case PlanVerdict::Unknown:
                return say<"plan.left">(plan.judged_before.sentence);
            case PlanVerdict::FitsChanged:
                return say<"plan.changed">(plan.judged_after.sentence);
            case PlanVerdict::FitsParked:
                return say<"plan.parked">(plan.judged_after.sentence, flag_text(*best.reserve));
            case PlanVerdict::NothingFits:
                break;
        }
        Phrases more;
        if (!best.time_ok)
            more.push_back(say<"plan.all_runs">(best.seconds_all, request_.budget.seconds_max));
        more.insert(more.end(), plan.refused.begin(), plan.refused.end());
        return say<"plan.none">(judge(best.held, request_.budget).sentence, std::move(more));
    }

    Result<Plan> describe(const Trial& start, const Trial& best,
                          const std::vector<Applied>& applied, const LeverList& levers) const {
        Plan plan;
        plan.verdict = verdict_of(best, !applied.empty());
        TRY_ASSIGN(plan.changes, price(start, applied));
        plan.environment = environment(best);
        plan.reserve_vram = best.reserve;
        plan.before = free_first_ ? before_freeing_ : start.plain;
        plan.after = expected(best);
        plan.seconds_all = best.seconds_all;
        plan.judged_before = judge(plan.before, request_.budget);
        plan.judged_after = judge(plan.after, request_.budget);
        plan.refused = levers.refused;
        plan.run_anyway = run_anyway(start);
        for (int run = 0; run < best.runs; ++run) {
            TRY_ASSIGN(std::string text, text_of(applied, run));
            plan.workflows.push_back(std::move(text));
        }
        plan.explanation = explain(plan, best);
        return plan;
    }

    const PlanRequest& request_;
    workflow::Graph graph_;
    const Forecaster& forecaster_;
    bool free_first_ = false;
    PricedForecast before_freeing_;
};

}  // namespace

std::string_view plan_verdict_name(PlanVerdict verdict) {
    switch (verdict) {
        case PlanVerdict::Fits:
            return "fits";
        case PlanVerdict::FitsChanged:
            return "fits_changed";
        case PlanVerdict::FitsParked:
            return "fits_parked";
        case PlanVerdict::NothingFits:
            return "nothing_fits";
        case PlanVerdict::Unknown:
            return "unknown";
    }
    return "unknown";
}

Result<Plan> solve_plan(const PlanRequest& request, const Forecaster& forecaster) {
    TRY_ASSIGN(workflow::Graph graph, workflow::parse_api_workflow(request.workflow));
    return Solver(request, std::move(graph), forecaster).solve();
}

}  // namespace plimsoll::advisor
