// SPDX-License-Identifier: Apache-2.0
//
// Jobs that their users send whatever speaks against them: what was refused is remembered for a
// while, so that a person can let it go after all, and what is held need not wait for heat, room or
// a pause.
#include "guard/body_text.h"
#include "guard/call.h"
#include "guard/guard.h"

#include "base/say.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>

namespace plimsoll::guard {

// Under its client's own id where it has one; a later try with the same id takes its place.
void Guard::keep_refused(Call& call) {
    {
        const std::lock_guard lock(mutex_);
        ++counts_.refused;
        call.id = call.fields.prompt_id ? *call.fields.prompt_id : ids_.next_uuid();
    }
    call.body = with_prompt_id(call.prompt.request().body, call.fields, call.id);
    auto made = make_entry(call.body, call.id, call.checked.facts, parts_.clock.unix_ms());
    HeldView view;
    view.prompt_id = call.id;
    view.state = HeldState::Refused;
    view.facts = made ? made->facts : call.checked.facts;
    view.accepted_ms = view.ended_ms = parts_.clock.unix_ms();
    view.why = call.checked.sentence;
    {
        const std::lock_guard lock(mutex_);
        ended_.erase_refused(call.id);
        refused_.erase(call.id);
        view.may_run_anyway = made && refused_.keep(std::move(*made));
        changed_.push_back(view);
        ended_.add(std::move(view));
    }
    flush();
}

// A job that waits; it is only marked here, its owner writes it down.
Result<history::HeldJob> Guard::release_held(const std::string& id) {
    const std::lock_guard lock(mutex_);
    HeldEntry* const entry = queue_.find(id);
    if (entry == nullptr) return fail(Errc::NotFound, say<"error.not_waiting">(id));
    entry->facts.anyway = true;
    entry->facts.stop_late = false;
    entry->not_before_ms = 0;
    entry->kept.facts_json = encode_facts(entry->facts);
    changed_.push_back(view_of(*entry));
    woken_ = true;
    return entry->kept;
}

Result<void> Guard::accept_refused(const std::string& id) {
    HeldEntry entry;
    {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const found = refused_.find(id);
        if (found == nullptr) return fail(Errc::NotFound, say<"error.not_refused">(id));
        entry = *found;
        const auto counter = next_number_++;
        entry.facts.number = fmt::format("{}", counter);
        entry.facts.anyway = true;
        entry.facts.stop_late = false;
        entry.kept.mark.turn = HeldQueue::turn_of(static_cast<double>(counter));
        entry.kept.accepted_ms = parts_.clock.unix_ms();
        entry.kept.facts_json = encode_facts(entry.facts);
    }
    TRY_DO(ledger_.add(entry.kept));
    const std::lock_guard lock(mutex_);
    // Somebody else was quicker: it is in the queue already.
    if (!refused_.erase(id)) return {};
    TRY_DO(queue_.add(std::move(entry)));
    ended_.erase_refused(id);
    ++counts_.accepted;
    changed_.push_back(view_of(*queue_.find(id)));
    recount();
    announce();
    woken_ = true;
    return {};
}

Result<HeldView> Guard::run_anyway(std::string_view prompt_id) {
    const std::string id(prompt_id);
    TRY_ASSIGN(const HeldView now, find(id));
    if (now.state == HeldState::Refused) {
        TRY_DO(accept_refused(id));
    } else if (now.state == HeldState::Waiting) {
        TRY_ASSIGN(const history::HeldJob kept, release_held(id));
        TRY_DO(ledger_.keep(kept));
    } else if (now.ended_ms != 0) {
        return fail(Errc::InvalidInput, say<"error.has_ended">(id, held_state_name(now.state)));
    }
    wake_.notify_all();
    flush();
    return find(id);
}

}  // namespace plimsoll::guard
