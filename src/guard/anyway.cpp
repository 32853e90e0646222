// SPDX-License-Identifier: Apache-2.0
//
// Jobs that their users send whatever speaks against them: what was refused is remembered for a
// while, so that a person can let it go after all, and what is held need not wait for heat, room or
// a pause.
#include "guard/body_text.h"
#include "guard/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace plimsoll::guard {

namespace {

std::size_t bytes_of(const HeldEntry& entry) {
    return entry.kept.body.size() + entry.secret_body.size();
}

}  // namespace

// Under its client's own id where it has one; a later try with the same id takes its place.
void Guard::keep_refused(Call& call) {
    {
        const std::lock_guard lock(mutex_);
        ++counts_.refused;
        call.id = call.fields.prompt_id ? *call.fields.prompt_id : ids_.next_uuid();
    }
    call.body = with_prompt_id(call.prompt.request().body, call.fields, call.id);
    auto made = entry_of(call);
    Ended ended;
    ended.view.prompt_id = call.id;
    ended.view.state = HeldState::Refused;
    ended.view.facts = made ? made->facts : call.checked.facts;
    ended.view.accepted_ms = ended.view.ended_ms = parts_.clock.unix_ms();
    ended.view.why = call.checked.sentence;
    std::unique_lock lock(mutex_);
    std::erase_if(refused_, [&](const HeldEntry& one) { return one.kept.prompt_id == call.id; });
    std::erase_if(ended_, [&](const Ended& one) {
        return one.view.prompt_id == call.id && one.view.state == HeldState::Refused;
    });
    if (made && bytes_of(*made) <= kRefusedBytesMax) {
        ended.view.may_run_anyway = true;
        refused_.push_front(std::move(*made));
        std::size_t bytes = 0;
        for (const HeldEntry& entry : refused_) bytes += bytes_of(entry);
        while (refused_.size() > kRefusedMax || bytes > kRefusedBytesMax) {
            bytes -= bytes_of(refused_.back());
            refused_.pop_back();
        }
    }
    changed_.push_back(ended.view);
    ended_.push_front(std::move(ended));
    if (ended_.size() > kEndedMax) ended_.pop_back();
    lock.unlock();
    flush();
}

// A job that waits; it is only marked here, its owner writes it down.
Result<history::HeldJob> Guard::release_held(const std::string& id) {
    const std::lock_guard lock(mutex_);
    HeldEntry* const entry = queue_.find(id);
    if (entry == nullptr) return fail(Errc::NotFound, fmt::format("no job '{}' waits", id));
    entry->facts.anyway = true;
    entry->facts.stop_late = false;
    entry->not_before_ms = 0;
    entry->kept.facts_json = encode_facts(entry->facts);
    changed_.push_back(view_of(*entry));
    woken_ = true;
    return entry->kept;
}

Result<void> Guard::accept_refused(const std::string& id) {
    const auto is_it = [&](const HeldEntry& one) { return one.kept.prompt_id == id; };
    HeldEntry entry;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::ranges::find_if(refused_, is_it);
        if (found == refused_.end())
            return fail(Errc::NotFound, fmt::format("no job '{}' waits or was refused lately", id));
        entry = *found;
        const auto counter = next_number_++;
        entry.facts.number = fmt::format("{}", counter);
        entry.facts.anyway = true;
        entry.facts.stop_late = false;
        entry.kept.mark.turn = HeldQueue::turn_of(static_cast<double>(counter));
        entry.kept.accepted_ms = parts_.clock.unix_ms();
        entry.kept.facts_json = encode_facts(entry.facts);
    }
    TRY_DO(with_store([&](history::Store& store) { return store.keep_held(entry.kept); }));
    const std::lock_guard lock(mutex_);
    // Somebody else was quicker: it is in the queue already.
    if (std::erase_if(refused_, is_it) == 0) return {};
    TRY_DO(queue_.add(std::move(entry)));
    std::erase_if(ended_, [&](const Ended& one) { return one.view.prompt_id == id; });
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
        TRY_DO(with_store([&](history::Store& store) { return store.keep_held(kept); }));
    } else if (now.ended_ms != 0) {
        return fail(Errc::InvalidInput,
                    fmt::format("job '{}' has ended ({})", id, held_state_name(now.state)));
    }
    wake_.notify_all();
    flush();
    return find(id);
}

}  // namespace plimsoll::guard
