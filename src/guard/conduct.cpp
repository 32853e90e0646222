// SPDX-License-Identifier: Apache-2.0
//
// The guard's own threads: one hears ComfyUI, one sends what was accepted and sees it to its end.
// Also what those around it say: the gateway's messages, the card's samples, alarms, heat.
#include "guard/guard.h"

#include "base/json.h"
#include "guard/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

namespace plimsoll::guard {

void Guard::start() {
    thread_ = std::thread([this] { run(); });
    listener_ = std::thread([this] { listen(); });
}

void Guard::stop() {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ && !thread_.joinable()) return;
        stopping_ = true;
        door_ = nullptr;
    }
    wake_.notify_all();
    over_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (listener_.joinable()) listener_.join();
}

void Guard::listen() {
    using std::chrono::milliseconds;
    constexpr milliseconds kWait{250};     // chosen: a stop waits so long
    constexpr milliseconds kAgain{1'000};  // chosen: as for requests
    std::string client_id;
    {
        const std::lock_guard lock(mutex_);
        client_id = "plimsoll-" + ids_.next_uuid();
    }
    const auto is_over = [&](milliseconds wait) {
        std::unique_lock lock(mutex_);
        return over_.wait_for(lock, wait, [&] { return stopping_; });
    };
    while (!is_over(milliseconds(0))) {
        auto reached = parts_.comfyui.reach();
        auto events =
            reached
                ? (*reached)->open_events(client_id, "")
                : Result<std::unique_ptr<service::EventStream>>(std::unexpected(reached.error()));
        const std::string address = parts_.comfyui.address();
        while (events && address == parts_.comfyui.address() && !is_over(milliseconds(0))) {
            const auto said = (*events)->next(kWait);
            if (!said) break;
            if (!*said || !std::holds_alternative<service::QueueRemaining>(**said)) continue;
            {
                const std::lock_guard lock(mutex_);
                upstream_remaining_ = std::get<service::QueueRemaining>(**said).count;
                flights_.ask_soon();
                woken_ = true;
            }
            wake_.notify_all();
        }
        if (events) (*events)->close();
        if (is_over(kAgain)) return;
    }
}

void Guard::run() {
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (stopping_) return;
            const bool idle = flights_.empty() && queue_.size() == 0 && !clearing_;
            const auto wait = std::chrono::milliseconds(idle ? kWakeMs : kPollMs);
            wake_.wait_for(lock, wait, [&] { return stopping_ || woken_; });
            if (stopping_) return;
            woken_ = false;
        }
        turn();
    }
}

void Guard::hear() {
    const std::lock_guard in_order(hearing_);
    for (;;) {
        Heard heard;
        {
            const std::lock_guard lock(mutex_);
            if (messages_.empty()) return;
            heard = std::move(messages_.front());
            messages_.pop_front();
        }
        take_message(heard);
    }
}

void Guard::settle() {
    constexpr std::chrono::milliseconds kWait{100};  // chosen: ten times what it takes
    hear();
    std::unique_lock lock(mutex_);
    // What has succeeded or failed is over in a moment: ComfyUI says so last.
    const auto is_settled = [&] { return stopping_ || (!ending_ && flights_.is_settled()); };
    if (is_settled() || !thread_.joinable()) return;
    woken_ = true;
    wake_.notify_all();
    (void)settled_.wait_for(lock, kWait, is_settled);
}

bool Guard::is_idle() const {
    std::size_t seen_off = 0;
    for (const auto& [id, flight] : flights_.all()) {
        if (!flight.seen_off) return false;
        if (queue_.find(id) != nullptr) ++seen_off;
    }
    return queue_.size() == seen_off;
}

void Guard::turn() {
    hear();
    complete_flights();
    act_on_watch();
    act_on_heat();
    look_at_flights();
    restart_where_gone();
    if (!is_clearing()) send_next();
    keep_clients_awake();
    flush();
}

service::Upstream* Guard::upstream() {
    // After a reload it may be elsewhere.
    if (upstream_ && upstream_->address() == parts_.comfyui.address()) return upstream_.get();
    upstream_.reset();
    auto reached = parts_.comfyui.reach();
    if (!reached) {
        note_contact(false, reached.error().message);
        return nullptr;
    }
    upstream_ = std::move(*reached);
    return upstream_.get();
}

void Guard::note_contact(bool reachable, const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (!reachable) {
        flights_.lose_contact();
        contact_tried_ms_ = parts_.clock.unix_ms();
        if (!gone_since_ms_) gone_since_ms_ = contact_tried_ms_;
    } else {
        if (gone_since_ms_) restarted_ms_.reset();
        gone_since_ms_.reset();
    }
    recount();
    if (reachable == reachable_) return;
    reachable_ = reachable;
    if (!reachable)
        notes_.push_back(
            {"comfyui_gone", "", fmt::format("jobs wait until ComfyUI is back: {}", why)});
}

// A ComfyUI that is gone, or hangs, is started anew where the user has said how.
void Guard::restart_where_gone() {
    const std::int64_t now = parts_.clock.unix_ms();
    if (!parts_.restart_comfyui) return;
    const bool is_gone = gone_since_ms_ && now - *gone_since_ms_ >= kGoneMs;
    bool hangs = false;
    {
        const std::lock_guard lock(mutex_);
        hangs = flights_.mark_hung(card_clock_.unix_ms());
    }
    if (!is_gone && !hangs) return;
    if (restarted_ms_ && now - *restarted_ms_ < kRestartMs) return;
    restarted_ms_ = now;
    const auto restarted = parts_.restart_comfyui();
    warn(restarted ? "comfyui_restarted" : "comfyui_restart_failed", "",
         restarted ? fmt::format("ComfyUI {}: it was started anew",
                                 is_gone ? "did not answer" : "did not let go of a job that hangs")
                   : restarted.error().message);
}

