// SPDX-License-Identifier: Apache-2.0
#include "guard/watch.h"

#include "base/say.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::guard {

namespace {

// reference/telemetry-fleet.md A3: the spill detector's three signs.
constexpr double kSpillFactor = 3;
constexpr Bytes kNearlyFull = Bytes(1LL << 30U);
constexpr std::size_t kSlowSteps = 2;
// Chosen: a job's first step loads kernels, and a slow disk is no stall.
constexpr double kStallFactor = 5;
constexpr double kStallSecondsLeast = 120;
constexpr std::size_t kCreepSteps = 4;
constexpr Bytes kCreepBytes = Bytes(16LL << 20U);  // a step; allocators' rounding is far below
// Chosen: forecasts of allocated memory are within 2 % (docs/accuracy.md); a tenth is no rounding.
constexpr double kDriftShare = 0.1;
constexpr int kDriftLooks = 3;  // until it is a threat: ComfyUI makes room only when it needs it
constexpr Bytes kDriftBytes = Bytes(128LL << 20U);

// Weights are what their files say: what is more than forecast is activations.
double drift_of(const NodeForecast& node, Bytes allocated) {
    const Bytes drifts = node.activations > Bytes(0) ? node.activations : node.peak;
    if (drifts <= Bytes(0)) return 1;
    return 1 +
           static_cast<double>((allocated - node.peak).count) / static_cast<double>(drifts.count);
}

}  // namespace

std::string_view alarm_name(AlarmKind kind) {
    switch (kind) {
        case AlarmKind::Spill:
            return "spill";
        case AlarmKind::Stall:
            return "stall";
        case AlarmKind::Creep:
            return "creep";
        case AlarmKind::Drift:
            return "drift";
        case AlarmKind::OverLine:
            return "over_line";
    }
    return "drift";
}

bool asks_for_more(const Alarm& alarm, const Alarm& other) {
    const auto weight = [](const Alarm& one) {
        if (!one.threatens) return 0;
        switch (one.kind) {
            case AlarmKind::Stall:
                return 5;
            case AlarmKind::Spill:
                return 4;
            case AlarmKind::OverLine:
                return 3;
            case AlarmKind::Creep:
                return 2;
            case AlarmKind::Drift:
                return 1;
        }
        return 0;
    };
    return weight(alarm) > weight(other);
}

void JobWatch::raise(std::vector<Alarm>& into, AlarmKind kind, Threat threat, Phrase sentence,
                     double drift) {
    if (said_.contains({kind, Threat::ToTheJob}) || !said_.insert({kind, threat}).second) return;
    into.push_back({.kind = kind,
                    .node_id = node_id_,
                    .sentence = std::move(sentence),
                    .threatens = threat == Threat::ToTheJob,
                    .drift = drift});
}

JobWatch::Threat JobWatch::threat_of(Bytes more) const {
    Bytes highest(0);
    for (const auto& [id, node] : forecast_.nodes) highest = std::max(highest, node.peak);
    // Weights that are merely parked on the card go over the line as forecast, and give way.
    const bool was_under = !forecast_.nodes.empty() && highest <= forecast_.load_line;
    return was_under && highest + more > forecast_.load_line ? Threat::ToTheJob : Threat::None;
}

void JobWatch::begin_node(const std::string& node_id) {
    node_id_ = node_id;
    begin_steps(0);
    peak_now_ = Bytes(0);
    looks_ = drifts_ = 0;
}

void JobWatch::begin_steps(double max) {
    step_ms_.reset();
    steps_ = 0;
    steps_max_ = max;
    step_seconds_.clear();
    step_peaks_.clear();
}

void JobWatch::on_node(std::int64_t at_ms, const std::string& node_id) {
    moved_ms_ = std::max(moved_ms_, at_ms);  // it may be heard after the card was looked at
    if (node_id != node_id_) begin_node(node_id);
}

// What one step should take: by the forecast of the whole node, or by the fastest that was seen.
std::optional<double> JobWatch::usual_step_seconds() const {
    std::optional<double> usual;
    const auto found = forecast_.nodes.find(node_id_);
    if (found != forecast_.nodes.end() && found->second.seconds > 0 && steps_max_ > 0)
        usual = found->second.seconds / steps_max_;
    if (!step_seconds_.empty()) {
        // A card that is slower than its forecast is no spill: what it did itself counts too.
        const double fastest = *std::ranges::min_element(step_seconds_);
        if (step_seconds_.size() > kSlowSteps || !usual)
            usual = std::max(usual.value_or(fastest), fastest);
    }
    return usual;
}

