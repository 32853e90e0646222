// SPDX-License-Identifier: Apache-2.0
//
// A job that did not end well: back into the queue, changed, or put aside with its reason.
#include "gateway/comfyui_text.h"
#include "guard/guard.h"
#include "guard/saved_latent.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace plimsoll::guard {

namespace {

// Forecasts as a run has shown them to be: with so many times the activations.
advisor::Forecaster with_drift(advisor::Forecaster ask, double drift) {
    if (drift <= 1) return ask;
    return [ask = std::move(ask),
            drift](const advisor::Scenario& scenario) -> Result<advisor::PricedForecast> {
        TRY_ASSIGN(advisor::PricedForecast out, ask(scenario));
        memory::Forecast& whole = out.memory;
        for (memory::Phase& phase : whole.phases) {
            const auto more = Bytes(static_cast<std::int64_t>(
                static_cast<double>(phase.activations.count) * (drift - 1)));
            const auto raise = [&](Bytes& part, Bytes& of_all) {
                part += more;
                of_all = std::max(of_all, part);
            };
            raise(phase.peak, whole.peak);
            raise(phase.floor, whole.floor);
            raise(phase.comfort, whole.comfort);
            raise(phase.working_set, whole.working_set);
        }
        return out;
    };
}

}  // namespace

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
        const bool full = failure == Failure::CardMemory || failure == Failure::HostMemory;
        if (lost) ++entry->facts.tries.servers_lost;
        if (full) ++entry->facts.tries.as_it_is;
        if (!lost && !full && failure != Failure::Other) ++entry->facts.tries.stops;
        tries = entry->facts.tries;
        may_change = entry->facts.may_change;
        // Its cache is gone with it, or is dropped to make room.
        if (entry->facts.latent &&
            (lost || failure == Failure::HostMemory || failure == Failure::Crept) &&
            entry->facts.latent->state == LatentCut::State::Saving)
            entry->facts.latent->state = LatentCut::State::Wanted;
    }
    LadderStep step = climb(failure, tries, may_change);
    // The form is to blame only where nobody else has come onto the card.
    if (failure == Failure::Spilled)
        step.meets_wall = may_change && !foresight_.others_have_come(*parts_.place());
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
    const Phrase reason = message.empty() ? step.reason : say<"held.because">(step.reason, message);
    if (step.meets_wall && !shape.empty()) {
        {
            const std::lock_guard lock(mutex_);
            walls_.insert_or_assign(shape, reason);
        }
        const history::Wall wall{shape, parts_.clock.unix_ms(), reason};
        (void)ledger_.use([&](history::Store& store) { return store.keep_wall(wall); });
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
            keep_changed(std::move(changed));
            {
                const std::lock_guard lock(mutex_);
                ++counts_.changed;
            }
            LadderStep again = step;
            again.reason = say<"held.changed_again">(step.reason);
            put_back(flight, again);
            return;
        }
        if (step.else_again) {
            put_back(flight, step);
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
        // A try that failed at once may not have been seen to begin.
        if (flight.started || flight.error) ++mark.attempts;
        queue_.mark(flight.prompt_id, mark);
        entry->unclear = false;
        discretion_.clear_end(flight.prompt_id);
        entry->facts.stopping.reset();
        entry->facts.stop_reason = {};
        if (!step.reason.empty()) {
            note_event(entry->facts, step.reason);
            ++counts_.retried;
            notes_.push_back({"job_retried", flight.prompt_id, step.reason});
            tell_of_retry(*entry, step.reason);
        }
        entry->kept.facts_json = encode_facts(entry->facts);
        kept = entry->kept;
        changed_.push_back(view_of(*entry));
        recount();
        announce();
        woken_ = true;
    }
    const auto written = ledger_.keep(kept);
    if (!written) warn("history", flight.prompt_id, written.error().message);
}

bool Guard::make_next_plan(HeldEntry& entry) {
    const auto fields = gateway::parse_prompt_body(entry.body_to_send());
    if (!fields || !fields->prompt) return false;
    std::string prompt(part(entry.body_to_send(), *fields->prompt));
    std::optional<LatentCut> cut = entry.facts.latent;
    // What is planned is the client's form, without our node.
    if (cut) {
        auto bare = without_latent(prompt, *cut);
        if (!bare) return false;
        prompt = std::move(*bare);
    }
    const auto place = parts_.place();
    Walls walls;
    {
        const std::lock_guard lock(mutex_);
        walls = walls_;
        // Another form makes another latent.
        if (cut) cut->stem = ids_.next_uuid();
    }
    Wishes wishes{.policy = Policy::Fit, .run_anyway = false, .pins = {}, .priority = 0};
    wishes.pins.insert(entry.facts.pins.begin(), entry.facts.pins.end());
    const auto plan = [&](const advisor::Budget& budget, double drift) {
        return check_prompt({.prompt = prompt,
                             .wishes = wishes,
                             .budget = budget,
                             .plan_level = entry.facts.tries.plan_level + 1},
                            walls, with_drift(foresight_.forecaster(*place, prompt, {}), drift));
    };
    Result<Checked> checked = fail(Errc::NotFound, "no plan");
    // What a run took more than forecast the next one may take, too: it is not stopped twice.
    if (entry.facts.drift > 1) checked = plan(place->budget, entry.facts.drift);
    if (!checked || checked->outcome != Outcome::Changed) {
        // Less than before: what it took itself, where that was under the line already.
        advisor::Budget budget = place->budget;
        if (entry.facts.peak && *entry.facts.peak < budget.load_line)
            budget.load_line = budget.vram_max = *entry.facts.peak;
        checked = plan(budget, 1);
    }
    if (!checked || checked->outcome != Outcome::Changed) return false;
    if (cut) cut->state = LatentCut::State::Saving;
    if (!exchange_prompt(entry, [&](std::string_view) {
            return cut ? with_saved_latent(checked->prompt, *cut)
                       : Result<std::string>(checked->prompt);
        }))
        return false;
    Facts facts = checked->facts;
    facts.client = entry.facts.client;
    facts.number = entry.facts.number;
    facts.strict = entry.facts.strict;
    facts.pins = entry.facts.pins;
    facts.stop_late = entry.facts.stop_late;
    facts.may_change = true;
    facts.events = entry.facts.events;
    facts.drift = entry.facts.drift;
    facts.latent = std::move(cut);
    facts.digest = entry.facts.digest;
    facts.tries.servers_lost = entry.facts.tries.servers_lost;
    facts.tries.stops = entry.facts.tries.stops;
    facts.tries.as_it_is = 0;
    facts.edits.insert(facts.edits.begin(), entry.facts.edits.begin(), entry.facts.edits.end());
    entry.facts = std::move(facts);
    return true;
}