// --- watching ------------------------------------------------------------------------------------

void Guard::note_alarm(const std::string& prompt_id, const Alarm& alarm) {
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
            const HeldEntry* const entry = queue_.find(one.prompt_id);
            if (entry != nullptr && entry->facts.may_change && entry->facts.tries.stops < kStopsMax)
                all.push_back({*entry, one.alarm});
        }
    }
    for (Due& due : all) {
        const std::string id = due.entry.kept.prompt_id;
        const StopCause cause = due.alarm.kind == AlarmKind::Spill   ? StopCause::Spilled
                                : due.alarm.kind == AlarmKind::Stall ? StopCause::Stalled
                                                                     : StopCause::Drifted;
        if (cause != StopCause::Drifted || make_next_plan(due.entry))
            stop_flight(id, due.alarm.sentence, cause);
        else
            warn("job_goes_on", id, "there is nothing smaller to change it to: it goes on");
    }
}

void Guard::act_on_heat() {
    std::vector<std::string> hot;
    std::string why;
    {
        const std::lock_guard lock(mutex_);
        if (heat_.state() != HeatState::Critical) return;
        why = heat_.why();
        hot = flights_.running();
    }
    for (const std::string& id : hot)
        stop_flight(id, fmt::format("the card is too hot: {}", why), StopCause::Heat);
}

void Guard::stop_flight(const std::string& prompt_id, const std::string& reason, StopCause cause) {
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
        const auto written =
            with_store([&](history::Store& store) { return store.keep_held(*kept); });
        if (!written) warn("history", prompt_id, written.error().message);
    }
    const auto cancelled = comfyui->cancel(prompt_id);
    warn("job_stopped", prompt_id, cancelled ? reason : cancelled.error().message);
}

void Guard::on_sample(const service::CardSample& sample) {
    const auto place = parts_.place();
    card_clock_.set_pace(parts_.comfyui.pace());
    const std::int64_t now = card_clock_.unix_ms();
    const std::lock_guard lock(mutex_);
    sample_ = sample;
    if (place->site.from_comfyui) {
        const Bytes others = place->site.device.used_by_others;
        others_least_ = std::min(others_least_.value_or(others), others);
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

void Guard::keep_clients_awake() {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = parts_.clock.unix_ms();
    if (held_ == 0 || now - woke_clients_ms_ < kWakeMs) return;
    woke_clients_ms_ = now;
    announce();
}

void Guard::on_message(const gateway::UpstreamMessage& message) {
    constexpr std::size_t kMessagesMax = 10'000;  // chosen: five seconds of the fastest sampler
    if (message.binary) return;
    {
        const std::lock_guard lock(mutex_);
        if (messages_.size() >= kMessagesMax) messages_.pop_front();
        messages_.push_back({message, card_clock_.unix_ms()});
        woken_ = true;
    }
    wake_.notify_all();
}

void Guard::on_upstream(bool reachable, const std::string& why) {
    // Only a hint: the thread finds out itself when it asks next.
    if (!reachable) {
        const std::lock_guard lock(mutex_);
        flights_.lose_contact();
        reachable_ = false;
        recount();
        notes_.push_back({"comfyui_gone", "", why});
        woken_ = true;
    } else {
        const std::lock_guard lock(mutex_);
        reachable_ = true;
        woken_ = true;
    }
    wake_.notify_all();
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

void Guard::on_client(const std::string& client_id, bool connected) {
    constexpr std::size_t kListeningMax = 100'000;  // chosen: far above the gateway's connections
    const std::lock_guard lock(mutex_);
    if (connected && (listening_.size() < kListeningMax || listening_.contains(client_id)))
        ++listening_[client_id];
    const auto found = listening_.find(client_id);
    if (!connected && found != listening_.end() && --found->second <= 0) listening_.erase(found);
}

void Guard::forget(const std::string& prompt_id) {
    {
        const std::lock_guard lock(mutex_);
        if (!queue_.take(prompt_id)) return;
        discretion_.clear_end(prompt_id);
        --counts_.accepted;
        ++counts_.refused;
        recount();
        announce();
    }
    const std::vector<std::string> gone{prompt_id};
    const auto dropped = with_store([&](history::Store& store) { return store.drop_held(gone); });
    if (!dropped) warn("history", prompt_id, dropped.error().message);
}

void Guard::note_change(const std::string& prompt_id) {
    if (const HeldEntry* const entry = queue_.find(prompt_id)) changed_.push_back(view_of(*entry));
}

void Guard::warn(std::string_view code, const std::string& prompt_id, const std::string& text) {
    const std::lock_guard lock(mutex_);
    notes_.push_back({std::string(code), prompt_id, text});
}

void Guard::flush() {
    std::deque<Note> notes;
    std::deque<HeldView> views;
    std::optional<bool> busy;
    {
        const std::lock_guard lock(mutex_);
        notes.swap(notes_);
        views.swap(changed_);
        if (to_broadcast_ && door_ != nullptr) door_->broadcast(status_message(*to_broadcast_));
        to_broadcast_.reset();
        if (is_busy_ != !flights_.empty()) busy = is_busy_ = !flights_.empty();
    }
    for (const Note& note : notes)
        if (callbacks_.on_warning) callbacks_.on_warning(note.code, note.prompt_id, note.text);
    for (const HeldView& view : views)
        if (callbacks_.on_job) callbacks_.on_job(view);
    if (busy && callbacks_.on_busy) callbacks_.on_busy(*busy);
}

}  // namespace plimsoll::guard
