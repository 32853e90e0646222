// SPDX-License-Identifier: Apache-2.0
#include "guard/flights.h"

#include "guard/waits.h"

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

using service::JobState;

namespace {

void note_step(Flight& flight, const service::NodeProgress& step, std::int64_t card_ms) {
    constexpr std::size_t kNodesMax = 1000;  // chosen: far above what a workflow has
    const std::string& node = step.node_id.empty() ? flight.node_id : step.node_id;
    if (flight.steps.size() >= kNodesMax && !flight.steps.contains(node)) return;
    flight.steps[node].add(static_cast<double>(card_ms) / 1000, step.value, step.max);
}

}  // namespace

FlightEnd end_of(const Flight& flight) {
    if (flight.succeeded) return FlightEnd::Done;
    if (flight.cancelled) return FlightEnd::TakenBack;
    if (flight.interrupted) return flight.stop ? FlightEnd::Stopped : FlightEnd::Interrupted;
    if (flight.error) return FlightEnd::Failed;
    if (flight.disowned) return FlightEnd::Unheard;
    return flight.started ? FlightEnd::Lost : FlightEnd::Unstarted;
}

void Flights::add(Flight flight) {
    std::string id = flight.prompt_id;
    all_.insert_or_assign(std::move(id), std::move(flight));
}

void Flights::erase(std::string_view prompt_id) {
    const auto found = all_.find(prompt_id);
    if (found != all_.end()) all_.erase(found);
}

Flight* Flights::find(std::string_view prompt_id) {
    const auto found = all_.find(prompt_id);
    return found == all_.end() ? nullptr : &found->second;
}

const Flight* Flights::find(std::string_view prompt_id) const {
    const auto found = all_.find(prompt_id);
    return found == all_.end() ? nullptr : &found->second;
}

std::vector<std::string> Flights::ids() const {
    std::vector<std::string> ids;
    for (const auto& [id, flight] : all_) ids.push_back(id);
    return ids;
}

bool Flights::begin(Flight& flight, const Times& now) {
    if (flight.started) return false;
    flight.started = now;
    return true;
}

void Flights::raise(Flight& flight, const std::vector<Alarm>& alarms) {
    for (const Alarm& alarm : alarms)
        if (alarm.threatens && (!flight.alarm || asks_for_more(alarm, *flight.alarm)))
            flight.alarm = alarm;
}

Flights::Heard Flights::hear(std::string_view prompt_id, const service::Message& said,
                             std::int64_t card_ms, const std::vector<std::string>& outputs,
                             const Times& now) {
    using namespace service;
    Heard heard;
    Flight* const flight = find(prompt_id);
    if (flight == nullptr || flight->seen_off || std::holds_alternative<Ignored>(said))
        return heard;
    flight->confirmed = true;
    heard.is_news = begin(*flight, now);
    if (const auto* const node = std::get_if<NodeStarted>(&said)) {
        flight->node_id = node->node_id;
        if (flight->watch) flight->watch->on_node(card_ms, node->node_id);
    } else if (const auto* const step = std::get_if<NodeProgress>(&said)) {
        note_step(*flight, *step, card_ms);
        if (flight->watch)
            heard.alarms =
                flight->watch->on_progress(card_ms, step->node_id, step->value, step->max);
        raise(*flight, heard.alarms);
    } else if (const auto* const failed = std::get_if<Failed>(&said)) {
        flight->error = failed->error;
    } else if (std::holds_alternative<WasInterrupted>(said)) {
        flight->interrupted = true;
    } else if (const auto* const output = std::get_if<NodeOutput>(&said)) {
        // With the last of them nothing is left to compute: a ComfyUI that is killed before it
        // says so has done the job all the same, and is not to do it twice.
        flight->outputs.insert_or_assign(output->node_id, output->images);
        const auto is_there = [&](const auto& one) { return flight->outputs.contains(one); };
        if (!outputs.empty() && std::ranges::all_of(outputs, is_there)) flight->succeeded = true;
    } else if (std::holds_alternative<Succeeded>(said)) {
        flight->succeeded = true;
    } else if (std::holds_alternative<Ended>(said)) {
        flight->ended = flight->succeeded || flight->error || flight->interrupted;
        flight->polled_ms = 0;
    }
    return heard;
}

Flights::Heard Flights::note_look(std::string_view prompt_id, const service::JobRecord& record,
                                  const Times& now) {
    Heard heard;
    Flight* const flight = find(prompt_id);
    if (flight == nullptr) return heard;
    flight->polled_ms = now.ms;
    if (record.state != JobState::Unknown) {
        heard.is_news = !flight->confirmed;
        flight->confirmed = true;
        flight->lost_contact = false;
        flight->unknown_since_ms.reset();
    }
    switch (record.state) {
        case JobState::Running:
            heard.is_news = begin(*flight, now) || heard.is_news;
            break;
        case JobState::Pending:
            break;
        case JobState::Succeeded:
            flight->succeeded = true;
            flight->ended = true;
            flight->images = record.images;
            break;
        case JobState::Failed:
            if (!flight->error) flight->error = record.error.value_or(service::NodeError{});
            flight->ended = true;
            break;
        case JobState::Interrupted:
            flight->interrupted = true;
            flight->ended = true;
            break;
        case JobState::Unknown: {
            // Its owner deletes only what it has seen the end of.
            if (flight->history_gone || flight->succeeded) {
                flight->untold = !flight->history_gone;
                flight->succeeded = true;
                flight->ended = true;
                break;
            }
            if (!flight->unknown_since_ms) flight->unknown_since_ms = now.ms;
            const std::int64_t patience = flight->is_on_its_way() ? kUnansweredMs
                                          : flight->lost_contact  ? 0
                                                                  : kUnknownMs;
            flight->ended = now.ms - *flight->unknown_since_ms >= patience;
            break;
        }
    }
    return heard;
}

