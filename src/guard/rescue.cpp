// SPDX-License-Identifier: Apache-2.0
//
// A job that did not end well: back into the queue, changed, or put aside with its reason.
#include "guard/guard.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::guard {

void Guard::end_failed(Flight flight, Failure failure, const std::string& message) {
    Tries tries;
    bool may_change = false;
    {
        const std::lock_guard lock(mutex_);
        HeldEntry* const entry = queue_.find(flight.prompt_id);
        if (entry == nullptr) return;
        // ComfyUI unloads everything when it runs out of memory itself.
        if (failure != Failure::Other) {
            residents_.forget();
            loaded_.clear();
        }
        const bool lost = failure == Failure::ServerLost || failure == Failure::ServerHung;
        if (lost) ++entry->facts.tries.servers_lost;
        if (!lost && failure != Failure::Other) ++entry->facts.tries.as_it_is;
        tries = entry->facts.tries;
        may_change = entry->facts.may_change;
    }
    const LadderStep step = climb(failure, tries, may_change);
    if (step.action == LadderAction::Pass) {
        end_job(flight, HeldState::Failed, message, std::nullopt);
        return;
    }
    if (step.unload_models) clear_card(step.reset_caches);
    if (step.action == LadderAction::Again) {
        put_back(flight, step);
        return;
    }
    std::string shape;
    {
        const std::lock_guard lock(mutex_);
        if (const HeldEntry* const entry = queue_.find(flight.prompt_id))
            shape = entry->facts.shape;
    }
    const std::string reason =
        message.empty() ? step.reason : fmt::format("{} ({})", step.reason, message);
    if (step.meets_wall && !shape.empty()) {
        {
            const std::lock_guard lock(mutex_);
            walls_.insert_or_assign(shape, reason);
        }
        const history::Wall wall{shape, parts_.clock.unix_ms(), reason};
        (void)with_store([&](history::Store& store) { return store.keep_wall(wall); });
    }
    if (step.action == LadderAction::NextPlan) {
        HeldEntry changed;
        {
            const std::lock_guard lock(mutex_);
            const HeldEntry* const entry = queue_.find(flight.prompt_id);
            if (entry == nullptr) return;
            changed = *entry;
        }
        if (make_next_plan(changed)) {
            {
                const std::lock_guard lock(mutex_);
                if (HeldEntry* const entry = queue_.find(flight.prompt_id)) {
                    entry->kept.body = std::move(changed.kept.body);
                    entry->secret_body = std::move(changed.secret_body);
                    entry->prompt = changed.prompt;
                    entry->extra_data = changed.extra_data;
                    entry->facts = std::move(changed.facts);
                }
                ++counts_.changed;
            }
            LadderStep again = step;
            again.reason = step.reason + ": changed and sent again";
            put_back(flight, again);
            return;
        }
    }
    end_quarantined(flight, reason);
}

// The job goes back into the queue, at its place.
void Guard::put_back(const Flight& flight, const LadderStep& step) {
    history::HeldJob kept;
    {
        const std::lock_guard lock(mutex_);
        HeldEntry* const entry = queue_.find(flight.prompt_id);
        if (entry == nullptr) return;
        history::HeldMark mark = entry->kept.mark;
        mark.sent = false;
        if (flight.started_ms) ++mark.attempts;
        queue_.mark(flight.prompt_id, mark);
        entry->unclear = false;
        if (!step.reason.empty()) {
            entry->facts.events.push_back(step.reason);
            if (entry->facts.events.size() > kEventsMax)
                entry->facts.events.erase(entry->facts.events.begin());
            ++counts_.retried;
            notes_.push_back({"job_retried", flight.prompt_id, step.reason});
        }
        entry->kept.facts_json = encode_facts(entry->facts);
        kept = entry->kept;
        changed_.push_back(view_of(*entry));
        recount();
        announce();
        woken_ = true;
    }
    const auto written = with_store([&](history::Store& store) { return store.keep_held(kept); });
    if (!written) warn("history", flight.prompt_id, written.error().message);
}

