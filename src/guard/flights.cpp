// SPDX-License-Identifier: Apache-2.0
//
// What is with ComfyUI: how far each job is, and how it ended.
#include "guard/guard.h"

#include "guard/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

namespace {

using service::JobState;

// The first line: the rest are tips.
std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

void Guard::begin(Flight& flight) {
    if (flight.started_ms) return;
    flight.started_ms = parts_.clock.unix_ms();
    flight.started_card_ms = card_clock_.unix_ms();
    if (const HeldEntry* const entry = queue_.find(flight.prompt_id))
        changed_.push_back(view_of(*entry));
}

double Guard::ran_seconds(const Flight& flight) const {
    if (!flight.started_ms) return 0;
    return static_cast<double>(card_clock_.unix_ms() - flight.started_card_ms) / 1000;
}

void Guard::take_message(const Heard& heard) {
    using namespace service;
    const gateway::UpstreamMessage& message = heard.message;
    if (message.binary || !message.whole) return;
    std::vector<std::string> ids;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, flight] : flights_) ids.push_back(id);
    }
    ids.resize(std::max<std::size_t>(ids.size(), 1));  // a status is nobody's in particular
    for (const std::string& id : ids) {
        const Message said = parse_message(message.bytes, id);
        const std::lock_guard lock(mutex_);
        if (const auto* const remaining = std::get_if<QueueRemaining>(&said)) {
            upstream_remaining_ = remaining->count;
            for (auto& [other, flight] : flights_) flight.polled_ms = 0;
            return;
        }
        const auto found = flights_.find(id);
        if (found == flights_.end() || found->second.seen_off) continue;
        Flight& flight = found->second;
        if (std::holds_alternative<Ignored>(said)) continue;
        flight.confirmed = true;
        begin(flight);
        if (const auto* const node = std::get_if<NodeStarted>(&said)) {
            flight.node_id = node->node_id;
            if (flight.watch) flight.watch->on_node(heard.card_ms, node->node_id);
        } else if (const auto* const step = std::get_if<NodeProgress>(&said)) {
            if (flight.watch)
                act_on_alarms(flight, flight.watch->on_progress(heard.card_ms, step->node_id,
                                                                step->value, step->max));
        } else if (const auto* const failed = std::get_if<Failed>(&said)) {
            flight.error = failed->error;
        } else if (std::holds_alternative<WasInterrupted>(said)) {
            flight.interrupted = true;
        } else if (const auto* const output = std::get_if<NodeOutput>(&said)) {
            // With the last of them nothing is left to compute: a ComfyUI that is killed before it
            // says so has done the job all the same, and is not to do it twice.
            flight.outputs.insert(output->node_id);
            const HeldEntry* const entry = queue_.find(id);
            flight.succeeded =
                flight.succeeded || (entry != nullptr && !entry->outputs.empty() &&
                                     std::ranges::all_of(entry->outputs, [&](const auto& one) {
                                         return flight.outputs.contains(one);
                                     }));
        } else if (std::holds_alternative<Succeeded>(said)) {
            flight.succeeded = true;
        } else if (std::holds_alternative<service::Ended>(said)) {
            flight.ended = flight.succeeded || flight.error || flight.interrupted;
            flight.polled_ms = 0;
        }
    }
}

// One that its client's own request carried is looked at after it has gone.
void Guard::complete_flights() {
    std::vector<std::pair<HeldEntry, Flight>> bare;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, flight] : flights_)
            if (const HeldEntry* const entry = queue_.find(id);
                entry != nullptr && flight.record.run_id.empty())
                bare.emplace_back(*entry, flight);
    }
    for (auto& [entry, flight] : bare) {
        (void)prepare(entry, flight);
        const std::lock_guard lock(mutex_);
        const auto found = flights_.find(flight.prompt_id);
        if (found == flights_.end()) continue;
        found->second.program = std::move(flight.program);
        found->second.record = std::move(flight.record);
        if (!found->second.watch)
            found->second.watch = std::move(flight.watch);
        else if (flight.watch)
            found->second.watch->set_forecast(flight.watch->forecast());
    }
}

void Guard::look_at_flights() {
    std::vector<std::string> due;
    std::vector<std::string> late;
    const std::int64_t now = parts_.clock.unix_ms();
    const auto place = parts_.place();
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, flight] : flights_) {
            const HeldEntry* const entry = queue_.find(id);
            const bool bounded =
                entry != nullptr && entry->facts.stop_late && flight.started_ms && !flight.stop;
            if (bounded && ran_seconds(flight) > place->budget.seconds_max) late.push_back(id);
            if (flight.ended || now - flight.polled_ms >= kPollMs) due.push_back(id);
        }
    }
    for (const std::string& id : late)
        stop_flight(id,
                    fmt::format("it took longer than {}", seconds_text(place->budget.seconds_max)),
                    StopCause::Time);
    for (const std::string& id : due) {
        Flight flight;
        {
            const std::lock_guard lock(mutex_);
            const auto found = flights_.find(id);
            if (found == flights_.end()) continue;
            flight = found->second;
        }
        if (!flight.ended) look_at_flight(flight);
        {
            const std::lock_guard lock(mutex_);
            const auto found = flights_.find(id);
            if (found == flights_.end() || !found->second.ended) continue;
        }
        end_flight(id);
    }
}

