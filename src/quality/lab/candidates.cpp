// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/candidates.h"

#include "quality/lab/comparability.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <span>
#include <utility>

namespace plimsoll::quality {
namespace {

// Steps that are tried; chosen about a factor of 1.4 apart, in which errors of solvers halve.
constexpr std::array<int, 5> kSteps{10, 14, 20, 28, 40};
constexpr std::array<int, 4> kStepsDistilled{8, 10, 12, 16};
constexpr std::array<int, 3> kStepsOfOthers{14, 20, 28};  // of samplers that are not the model's
constexpr std::array<int, 2> kStepsOfOthersDistilled{8, 12};
constexpr int kReferenceSteps = 50;
constexpr int kReferenceStepsDistilled = 20;
constexpr double kCfgStep = 2;
constexpr double kSmaller = 0.75;  // of the side

// Two of the fastest solvers, the plainest, and two that draw noise, with the schedule each is
// mostly used with.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kOthers{{
    {"dpmpp_2m", "karras"},
    {"uni_pc", "simple"},
    {"euler", "normal"},
    {"euler_ancestral", "normal"},
    {"dpmpp_2m_sde", "karras"},
}};

bool offers(const std::vector<std::string>& names, std::string_view name) {
    return names.empty() || std::ranges::find(names, name) != names.end();
}

int rounded_side(double side) {
    return static_cast<int>(std::lround(side / 64)) * 64;  // what every network takes
}

class Collector {
  public:
    explicit Collector(const Surroundings& around) : around_(around) {}

    void add(const Setting& setting) {
        if (settings_.size() >= kCandidatesMax || setting.steps < around_.steps_min ||
            setting.steps > around_.steps_max || !offers(around_.samplers, setting.sampler) ||
            !offers(around_.schedulers, setting.scheduler))
            return;
        if (std::ranges::find(settings_, setting) == settings_.end()) settings_.push_back(setting);
    }
    std::vector<Setting> take() { return std::move(settings_); }

  private:
    const Surroundings& around_;
    std::vector<Setting> settings_;
};

Setting stepped(Setting setting, int steps) {
    setting.steps = steps;
    return setting;
}

void add_other_samplers(Collector& into, const Setting& base, std::span<const int> steps) {
    for (const auto& [sampler, scheduler] : kOthers) {
        Setting other = base;
        other.sampler = std::string(sampler);
        // The model's own sampler is tried with the schedule that it is not set to.
        other.scheduler = std::string(scheduler);
        if (other.sampler == base.sampler && other.scheduler == base.scheduler)
            other.scheduler = base.scheduler == "karras" ? "normal" : "karras";
        for (const int count : steps) into.add(stepped(other, count));
    }
}

void add_one_knob_each(Collector& into, const Setting& base, const Surroundings& around) {
    for (const double cfg : {base.cfg - kCfgStep, base.cfg + kCfgStep}) {
        if (cfg < 1 || around.distilled) continue;
        Setting other = base;
        other.cfg = cfg;
        into.add(other);
    }
    Setting smaller = base;
    smaller.width = rounded_side(base.width * kSmaller);
    smaller.height = rounded_side(base.height * kSmaller);
    if (std::min(smaller.width, smaller.height) >= 512) into.add(smaller);
    Setting tiled = base;
    tiled.vae_tiling = !base.vae_tiling;
    into.add(tiled);
    for (const std::string& checkpoint : around.precisions) {
        Setting other = base;
        other.checkpoint = checkpoint;
        into.add(other);
    }
}

}  // namespace

std::string_view test_kind_name(TestKind kind) {
    return kind == TestKind::Quick ? "quick" : "full";
}

Candidates make_candidates(TestKind kind, const Surroundings& around) {
    const std::span<const int> steps =
        around.distilled ? std::span<const int>(kStepsDistilled) : std::span<const int>(kSteps);
    const std::span<const int> others = around.distilled
                                            ? std::span<const int>(kStepsOfOthersDistilled)
                                            : std::span<const int>(kStepsOfOthers);
    // The one in the middle of the list is what most people use.
    const Setting usual = stepped(around.base, steps[steps.size() / 2]);
    Collector collector(around);
    // The reference comes first: it is never left out for want of room. Where the server lacks the
    // base's own sampler there is none.
    const int most = around.distilled          ? kReferenceStepsDistilled
                     : kind == TestKind::Quick ? kSteps.back()
                                               : kReferenceSteps;
    const Setting reference = stepped(around.base, std::min(most, around.steps_max));
    collector.add(reference);
    Setting second = reference;
    second.sampler = reference.sampler == "dpmpp_2m" ? "uni_pc" : "dpmpp_2m";
    if (kind == TestKind::Full && comparability(second, reference).full_reference)
        collector.add(second);
    for (const int count : steps) collector.add(stepped(around.base, count));
    if (kind == TestKind::Full) {
        add_one_knob_each(collector, usual, around);
        add_other_samplers(collector, usual, others);
    }
    Candidates out{.settings = collector.take(), .reference = 0, .second_reference = {}};
    if (out.settings.size() > 1 && out.settings[1] == second && kind == TestKind::Full)
        out.second_reference = 1;
    return out;
}

}  // namespace plimsoll::quality