void Guard::load_latent(HeldEntry& entry) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr || !entry.facts.latent) return;
    LatentCut& cut = *entry.facts.latent;
    if (cut.state != LatentCut::State::Wanted) return;
    // A file that is too large to be fetched is there, too.
    const auto file = comfyui->download(latent_file(cut));
    const bool is_there = file || file.error().code == Errc::LimitExceeded;
    const bool is_read = is_there && exchange_prompt(entry, [&](std::string_view prompt) {
                             return with_loaded_latent(prompt, cut);
                         });
    // Else it was not reached: it is drawn again, and saved again.
    cut.state = is_read ? LatentCut::State::Loaded : LatentCut::State::Saving;
    if (is_read) note_event(entry.facts, say<"held.latent_used">());
    keep_changed(entry);
}

bool Guard::drop_latent(const Flight& flight, std::string_view node_id) {
    if (node_id != kLatentNode) return false;
    HeldEntry entry;
    {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const found = queue_.find(flight.prompt_id);
        if (found == nullptr || !found->facts.latent) return false;
        entry = *found;
    }
    const LatentCut cut = *std::exchange(entry.facts.latent, std::nullopt);
    if (!exchange_prompt(entry,
                         [&](std::string_view prompt) { return without_latent(prompt, cut); }))
        return false;
    std::erase_if(entry.facts.edits, [](const Edit& edit) { return edit.knob == "save_latent"; });
    keep_changed(entry);
    put_back(flight, {.action = LadderAction::Again, .reason = say<"held.latent_dropped">()});
    return true;
}

void Guard::keep_changed(HeldEntry entry) {
    entry.kept.facts_json = encode_facts(entry.facts);
    {
        const std::lock_guard lock(mutex_);
        HeldEntry* const waiting = queue_.find(entry.kept.prompt_id);
        if (waiting == nullptr) return;
        // Another form has another latent.
        if (waiting->facts.latent &&
            (!entry.facts.latent || entry.facts.latent->stem != waiting->facts.latent->stem))
            spend_latent(waiting->facts);
        waiting->kept.body = entry.kept.body;
        waiting->kept.facts_json = entry.kept.facts_json;
        waiting->secret_body = std::move(entry.secret_body);
        waiting->prompt = entry.prompt;
        waiting->extra_data = entry.extra_data;
        waiting->facts = std::move(entry.facts);
    }
    const auto written = ledger_.keep(entry.kept);
    if (!written) warn("history", entry.kept.prompt_id, written.error().message);
}

void Guard::end_quarantined(const Flight& flight, const Phrase& reason) {
    LateFailure failure{.prompt_id = flight.prompt_id,
                        .node_id = flight.error ? flight.error->node_id : flight.node_id,
                        .class_type = flight.error ? flight.error->node_type : "",
                        .message = fmt::format("Plimsoll: {}", reason.message()),
                        .at_ms = parts_.clock.unix_ms()};
    std::optional<std::string> history;
    std::string client;
    {
        const std::lock_guard lock(mutex_);
        ++counts_.quarantined;
        const HeldEntry* const entry = queue_.find(flight.prompt_id);
        if (entry != nullptr) {
            if (failure.node_id.empty() && !entry->outputs.empty())
                failure.node_id = entry->outputs.front();
            history = history_item(failure, *entry);
            client = entry->facts.client;
        }
    }
    end_job(flight, HeldState::Failed, reason, std::move(history));
    tell_failure(failure, client);
    warn("job_quarantined", flight.prompt_id, reason);
}

void Guard::tell_failure(const LateFailure& failure, const std::string& client) {
    const std::lock_guard lock(mutex_);
    if (door_ == nullptr || client.empty()) return;
    for (std::string& text : failure_messages(failure)) door_->send_to(client, std::move(text));
}

// Only our own page and whoever cares reads it: clients pass over types that they do not know.
void Guard::tell_of_retry(const HeldEntry& entry, const Phrase& reason) {
    if (door_ == nullptr || entry.facts.client.empty()) return;
    door_->send_to(entry.facts.client,
                   fmt::format(R"({{"type": "plimsoll_retry", "data": {{"prompt_id": {}, )"
                               R"("reason": {}}}}})",
                               gateway::quote_json(entry.kept.prompt_id),
                               gateway::quote_json(reason.message())));
}

}  // namespace plimsoll::guard
