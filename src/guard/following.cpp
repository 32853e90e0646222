// SPDX-License-Identifier: Apache-2.0
//
// Jobs with ComfyUI are followed to their end: what is heard and asked goes to the flights
// (flights.h), and what they say has ended is written down, put back or told.
#include "guard/guard.h"

#include "base/json.h"
#include "base/say.h"
#include "guard/waits.h"
#include "service/run_record.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace plimsoll::guard {

namespace {

// The first line: the rest are tips.
std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

void Guard::take_message(const Heard& heard) {
    const gateway::UpstreamMessage& message = heard.message;
    if (message.binary || !message.whole) return;
    std::vector<std::string> ids;
    {
        const std::lock_guard lock(mutex_);
        ids = flights_.ids();
    }
    ids.resize(std::max<std::size_t>(ids.size(), 1));  // a status is nobody's in particular
    for (const std::string& id : ids) {
        const service::Message said = service::parse_message(message.bytes, id);
        const std::lock_guard lock(mutex_);
        if (const auto* const remaining = std::get_if<service::QueueRemaining>(&said)) {
            upstream_remaining_ = remaining->count;
            flights_.ask_soon();
            return;
        }
        const HeldEntry* const entry = queue_.find(id);
        const std::vector<std::string> outputs =
            entry != nullptr ? entry->outputs : std::vector<std::string>();
        const Flights::Heard news = flights_.hear(id, said, heard.card_ms, outputs, now());
        if (news.is_news) note_change(id);
        for (const Alarm& alarm : news.alarms) note_alarm(id, alarm);
    }
}

// One that its client's own request carried is looked at after it has gone.
void Guard::complete_flights() {
    std::vector<std::pair<HeldEntry, Flight>> bare;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, flight] : flights_.all())
            if (const HeldEntry* const entry = queue_.find(id);
                entry != nullptr && flight.record.run_id.empty() && !flight.is_on_its_way())
                bare.emplace_back(*entry, flight);
    }
    for (auto& [entry, flight] : bare) {
        (void)prepare(entry, flight);
        const std::lock_guard lock(mutex_);
        flights_.complete(std::move(flight));
    }
}

void Guard::look_at_flights() {
    const auto place = parts_.place();
    std::vector<std::string> late;
    std::vector<std::string> due;
    {
        const std::lock_guard lock(mutex_);
        const Times now = this->now();
        for (const std::string& id : flights_.running()) {
            const HeldEntry* const entry = queue_.find(id);
            if (entry != nullptr && entry->facts.stop_late &&
                flights_.find(id)->ran_seconds(now.card_ms) > place->budget.seconds_max)
                late.push_back(id);
        }
        due = flights_.due(now.ms);
    }
    for (const std::string& id : late)
        stop_flight(id, say<"held.too_long">(place->budget.seconds_max), StopCause::Time);
    const auto has_ended = [&](const std::string& id) {
        const std::lock_guard lock(mutex_);
        const Flight* const flight = flights_.find(id);
        return flight != nullptr && flight->ended;
    };
    for (const std::string& id : due) {
        if (!has_ended(id)) look_at_flight(id);
        if (has_ended(id)) end_flight(id);
    }
}

void Guard::look_at_flight(const std::string& prompt_id) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    if (!may_ask()) return;
    const Times asked = now();
    const auto read = comfyui->read_job(prompt_id);
    if (!read) {
        note_contact(false, read.error().message);
        return;
    }
    note_contact(true, "");
    const std::lock_guard lock(mutex_);
    if (flights_.note_look(prompt_id, *read, asked).is_news) note_change(prompt_id);
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
        Flight* const found = flights_.find(prompt_id);
        if (found == nullptr) return;
        const HeldEntry* const entry = queue_.find(prompt_id);
        flight = *found;
        if (end_of(flight) == FlightEnd::Done) {
            // ComfyUI tells of it: until that is written here it is no waiting job.
            found->seen_off = true;
            residents_.note(flight.program);
            if (entry != nullptr) loaded_ = entry->facts.model;
        } else {
            flights_.erase(prompt_id);
            ending_ = true;
            if (entry != nullptr) discretion_.begin_end(*entry, flight);
        }
        recount();
    }
    if (end_of(flight) == FlightEnd::Done) {
        settled_.notify_all();
        claimed_.add(flight.images);
        if (flight.untold) {
            end_untold(std::move(flight));
            return;
        }
        claimed_.add(flight.outputs);
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
    const FlightEnd end = end_of(flight);
    if ((end == FlightEnd::Unstarted || end == FlightEnd::Lost) && has_left_its_work(flight))
        return;
    // A try that comes after it makes files of its own.
    claimed_.add(flight.outputs);
    switch (end) {
        case FlightEnd::Done:
            return;  // not here
        case FlightEnd::TakenBack:
            record_run(flight, history::Outcome::Cancelled, "");
            end_job(flight, HeldState::Cancelled, say<"held.taken_back">(), std::nullopt);
            return;
        case FlightEnd::Stopped:
            end_stopped(std::move(flight));
            return;
        case FlightEnd::Interrupted:
            record_run(flight, history::Outcome::Cancelled, "");
            end_job(flight, HeldState::Cancelled, say<"held.interrupted">(), std::nullopt);
            return;
        case FlightEnd::Failed: {
            if (drop_latent(flight, flight.error->node_id)) return;
            const Failure failure = classify_failure(*flight.error);
            const std::string message = first_line(flight.error->message);
            record_run(flight,
                       failure == Failure::Other ? history::Outcome::Failed
                                                 : history::Outcome::OutOfMemory,
                       message);
            end_failed(std::move(flight), failure, message);
            return;
        }
        case FlightEnd::Unheard:
            forget(flight.prompt_id);
            return;
        case FlightEnd::Unstarted:
            forget_card();
            put_back(flight, {.action = LadderAction::Again, .reason = ""});
            return;
        case FlightEnd::Lost: {
            forget_card();
            const Failure failure = flight.hung ? Failure::ServerHung : Failure::ServerLost;
            record_run(flight, history::Outcome::Lost, say<"held.went_down">());
            end_failed(std::move(flight), failure, "");
            return;
        }
    }
}

