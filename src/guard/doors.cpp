// SPDX-License-Identifier: Apache-2.0
//
// The doors of the daemon: what it says of the jobs, and what people do with them.
#include "guard/guard.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace plimsoll::guard {

HeldView Guard::view_of(const HeldEntry& entry) const {
    HeldView view{.prompt_id = entry.kept.prompt_id,
                  .facts = entry.facts,
                  .accepted_ms = entry.kept.accepted_ms,
                  .priority = entry.kept.mark.priority};
    const Flight* const flight = flights_.find(view.prompt_id);
    if (flight != nullptr && !flight->lost_contact)
        view.state = flight->started ? HeldState::Running : HeldState::Sent;
    return view;
}

std::vector<HeldView> Guard::list() const {
    const std::lock_guard lock(mutex_);
    std::vector<HeldView> views;
    std::vector<HeldView> waiting;
    for (const HeldEntry* const entry : queue_.in_order()) {
        HeldView view = view_of(*entry);
        (view.state == HeldState::Waiting ? waiting : views).push_back(std::move(view));
    }
    // What runs has its forecast left, less what it took already.
    std::optional<double> running = 0;
    const std::int64_t card_ms = card_clock_.unix_ms();
    for (const auto& [id, flight] : flights_.all()) {
        const HeldEntry* const entry = queue_.find(id);
        if (entry == nullptr || !running) continue;
        if (!entry->facts.seconds) {
            running.reset();
            continue;
        }
        *running += std::max(0.0, *entry->facts.seconds - flight.ran_seconds(card_ms));
    }
    const std::vector<Candidate> candidates = queue_.candidates();
    const std::vector<Eta> etas = estimate_turns(candidates, moment(), running);
    std::size_t counted = 0;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        waiting[i].place = i + 1;
        waiting[i].waits_for = WaitsFor::Turn;
        // Those that may be with ComfyUI have no turn of their own.
        const HeldEntry* const entry = queue_.find(waiting[i].prompt_id);
        if (entry->kept.mark.sent || entry->unclear) continue;
        if (counted < etas.size()) {
            waiting[i].waits_for = etas[counted].waits_for;
            waiting[i].start_seconds = etas[counted].start_seconds;
        }
        ++counted;
    }
    for (HeldView& view : waiting)
        view.may_run_anyway = view.waits_for != WaitsFor::Turn &&
                              view.waits_for != WaitsFor::Nothing && !view.facts.anyway;
    std::ranges::move(waiting, std::back_inserter(views));
    for (const EndedJob& ended : ended_.newest_first()) {
        views.push_back(ended.view);
        views.back().may_run_anyway = refused_.find(ended.view.prompt_id) != nullptr;
    }
    return views;
}

Result<HeldView> Guard::find(std::string_view prompt_id) const {
    for (HeldView& view : list())
        if (view.prompt_id == prompt_id) return std::move(view);
    return fail(Errc::NotFound, say<"error.not_held">(prompt_id));
}

Result<HeldView> Guard::cancel(std::string_view prompt_id) {
    const std::string id(prompt_id);
    TRY_DO(find(id));
    if (take_back({id}).empty()) {
        bool is_there = false;
        {
            const std::lock_guard lock(mutex_);
            is_there = flights_.find(id) != nullptr;
        }
        if (is_there) {
            TRY_ASSIGN(const auto comfyui, parts_.comfyui.reach());
            TRY_DO(comfyui->cancel(id));
        }
    }
    flush();
    return find(id);
}

Result<void> Guard::move(std::string_view prompt_id, std::string_view before) {
    std::vector<history::HeldChange> changes;
    {
        const std::lock_guard lock(mutex_);
        TRY_ASSIGN(changes, queue_.move_before(std::string(prompt_id), std::string(before)));
        // Its place was asked for: affinity no longer moves it.
        if (HeldEntry* const entry = queue_.find(prompt_id)) {
            entry->facts.strict = true;
            changed_.push_back(view_of(*entry));
        }
    }
    TRY_DO(ledger_.mark(changes));
    flush();
    return {};
}

Result<HeldView> Guard::set_priority(std::string_view prompt_id, std::int64_t priority) {
    if (priority < -kPriorityMax || priority > kPriorityMax)
        return fail(Errc::InvalidInput, fmt::format("priority {} is out of range: {} to {}",
                                                    priority, -kPriorityMax, kPriorityMax));
    const std::string id(prompt_id);
    std::vector<history::HeldChange> changes;
    {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const entry = queue_.find(id);
        if (entry == nullptr) return fail(Errc::NotFound, say<"error.not_waiting">(prompt_id));
        history::HeldMark mark = entry->kept.mark;
        mark.priority = priority;
        queue_.mark(id, mark);
        changes.push_back({id, mark});
        changed_.push_back(view_of(*entry));
        woken_ = true;
    }
    TRY_DO(ledger_.mark(changes));
    wake_.notify_all();
    flush();
    return find(id);
}

void Guard::pause() {
    const std::lock_guard lock(mutex_);
    paused_ = true;
}

void Guard::resume() {
    {
        const std::lock_guard lock(mutex_);
        paused_ = false;
        woken_ = true;
    }
    wake_.notify_all();
}

bool Guard::is_paused() const {
    const std::lock_guard lock(mutex_);
    return paused_;
}

GuardCounts Guard::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

GuardView Guard::view() const {
    GuardView view;
    view.jobs = list();
    const std::lock_guard lock(mutex_);
    view.policy = parts_.options.policy;
    view.paused = paused_;
    view.heat = heat_.state();
    view.heat_why = heat_.why();
    view.counts = counts_;
    return view;
}

}  // namespace plimsoll::guard