bool JobWatch::count_step(std::int64_t at_ms, double value, double max) {
    // A node may count several times: tiles, or a decode after its sampler.
    if (max != steps_max_ || value < steps_) begin_steps(max);
    if (value <= steps_) return false;
    // The first is not timed: what came before it was loading.
    if (step_ms_)
        step_seconds_.push_back(static_cast<double>(at_ms - *step_ms_) / 1000 / (value - steps_));
    step_ms_ = at_ms;
    steps_ = value;
    if (peak_now_ > Bytes(0)) step_peaks_.push_back({steps_, std::exchange(peak_now_, Bytes(0))});
    return true;
}

void JobWatch::look_for_spill(std::vector<Alarm>& into) {
    const auto usual = usual_step_seconds();
    const bool full = card_ && card_->used && card_->total - *card_->used < kNearlyFull;
    if (!usual || !full || step_seconds_.size() < kSlowSteps) return;
    const auto last = step_seconds_.end() - static_cast<std::ptrdiff_t>(kSlowSteps);
    const double least = *std::min_element(last, step_seconds_.end());
    if (least > kSpillFactor * *usual)
        raise(into, AlarmKind::Spill, Threat::ToTheJob,
              say<"held.slow_steps">(least, *usual, *card_->used));
}

void JobWatch::look_for_creep(std::vector<Alarm>& into) {
    if (step_peaks_.size() <= kCreepSteps) return;
    for (std::size_t i = step_peaks_.size() - kCreepSteps; i < step_peaks_.size(); ++i)
        if (step_peaks_[i].allocated - step_peaks_[i - 1].allocated < kCreepBytes) return;
    const StepPeak& last = step_peaks_.back();
    const StepPeak& first = step_peaks_[step_peaks_.size() - 1 - kCreepSteps];
    // Steps may be faster than the looks at the card.
    const double left = std::max(0.0, steps_max_ - steps_) / (last.step - first.step);
    const auto grown = static_cast<double>((last.allocated - first.allocated).count);
    const auto ahead = Bytes(static_cast<std::int64_t>(grown * left));
    raise(into, AlarmKind::Creep,
          last.allocated + ahead > forecast_.load_line ? threat_of(forecast_.load_line)
                                                       : Threat::None,
          say<"held.creeps">(last.allocated, std::llround(last.step), first.allocated,
                             std::llround(first.step)));
}

std::vector<Alarm> JobWatch::on_progress(std::int64_t at_ms, const std::string& node_id,
                                         double value, double max) {
    std::vector<Alarm> alarms;
    moved_ms_ = std::max(moved_ms_, at_ms);
    if (node_id != node_id_) begin_node(node_id);
    if (!count_step(at_ms, value, max)) return alarms;
    look_for_spill(alarms);
    look_for_creep(alarms);
    return alarms;
}

double JobWatch::patience_seconds() const {
    const auto found = forecast_.nodes.find(node_id_);
    const double forecast = found == forecast_.nodes.end() ? 0 : found->second.seconds;
    const double step = step_seconds_.empty() ? forecast : step_seconds_.back();
    return std::max(kStallSecondsLeast, kStallFactor * step);
}

std::vector<Alarm> JobWatch::on_card(std::int64_t at_ms, const CardUse& use) {
    std::vector<Alarm> alarms;
    card_ = use;
    if (use.allocated) {
        peak_now_ = std::max(peak_now_, *use.allocated);
        if (*use.allocated > forecast_.load_line)
            raise(alarms, AlarmKind::OverLine, threat_of(forecast_.load_line),
                  say<"held.over_line">(*use.allocated, forecast_.load_line));
        const auto found = forecast_.nodes.find(node_id_);
        // The first look may still show what the node before has left.
        ++looks_;
        if (found != forecast_.nodes.end() && looks_ > 1) {
            const Bytes peak = found->second.peak;
            const auto slack = std::max(
                kDriftBytes,
                Bytes(static_cast<std::int64_t>(static_cast<double>(peak.count) * kDriftShare)));
            if (*use.allocated > peak + slack)
                raise(alarms, AlarmKind::Drift,
                      ++drifts_ >= kDriftLooks ? threat_of(*use.allocated - peak) : Threat::None,
                      say<"held.over_forecast">(*use.allocated, peak),
                      drift_of(found->second, *use.allocated));
        }
    }
    if (heard_ && still_seconds(at_ms) > patience_seconds())
        raise(alarms, AlarmKind::Stall, Threat::ToTheJob, say<"held.still">(still_seconds(at_ms)));
    return alarms;
}

}  // namespace plimsoll::guard