void Guard::look_at_flight(Flight& seen) {
    const std::int64_t now = parts_.clock.unix_ms();
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    // While it is gone it is not asked at every turn.
    if (gone_since_ms_ && now - contact_tried_ms_ < kContactMs) return;
    const auto read = comfyui->read_job(seen.prompt_id);
    if (!read) {
        note_contact(false, read.error().message);
        return;
    }
    note_contact(true, "");
    const std::lock_guard lock(mutex_);
    const auto found = flights_.find(seen.prompt_id);
    if (found == flights_.end()) return;
    Flight& flight = found->second;
    flight.polled_ms = now;
    const auto here = [&] {
        if (!flight.confirmed) changed_.push_back(view_of(*queue_.find(flight.prompt_id)));
        flight.confirmed = true;
        flight.lost_contact = false;
        flight.unknown_since_ms.reset();
    };
    switch (read->state) {
        case JobState::Running:
            begin(flight);
            [[fallthrough]];
        case JobState::Pending:
            here();
            break;
        case JobState::Succeeded:
            here();
            flight.succeeded = true;
            flight.ended = true;
            break;
        case JobState::Failed:
            here();
            if (!flight.error) flight.error = read->error.value_or(service::NodeError{});
            flight.ended = true;
            break;
        case JobState::Interrupted:
            here();
            flight.interrupted = true;
            flight.ended = true;
            break;
        case JobState::Unknown: {
            // Its owner deletes only what it has seen the end of.
            if (flight.history_gone || flight.succeeded) {
                flight.succeeded = true;
                flight.ended = true;
                break;
            }
            if (!flight.unknown_since_ms) flight.unknown_since_ms = now;
            const std::int64_t patience =
                flight.request_number != 0 && !flight.confirmed && !flight.lost_contact
                    ? kUnansweredMs
                : flight.lost_contact ? 0
                                      : kUnknownMs;
            flight.ended = now - *flight.unknown_since_ms >= patience;
            break;
        }
    }
    recount();
}

// Interrupted by us.
void Guard::end_stopped(Flight flight) {
    record_run(flight, history::Outcome::Cancelled, flight.stop_reason);
    if (const auto failure = failure_of(*flight.stop)) {
        end_failed(std::move(flight), *failure, "");
    } else if (flight.stop == StopCause::Heat) {
        {
            const std::lock_guard lock(mutex_);
            if (HeldEntry* const entry = queue_.find(flight.prompt_id))
                entry->not_before_ms = parts_.clock.unix_ms() + of_card(kCoolMs);
        }
        put_back(flight, {.action = LadderAction::Again, .reason = flight.stop_reason});
    } else {
        end_job(flight, HeldState::Failed, flight.stop_reason, std::nullopt);
    }
}

void Guard::end_flight(const std::string& prompt_id) {
    Flight flight;
    {
        const std::lock_guard lock(mutex_);
        const auto found = flights_.find(prompt_id);
        if (found == flights_.end()) return;
        flight = found->second;
        if (flight.succeeded) {
            // ComfyUI tells of it: until that is written here it is no waiting job.
            found->second.seen_off = true;
            residents_.note(flight.program);
            if (const HeldEntry* const entry = queue_.find(prompt_id)) loaded_ = entry->facts.model;
        } else {
            flights_.erase(found);
            ending_ = true;
            const HeldEntry* const entry = queue_.find(prompt_id);
            if (entry != nullptr && is_over_for_clients(*entry, flight)) closing_.insert(prompt_id);
        }
        recount();
    }
    if (flight.succeeded) {
        settled_.notify_all();
        record_run(flight, history::Outcome::Done, "");
        end_job(flight, HeldState::Done, "", std::nullopt);
        return;
    }
    end_unsuccessful(std::move(flight));
    {
        const std::lock_guard lock(mutex_);
        ending_ = false;
    }
    settled_.notify_all();
}

void Guard::end_unsuccessful(Flight flight) {
    if (flight.cancelled) {
        record_run(flight, history::Outcome::Cancelled, "");
        end_job(flight, HeldState::Cancelled, "taken back by its client", std::nullopt);
        return;
    }
    if (flight.stop && flight.interrupted) {
        end_stopped(std::move(flight));
        return;
    }
    if (flight.interrupted) {
        record_run(flight, history::Outcome::Cancelled, "");
        end_job(flight, HeldState::Cancelled, "interrupted by its client", std::nullopt);
        return;
    }
    if (flight.error && drop_latent(flight, flight.error->node_id)) return;
    if (flight.error) {
        const Failure failure = classify_failure(*flight.error);
        record_run(
            flight,
            failure == Failure::Other ? history::Outcome::Failed : history::Outcome::OutOfMemory,
            first_line(flight.error->message));
        const std::string message = first_line(flight.error->message);
        end_failed(std::move(flight), failure, message);
        return;
    }
    // ComfyUI does not know it (any more).
    if (flight.disowned) {
        forget(flight.prompt_id);
        return;
    }
    const bool ran = flight.started_ms.has_value();
    {
        const std::lock_guard lock(mutex_);
        residents_.forget();
        loaded_.clear();
    }
    if (ran) {
        const Failure failure = flight.hung ? Failure::ServerHung : Failure::ServerLost;
        record_run(flight, history::Outcome::Lost, "ComfyUI went down meanwhile");
        end_failed(std::move(flight), failure, "");
    } else {
        put_back(flight, {.action = LadderAction::Again, .reason = ""});
    }
}

}  // namespace plimsoll::guard