void Guard::forget_card() {
    const std::lock_guard lock(mutex_);
    residents_.forget();
    loaded_.clear();
}

void Guard::on_prompt_answered(std::uint64_t number, int status, const std::string& body) {
    const auto said = parse_json(body);
    const auto name = said ? find_string(*said, "prompt_id") : std::nullopt;
    const std::optional<std::string> given =
        name ? std::optional(std::string(*name)) : std::nullopt;
    Arrival arrival = Arrival::Nobodys;
    std::string id;
    {
        const std::lock_guard lock(mutex_);
        std::tie(arrival, id) = flights_.note_answer(number, status, given);
        if (arrival == Arrival::Nobodys) return;
        if (arrival == Arrival::UnderOtherId) ids_are_kept_ = false;
        recount();
        woken_ = true;
    }
    if (arrival == Arrival::Refused || arrival == Arrival::UnderOtherId) forget(id);
    wake_.notify_all();
}

// It is told and forgotten: nothing of it will be sent again.
void Guard::end_job(const Flight& flight, HeldState state, const Phrase& why,
                    std::optional<std::string> history) {
    {
        const std::lock_guard lock(mutex_);
        auto entry = queue_.take(flight.prompt_id);
        flights_.erase(flight.prompt_id);  // that was seen off: both at once
        recount();
        if (!entry) return;
        note_end(*entry, state, why, std::move(history));
        discretion_.forget(flight.prompt_id);
        recount();
        woken_ = true;
    }
    // Where it fails: after a crash ComfyUI's history still tells that it has ended.
    const std::vector<std::string> gone{flight.prompt_id};
    const auto dropped = ledger_.drop(gone);
    if (!dropped) warn("history", flight.prompt_id, dropped.error().message);
}

void Guard::note_end(const HeldEntry& entry, HeldState state, Phrase why,
                     std::optional<std::string> history) {
    spend_latent(entry.facts);
    HeldView view = view_of(entry);
    view.state = state;
    view.why = std::move(why);
    view.ended_ms = parts_.clock.unix_ms();
    changed_.push_back(view);
    ended_.add(std::move(view), std::move(history));
    if (state == HeldState::Done) ++counts_.done;
    if (state == HeldState::Failed) ++counts_.failed;
    if (state == HeldState::Cancelled) ++counts_.cancelled;
}

void Guard::record_run(Flight& flight, history::Outcome outcome, const std::string& error) {
    if (flight.record.run_id.empty()) return;
    history::RunRecord& record = flight.record;
    record.outcome = outcome;
    record.error = error;
    record.ended_ms = parts_.clock.unix_ms();
    if (flight.started) record.started_ms = flight.started->ms;
    record.observed_peak = flight.observed_peak;
    if (flight.started) record.observed_seconds = flight.ran_seconds(card_clock_.unix_ms());
    if (!flight.again)
        for (history::PhaseRecord& phase : record.phases)
            if (const auto steps = flight.steps.find(phase.node_id); steps != flight.steps.end())
                phase.observed_step_seconds = steps->second.all_seconds();
    if (flight.no_lesson) service::keep_out_of_learning(record);
    const auto kept = ledger_.use([&](history::Store& store) { return store.record_run(record); });
    if (!kept) warn("history", flight.prompt_id, kept.error().message);
}

void Guard::forget(const std::string& prompt_id) {
    {
        const std::lock_guard lock(mutex_);
        const auto entry = queue_.take(prompt_id);
        if (!entry) return;
        spend_latent(entry->facts);
        discretion_.clear_end(prompt_id);
        --counts_.accepted;
        ++counts_.refused;
        recount();
        announce();
    }
    const std::vector<std::string> gone{prompt_id};
    const auto dropped = ledger_.drop(gone);
    if (!dropped) warn("history", prompt_id, dropped.error().message);
}

}  // namespace plimsoll::guard
