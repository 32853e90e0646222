// SPDX-License-Identifier: Apache-2.0
//
// What is seen of the card, and what is done about it: a job that goes wrong, a card that is too
// hot.
#include "guard/guard.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace plimsoll::guard {

void Guard::on_sample(const service::CardSample& sample) {
    const auto place = parts_.place();
    card_clock_.set_pace(parts_.comfyui.pace());
    const std::int64_t now = card_clock_.unix_ms();
    const std::lock_guard lock(mutex_);
    sample_ = sample;
    if (place->site.from_comfyui) {
        foresight_.note_others(place->site.device.used_by_others);
    }
    const bool throttled = sample.look.heat.throttled.value_or(false);
    const HeatState before = heat_.state();
    if (heat_.add({.at_ms = now,
                   .temperature_c = sample.look.heat.temperature_c,
                   .throttled = sample.look.heat.throttled,
                   .limits = sample.look.limits})) {
        // That it is cool is news only after it was not.
        const bool is_news = before != HeatState::Unknown || heat_.state() != HeatState::Cool;
        if (is_news)
            notes_.push_back(
                {fmt::format("heat_{}", heat_state_name(heat_.state())), "", heat_.why()});
        woken_ = true;
    }
    const CardSeen card{
        .use = {.allocated = sample.allocated, .used = sample.used, .total = sample.total},
        .slows_itself = throttled || heat_.state() == HeatState::Critical};
    const auto listens = [&](const std::string& id) {
        const HeldEntry* const entry = queue_.find(id);
        return entry != nullptr && listening_.contains(entry->facts.client);
    };
    for (const Flights::AlarmOf& one : flights_.note_card(card, now, listens))
        note_alarm(one.prompt_id, one.alarm);
    wake_.notify_all();
}

void Guard::note_alarm(const std::string& prompt_id, const Alarm& alarm) {
    if (HeldEntry* const entry = queue_.find(prompt_id)) {
        note_event(entry->facts, alarm.sentence);
        changed_.push_back(view_of(*entry));
    }
    notes_.push_back({fmt::format("job_{}", alarm_name(alarm.kind)), prompt_id, alarm.sentence});
}

// What goes wrong is interrupted where the policy allows another form, once a job, and only where
// that helps: where there is a smaller plan, where nothing moves at all, or where ComfyUI's loader,
// asked again, sees how little is left and loads less.
void Guard::act_on_watch() {
    struct Due {
        HeldEntry entry;
        Alarm alarm;
    };
    std::vector<Due> all;
    {
        const std::lock_guard lock(mutex_);
        for (const Flights::AlarmOf& one : flights_.take_alarms()) {
            HeldEntry* const entry = queue_.find(one.prompt_id);
            if (entry == nullptr) continue;
            entry->facts.drift = std::max(entry->facts.drift, one.alarm.drift);
            if (entry->facts.may_change && entry->facts.tries.stops < kStopsMax)
                all.push_back({*entry, one.alarm});
        }
    }
    for (Due& due : all) {
        const std::string id = due.entry.kept.prompt_id;
        const StopCause cause = due.alarm.kind == AlarmKind::Spill   ? StopCause::Spilled
                                : due.alarm.kind == AlarmKind::Stall ? StopCause::Stalled
                                : due.alarm.kind == AlarmKind::Creep ? StopCause::Crept
                                                                     : StopCause::Drifted;
        if (cause != StopCause::Drifted || make_next_plan(due.entry))
            stop_flight(id, due.alarm.sentence, cause);
        else
            warn("job_goes_on", id, say<"held.goes_on">());
    }
}

void Guard::act_on_heat() {
    std::vector<std::string> hot;
    Phrase why;
    {
        const std::lock_guard lock(mutex_);
        if (heat_.state() != HeatState::Critical) return;
        why = heat_.why();
        hot = flights_.running();
        std::erase_if(hot, [&](const std::string& id) {
            const HeldEntry* const entry = queue_.find(id);
            return entry == nullptr || !entry->facts.may_change;
        });
    }
    for (const std::string& id : hot) stop_flight(id, say<"held.too_hot">(why), StopCause::Heat);
}

void Guard::stop_flight(const std::string& prompt_id, const Phrase& reason, StopCause cause) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    std::optional<history::HeldJob> kept;
    {
        const std::lock_guard lock(mutex_);
        if (!flights_.stop(prompt_id, cause, reason, card_clock_.unix_ms())) return;
        if (HeldEntry* const entry = queue_.find(prompt_id)) {
            entry->facts.stopping = cause;
            entry->facts.stop_reason = reason;
            entry->kept.facts_json = encode_facts(entry->facts);
            kept = entry->kept;
        }
    }
    if (kept) {
        const auto written = ledger_.keep(*kept);
        if (!written) warn("history", prompt_id, written.error().message);
    }
    const auto cancelled = comfyui->cancel(prompt_id);
    warn("job_stopped", prompt_id, cancelled ? reason : Phrase(cancelled.error().message));
}

}  // namespace plimsoll::guard