bool Guard::make_next_plan(HeldEntry& entry) {
    const auto fields = gateway::parse_prompt_body(entry.body_to_send());
    if (!fields || !fields->prompt) return false;
    const std::string prompt(part(entry.body_to_send(), *fields->prompt));
    const auto place = parts_.place();
    Walls walls;
    {
        const std::lock_guard lock(mutex_);
        walls = walls_;
    }
    Wishes wishes{.policy = Policy::Fit, .run_anyway = false, .pins = {}, .priority = 0};
    wishes.pins.insert(entry.facts.pins.begin(), entry.facts.pins.end());
    const auto checked = check_prompt({.prompt = prompt,
                                       .wishes = wishes,
                                       .budget = place->budget,
                                       .plan_level = entry.facts.tries.plan_level + 1},
                                      walls, forecaster(*place, prompt, {}));
    if (!checked || checked->outcome != Outcome::Changed) return false;
    const auto replace = [&](std::string& body) {
        const auto at = gateway::parse_prompt_body(body);
        if (at) body = with_prompt(body, *at, checked->prompt);
    };
    replace(entry.kept.body);
    if (!entry.secret_body.empty()) replace(entry.secret_body);
    const auto again = gateway::parse_prompt_body(entry.kept.body);
    if (!again || !again->prompt) return false;
    entry.prompt = *again->prompt;
    entry.extra_data = again->extra_data;
    Facts facts = checked->facts;
    facts.client = entry.facts.client;
    facts.number = entry.facts.number;
    facts.strict = entry.facts.strict;
    facts.pins = entry.facts.pins;
    facts.stop_late = entry.facts.stop_late;
    facts.may_change = true;
    facts.events = entry.facts.events;
    facts.tries.servers_lost = entry.facts.tries.servers_lost;
    facts.tries.as_it_is = 0;
    facts.edits.insert(facts.edits.begin(), entry.facts.edits.begin(), entry.facts.edits.end());
    entry.facts = std::move(facts);
    return true;
}

void Guard::end_quarantined(const Flight& flight, const std::string& reason) {
    LateFailure failure{.prompt_id = flight.prompt_id,
                        .node_id = flight.error ? flight.error->node_id : flight.node_id,
                        .class_type = flight.error ? flight.error->node_type : "",
                        .message = fmt::format("Plimsoll: {}", reason),
                        .at_ms = parts_.clock.unix_ms()};
    std::optional<std::string> history;
    {
        const std::lock_guard lock(mutex_);
        ++counts_.quarantined;
        const HeldEntry* const entry = queue_.find(flight.prompt_id);
        if (entry != nullptr) {
            if (failure.node_id.empty() && !entry->outputs.empty())
                failure.node_id = entry->outputs.front();
            history = history_item(failure, *entry);
            if (door_ != nullptr && !entry->facts.client.empty())
                for (std::string& text : failure_messages(failure))
                    door_->send_to(entry->facts.client, std::move(text));
        }
    }
    end_job(flight, HeldState::Failed, reason, std::move(history));
    warn("job_quarantined", flight.prompt_id, reason);
}

// It is told and forgotten: nothing of it will be sent again.
void Guard::end_job(const Flight& flight, HeldState state, const std::string& why,
                    std::optional<std::string> history) {
    std::vector<std::string> gone;
    {
        const std::lock_guard lock(mutex_);
        auto entry = queue_.take(flight.prompt_id);
        flights_.erase(flight.prompt_id);  // that was seen off: both at once
        recount();
        if (!entry) return;
        Ended ended{.view = view_of(*entry), .history = std::move(history)};
        ended.view.state = state;
        ended.view.why = why;
        ended.view.ended_ms = parts_.clock.unix_ms();
        changed_.push_back(ended.view);
        ended_.push_front(std::move(ended));
        if (ended_.size() > kEndedMax) ended_.pop_back();
        if (state == HeldState::Done) ++counts_.done;
        if (state == HeldState::Failed) ++counts_.failed;
        if (state == HeldState::Cancelled) ++counts_.cancelled;
        recount();
        woken_ = true;
        gone = std::exchange(undropped_, {});
    }
    gone.push_back(flight.prompt_id);
    const auto dropped = with_store([&](history::Store& store) { return store.drop_held(gone); });
    if (dropped) return;
    // After a crash ComfyUI's history still tells that it has ended.
    warn("history", flight.prompt_id, dropped.error().message);
    const std::lock_guard lock(mutex_);
    undropped_ = std::move(gone);
}

void Guard::record_run(Flight& flight, history::Outcome outcome, const std::string& error) {
    if (flight.record.run_id.empty()) return;
    history::RunRecord& record = flight.record;
    record.outcome = outcome;
    record.error = error;
    record.ended_ms = parts_.clock.unix_ms();
    if (flight.started_ms) record.started_ms = *flight.started_ms;
    record.observed_peak = flight.observed_peak;
    // Seconds of a card that slowed itself down would teach the wrong thing.
    if (flight.throttled)
        record.error = "the card slowed itself down: its seconds are not counted";
    else if (flight.started_ms)
        record.observed_seconds = static_cast<double>(record.ended_ms - *flight.started_ms) / 1000;
    const auto kept = with_store([&](history::Store& store) { return store.record_run(record); });
    if (!kept) warn("history", flight.prompt_id, kept.error().message);
}

}  // namespace plimsoll::guard