std::pair<Arrival, std::string> Flights::note_answer(std::uint64_t request_number, int status,
                                                     const std::optional<std::string>& given) {
    constexpr int kOk = 200;
    constexpr int kServerError = 500;
    const auto found = std::ranges::find_if(all_, [&](const auto& one) {
        return one.second.request_number == request_number && request_number != 0;
    });
    if (found == all_.end()) return {Arrival::Nobodys, ""};
    auto& [id, flight] = *found;
    if (status == kOk && (!given || *given == id)) {
        flight.confirmed = true;
        flight.polled_ms = 0;
        return {Arrival::Taken, id};
    }
    if (status >= kServerError) {
        // ComfyUI is asked before it is forgotten.
        flight.disowned = true;
        flight.lost_contact = true;
        return {Arrival::Doubtful, id};
    }
    std::string gone = id;
    all_.erase(found);
    return {status == kOk ? Arrival::UnderOtherId : Arrival::Refused, std::move(gone)};
}

std::vector<Flights::AlarmOf> Flights::note_card(
    const CardSeen& card, std::int64_t card_ms,
    const std::function<bool(const std::string&)>& listens) {
    std::vector<AlarmOf> all;
    for (auto& [id, flight] : all_) {
        if (!flight.started) continue;
        flight.no_lesson = flight.no_lesson || card.slows_itself;
        if (card.use.allocated)
            flight.observed_peak =
                std::max(flight.observed_peak.value_or(Bytes(0)), *card.use.allocated);
        if (!flight.watch) continue;
        flight.watch->set_heard(card_ms, listens(id));
        const std::vector<Alarm> alarms = flight.watch->on_card(card_ms, card.use);
        raise(flight, alarms);
        for (const Alarm& alarm : alarms) all.push_back({id, alarm});
    }
    return all;
}

void Flights::lose_contact() {
    for (auto& [id, flight] : all_) flight.lost_contact = true;
}

void Flights::complete(Flight prepared) {
    Flight* const flight = find(prepared.prompt_id);
    if (flight == nullptr) return;
    flight->program = std::move(prepared.program);
    flight->record = std::move(prepared.record);
    flight->again = prepared.again;
    // One that is watched already has seen something: that is not forgotten.
    if (!flight->watch)
        flight->watch = std::move(prepared.watch);
    else if (prepared.watch)
        flight->watch->set_forecast(prepared.watch->forecast());
}

void Flights::ask_soon() {
    for (auto& [id, flight] : all_) flight.polled_ms = 0;
}

std::vector<std::string> Flights::due(std::int64_t now_ms) const {
    std::vector<std::string> due;
    for (const auto& [id, flight] : all_)
        if (flight.ended || now_ms - flight.polled_ms >= kPollMs) due.push_back(id);
    return due;
}

std::vector<Flights::AlarmOf> Flights::take_alarms() {
    std::vector<AlarmOf> all;
    for (auto& [id, flight] : all_) {
        if (!flight.alarm) continue;
        Alarm alarm = *std::exchange(flight.alarm, std::nullopt);
        if (!flight.stop && !flight.ended && !flight.cancelled)
            all.push_back({id, std::move(alarm)});
    }
    return all;
}

std::vector<std::string> Flights::running() const {
    std::vector<std::string> running;
    for (const auto& [id, flight] : all_)
        if (flight.started && !flight.stop && !flight.ended) running.push_back(id);
    return running;
}

bool Flights::stop(std::string_view prompt_id, StopCause cause, const Phrase& reason,
                   std::int64_t card_ms) {
    Flight* const flight = find(prompt_id);
    if (flight == nullptr) return false;
    flight->stop = cause;
    flight->stop_reason = reason;
    flight->stop_card_ms = card_ms;
    flight->polled_ms = 0;
    return true;
}

bool Flights::cancel(std::string_view prompt_id) {
    Flight* const flight = find(prompt_id);
    if (flight == nullptr || flight->lost_contact) return false;
    flight->cancelled = true;
    return true;
}

void Flights::cancel_running() {
    const bool any =
        std::ranges::any_of(all_, [](const auto& one) { return one.second.started.has_value(); });
    for (auto& [id, flight] : all_) flight.cancelled = flight.cancelled || !any || flight.started;
}

void Flights::cancel_waiting() {
    for (auto& [id, flight] : all_)
        if (!flight.started && !flight.lost_contact) flight.cancelled = true;
}

void Flights::forget_history(const std::function<bool(const std::string&)>& of) {
    for (auto& [id, flight] : all_)
        if (of(id)) flight.history_gone = flight.started.has_value();
}

bool Flights::mark_hung(std::int64_t card_ms) {
    bool any = false;
    for (auto& [id, flight] : all_)
        if (flight.stop == StopCause::Stalled && !flight.ended &&
            card_ms - flight.stop_card_ms >= kHungMs)
            any = flight.hung = true;
    return any;
}

bool Flights::is_settled() const {
    return std::ranges::none_of(
        all_, [](const auto& one) { return one.second.is_over() && !one.second.seen_off; });
}

}  // namespace plimsoll::guard
