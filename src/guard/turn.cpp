// SPDX-License-Identifier: Apache-2.0
#include "guard/turn.h"

#include <algorithm>

namespace plimsoll::guard {

std::string_view waits_for_name(WaitsFor reason) {
    switch (reason) {
        case WaitsFor::Nothing:
            return "nothing";
        case WaitsFor::Turn:
            return "turn";
        case WaitsFor::Pause:
            return "pause";
        case WaitsFor::Heat:
            return "heat";
        case WaitsFor::Room:
            return "room";
        case WaitsFor::Retry:
            return "retry";
    }
    return "nothing";
}

WaitsFor hindrance_of(const Candidate& job, const Moment& moment) {
    if (job.anyway) return WaitsFor::Nothing;
    if (moment.paused) return WaitsFor::Pause;
    if (job.not_before_ms > moment.now_ms) return WaitsFor::Retry;
    if (moment.heat == HeatGate::Nobody || (moment.heat == HeatGate::LightOnly && !job.light))
        return WaitsFor::Heat;
    if (job.need && moment.room && *job.need > *moment.room) return WaitsFor::Room;
    return WaitsFor::Nothing;
}

std::optional<std::size_t> choose_next(std::span<Candidate> queue, const Moment& moment) {
    for (std::size_t i = 0; i < queue.size(); ++i)
        if (queue[i].anyway) return i;
    std::optional<std::size_t> first;
    std::optional<std::size_t> kin;  // of the loaded model
    for (std::size_t i = 0; i < queue.size(); ++i) {
        if (hindrance_of(queue[i], moment) != WaitsFor::Nothing) continue;
        if (!first) first = i;
        if (queue[i].priority != queue[*first].priority) break;
        if (queue[i].strict && i != *first) break;
        if (!moment.loaded.empty() && queue[i].model == moment.loaded) {
            kin = i;
            break;
        }
    }
    if (!first || !kin || kin == first) return first;
    const Candidate& front = queue[*first];
    const double waited = static_cast<double>(moment.now_ms - front.accepted_ms) / 1000;
    if (front.strict || front.passed >= kPassedMax || waited > kPassedSecondsMax) return first;
    for (std::size_t i = *first; i < *kin; ++i)
        if (hindrance_of(queue[i], moment) == WaitsFor::Nothing) ++queue[i].passed;
    return kin;
}

std::vector<Eta> estimate_turns(std::span<const Candidate> queue, Moment moment,
                                std::optional<double> running_seconds) {
    const std::size_t count = std::min(queue.size(), kEtasMax);
    std::vector<Eta> etas(count);
    std::vector<Candidate> left(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count));
    std::vector<std::size_t> index(count);
    for (std::size_t i = 0; i < count; ++i) {
        index[i] = i;
        const WaitsFor reason = hindrance_of(left[i], moment);
        if (reason != WaitsFor::Nothing) etas[i].waits_for = reason;
    }
    std::optional<double> at = running_seconds;
    const std::int64_t began = moment.now_ms;
    while (at && !left.empty()) {
        moment.now_ms = began + static_cast<std::int64_t>(*at * 1000);
        const auto next = choose_next(left, moment);
        if (!next) break;
        const Candidate job = left[*next];
        etas[index[*next]].start_seconds = at;
        if (job.seconds)
            *at += *job.seconds + (job.model == moment.loaded ? 0 : job.load_seconds);
        else
            at.reset();
        moment.loaded = job.model;
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(*next));
        index.erase(index.begin() + static_cast<std::ptrdiff_t>(*next));
    }
    return etas;
}

}  // namespace plimsoll::guard
