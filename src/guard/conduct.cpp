// SPDX-License-Identifier: Apache-2.0
//
// The guard's own thread: what was accepted goes to ComfyUI and comes to its end.
#include "guard/guard.h"

#include "base/json.h"
#include "base/log.h"
#include "guard/shape.h"
#include "service/run_record.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace plimsoll::guard {

namespace {

using service::JobState;

constexpr std::int64_t kPollMs = 250;       // chosen: a request to a local server takes one
constexpr std::int64_t kUnknownMs = 1'500;  // chosen: ComfyUI moves a job between lists at once
constexpr std::int64_t kUnansweredMs =
    60'000;                                   // chosen: validating the largest graph takes seconds
constexpr std::int64_t kContactMs = 1'000;    // chosen: looked for again where it is gone
constexpr std::int64_t kGoneMs = 10'000;      // chosen: a supervisor of the user's would be faster
constexpr std::int64_t kRestartMs = 120'000;  // chosen: ComfyUI with many packs starts in a minute
constexpr std::int64_t kWakeMs = 5'000;       // a client hangs up after 10 s without a word
constexpr std::int64_t kCoolMs = 30'000;      // an interrupted job comes back after the rest

std::string_view part(std::string_view text, const workflow::Span& span) {
    return text.substr(span.begin, span.end - span.begin);
}

// The first line: the rest are tips.
std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

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
                for (auto& [id, flight] : flights_) flight.polled_ms = 0;
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

void Guard::turn() {
    for (;;) {
        gateway::UpstreamMessage message;
        {
            const std::lock_guard lock(mutex_);
            if (messages_.empty()) break;
            message = std::move(messages_.front());
            messages_.pop_front();
        }
        take_message(message);
    }
    complete_flights();
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
        for (auto& [id, flight] : flights_) flight.lost_contact = true;
        contact_tried_ms_ = parts_.clock.unix_ms();
        if (!gone_since_ms_) gone_since_ms_ = contact_tried_ms_;
    } else {
        gone_since_ms_.reset();
        restarted_ms_.reset();
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
    if (!parts_.restart_comfyui || !gone_since_ms_ || now - *gone_since_ms_ < kGoneMs) return;
    if (restarted_ms_ && now - *restarted_ms_ < kRestartMs) return;
    restarted_ms_ = now;
    const auto restarted = parts_.restart_comfyui();
    warn(restarted ? "comfyui_restarted" : "comfyui_restart_failed", "",
         restarted ? "ComfyUI did not answer: it was started anew" : restarted.error().message);
}

// --- what is with ComfyUI ------------------------------------------------------------------------

void Guard::take_message(const gateway::UpstreamMessage& message) {
    using namespace service;
    if (message.binary || !message.whole) return;
    std::vector<std::string> ids;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, flight] : flights_) ids.push_back(id);
    }
    ids.resize(std::max<std::size_t>(ids.size(), 1));  // a status is nobody's in particular
    const std::int64_t now = parts_.clock.unix_ms();
    for (const std::string& id : ids) {
        const Message said = parse_message(message.bytes, id);
        const std::lock_guard lock(mutex_);
        if (const auto* const remaining = std::get_if<QueueRemaining>(&said)) {
            upstream_remaining_ = remaining->count;
            for (auto& [other, flight] : flights_) flight.polled_ms = 0;
            return;
        }
        const auto found = flights_.find(id);
        if (found == flights_.end()) continue;
        Flight& flight = found->second;
        if (std::holds_alternative<Ignored>(said)) continue;
        flight.confirmed = true;
        if (!flight.started_ms) {
            flight.started_ms = now;
            changed_.push_back(view_of(*queue_.find(id)));
        }
        if (const auto* const node = std::get_if<NodeStarted>(&said)) {
            flight.node_id = node->node_id;
            if (flight.watch) flight.watch->on_node(now, node->node_id);
        } else if (const auto* const step = std::get_if<NodeProgress>(&said)) {
            if (flight.watch)
                act_on_alarms(
                    flight, flight.watch->on_progress(now, step->node_id, step->value, step->max));
        } else if (const auto* const failed = std::get_if<Failed>(&said)) {
            flight.error = failed->error;
        } else if (std::holds_alternative<WasInterrupted>(said)) {
            flight.interrupted = true;
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
        if (!found->second.watch) found->second.watch = std::move(flight.watch);
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
            const bool bounded = entry != nullptr && entry->facts.stop_late && flight.started_ms &&
                                 !flight.stop_reason;
            if (bounded &&
                static_cast<double>(now - *flight.started_ms) / 1000 > place->budget.seconds_max)
                late.push_back(id);
            if (flight.ended || now - flight.polled_ms >= kPollMs) due.push_back(id);
        }
    }
    for (const std::string& id : late)
        stop_flight(id,
                    fmt::format("it took longer than {}", seconds_text(place->budget.seconds_max)),
                    StopFor::Time);
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
            if (!flight.started_ms) flight.started_ms = now;
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

void Guard::end_flight(const std::string& prompt_id) {
    Flight flight;
    {
        const std::lock_guard lock(mutex_);
        auto node = flights_.extract(prompt_id);
        if (node.empty()) return;
        flight = std::move(node.mapped());
        recount();
    }
    if (flight.succeeded) {
        {
            const std::lock_guard lock(mutex_);
            residents_.note(flight.program);
            if (const HeldEntry* const entry = queue_.find(prompt_id)) loaded_ = entry->facts.model;
        }
        record_run(flight, history::Outcome::Done, "");
        end_job(flight, HeldState::Done, "", std::nullopt);
        return;
    }
    if (flight.cancelled) {
        record_run(flight, history::Outcome::Cancelled, "");
        end_job(flight, HeldState::Cancelled, "taken back by its client", std::nullopt);
        return;
    }
    if (flight.stopped_for) {
        record_run(flight, history::Outcome::Failed, flight.stop_reason.value_or(""));
        end_failed(std::move(flight), *flight.stopped_for, "");
        return;
    }
    if (flight.stop_reason && flight.interrupted) {
        // Stopped by us. Heat: it comes back. Time: it does not.
        if (flight.stopped_by_heat) {
            const std::lock_guard lock(mutex_);
            if (HeldEntry* const entry = queue_.find(prompt_id))
                entry->not_before_ms = parts_.clock.unix_ms() + kCoolMs;
        }
        record_run(flight, history::Outcome::Cancelled, *flight.stop_reason);
        if (flight.stopped_by_heat)
            put_back(flight, {.action = LadderAction::Again, .reason = *flight.stop_reason});
        else
            end_job(flight, HeldState::Failed, *flight.stop_reason, std::nullopt);
        return;
    }
    if (flight.interrupted) {
        record_run(flight, history::Outcome::Cancelled, "");
        end_job(flight, HeldState::Cancelled, "interrupted by its client", std::nullopt);
        return;
    }
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
        record_run(flight, history::Outcome::Lost, "ComfyUI went down meanwhile");
        end_failed(std::move(flight), Failure::ServerLost, "");
    } else {
        put_back(flight, {.action = LadderAction::Again, .reason = ""});
    }
}

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

// --- what goes to ComfyUI ------------------------------------------------------------------------

void Guard::clear_card(bool reset_caches) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    const auto freed = reset_caches ? comfyui->free_models() : comfyui->unload_models();
    if (!freed) {
        warn("free", "", freed.error().message);
        return;
    }
    clearing_.emplace(Clearing{.settles = MemorySettles(parts_.clock.unix_ms())});
    clearing_now_ = true;
    const std::lock_guard lock(mutex_);
    residents_.forget();
    loaded_.clear();
    ++counts_.freed;
}

bool Guard::is_clearing() {
    if (!clearing_) return false;
    service::Upstream* const comfyui = upstream();
    const std::int64_t now = parts_.clock.unix_ms();
    if (comfyui == nullptr || now - clearing_->looked_ms < kPollMs) return true;
    clearing_->looked_ms = now;
    const auto stats = comfyui->read_stats();
    const bool rests = !stats || stats->devices.empty() ||
                       clearing_->settles.add(now, stats->devices.front().vram_free);
    if (!rests) return true;
    clearing_.reset();
    clearing_now_ = false;
    return false;
}

Moment Guard::moment() const {
    Moment moment{.now_ms = parts_.clock.unix_ms(), .loaded = loaded_};
    moment.heat = gate_of(heat_.state());
    moment.paused = paused_;
    const auto place = parts_.place();
    if (place->stats && !place->stats->devices.empty()) {
        const service::DeviceStats& device = place->stats->devices.front();
        const Bytes outside = device.used() - device.torch_total;
        if (device.type != "cpu") moment.room = device.vram_total - outside;
    }
    return moment;
}

void Guard::send_next() {
    const std::int64_t now = parts_.clock.unix_ms();
    if (gone_since_ms_ && now - contact_tried_ms_ < kContactMs) return;
    HeldEntry entry;
    Flight flight;
    {
        const std::lock_guard lock(mutex_);
        if (!flights_.empty()) return;
        const auto next = queue_.choose(moment());
        if (!next) return;
        entry = *queue_.find(*next);
        flight.prompt_id = *next;
        flight.sent_ms = now;
    }
    if (prepare(entry, flight) && !entry.cleared) {
        {
            const std::lock_guard lock(mutex_);
            if (HeldEntry* const waiting = queue_.find(flight.prompt_id)) waiting->cleared = true;
        }
        clear_card(false);
        if (clearing_) return;
    }
    send(entry, std::move(flight));
}

bool Guard::prepare(const HeldEntry& entry, Flight& flight) {
    const auto place = parts_.place();
    const std::string prompt(part(entry.kept.body, entry.prompt));
    std::vector<SharedProgram> past;
    {
        const std::lock_guard lock(mutex_);
        past = residents_.past();
        if (flight.record.run_id.empty()) flight.record.run_id = ids_.next_uuid();
    }
    bool clear = !past.empty() && needs_clear(prompt, *place, past);
    // Somebody else's jobs may have left something, too: what torch has now is what counts.
    service::Upstream* const comfyui = past.empty() && entry.facts.peak ? upstream() : nullptr;
    if (comfyui != nullptr) {
        constexpr Bytes kWorthIt = Bytes(64LL << 20U);  // chosen: as in needs_clear
        const auto stats = comfyui->read_stats();
        const Bytes there = stats && !stats->devices.empty() && stats->devices.front().type != "cpu"
                                ? stats->devices.front().allocated()
                                : Bytes(0);
        clear = there > kWorthIt && there + *entry.facts.peak > place->budget.load_line;
    }
    const auto forecast = forecaster(*place, prompt, clear ? std::vector<SharedProgram>{} : past)(
        {.workflow = prompt, .reserve_vram = std::nullopt});
    if (auto program = program_of(prompt, surroundings_of(*place, prompt)))
        flight.program = std::move(*program);
    service::Job job;
    job.model = entry.facts.model;
    job.checkpoint = entry.facts.model;
    const std::string run_id = flight.record.run_id;
    if (forecast) {
        flight.record = service::make_run_record(job, prompt, *forecast, place->budget);
        JobForecast watched{.nodes = {}, .load_line = place->budget.load_line};
        if (forecast->memory.verdict != memory::Verdict::Unknown)
            for (std::size_t i = 0; i < forecast->memory.phases.size(); ++i) {
                const memory::Phase& phase = forecast->memory.phases[i];
                NodeForecast& node = watched.nodes[phase.node_id];
                node.peak = std::max(node.peak, phase.peak);
                if (i < forecast->seconds.phases.size())
                    node.seconds += forecast->seconds.phases[i].total;
            }
        flight.watch.emplace(std::move(watched), parts_.clock.unix_ms());
    }
    flight.record.run_id = run_id;
    flight.record.prompt_id = entry.kept.prompt_id;
    flight.record.started_ms = parts_.clock.unix_ms();
    flight.record.card = place->site.card_name;
    if (place->stats) flight.record.comfyui_version = place->stats->comfyui_version;
    for (const Edit& edit : entry.facts.edits)
        flight.record.changes.push_back(
            {.knob = edit.knob, .from = edit.from, .to = edit.to, .saved = Bytes(0), .seconds = 0});
    return clear;
}

void Guard::send(const HeldEntry& entry, Flight flight) {
    const std::string id = flight.prompt_id;
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    history::HeldMark mark = entry.kept.mark;
    mark.sent = true;
    const std::vector<history::HeldChange> changes{{id, mark}};
    // Before it is sent: whoever comes after a crash asks ComfyUI first.
    const auto marked = with_store([&](history::Store& store) { return store.mark_held(changes); });
    if (!marked) warn("history", id, marked.error().message);
    {
        const std::lock_guard lock(mutex_);
        if (queue_.find(id) == nullptr) return;  // taken back meanwhile
        queue_.mark(id, mark);
        flights_.insert_or_assign(id, flight);
        recount();
    }
    const auto reply = comfyui->post_prompt(entry.body_to_send());
    if (!reply) {
        // It may have arrived: the next look at ComfyUI tells.
        note_contact(false, reply.error().message);
        return;
    }
    note_contact(true, "");
    if (reply->status != 200) {
        refuse_late(entry, std::move(flight), *reply);
        return;
    }
    const auto said = parse_json(reply->body);
    const auto given = said ? find_string(*said, "prompt_id") : std::nullopt;
    const std::lock_guard lock(mutex_);
    if (given && *given != id) {
        ids_are_kept_ = false;
        notes_.push_back({"comfyui_old", id,
                          "ComfyUI gives jobs ids of its own: prompts are forwarded as they come; "
                          "update ComfyUI to 0.3.64 or later"});
    }
    if (const auto found = flights_.find(id); found != flights_.end())
        found->second.confirmed = true;
    if (const HeldEntry* const now_sent = queue_.find(id)) changed_.push_back(view_of(*now_sent));
    recount();
}

// ComfyUI does not want what its client was promised: told as a failure of the job.
void Guard::refuse_late(const HeldEntry& entry, Flight flight, const service::PromptReply& reply) {
    const std::string message = service::parse_refusal(reply.status, reply.body).message;
    const auto said = parse_json(reply.body);
    const json::value* const nodes = said ? plimsoll::find(*said, "node_errors") : nullptr;
    LateFailure failure{.prompt_id = flight.prompt_id,
                        .node_id = entry.outputs.empty() ? "" : entry.outputs.front(),
                        .class_type = "",
                        .message = message,
                        .exception_type = "plimsoll.Refused",
                        .at_ms = parts_.clock.unix_ms()};
    if (nodes != nullptr && nodes->is_object() && !nodes->get_object().empty()) {
        const auto& first = *nodes->get_object().begin();
        failure.node_id = std::string(first.key());
        failure.class_type = std::string(find_string(first.value(), "class_type").value_or(""));
    }
    {
        const std::lock_guard lock(mutex_);
        flights_.erase(flight.prompt_id);
        if (door_ != nullptr && !entry.facts.client.empty())
            for (std::string& text : failure_messages(failure))
                door_->send_to(entry.facts.client, std::move(text));
    }
    end_job(flight, HeldState::Failed, message, history_item(failure, entry));
}

// --- watching ------------------------------------------------------------------------------------

// With the lock held.
void Guard::act_on_alarms(Flight& flight, const std::vector<Alarm>& alarms) {
    for (const Alarm& alarm : alarms) {
        notes_.push_back(
            {fmt::format("job_{}", alarm_name(alarm.kind)), flight.prompt_id, alarm.sentence});
        const HeldEntry* const entry = queue_.find(flight.prompt_id);
        if (alarm.kind == AlarmKind::Spill && entry != nullptr && entry->facts.may_change)
            flight.stopped_for = Failure::Spilled;
    }
}

void Guard::act_on_heat() {
    std::vector<std::string> spilled;
    std::vector<std::string> hot;
    std::string why;
    {
        const std::lock_guard lock(mutex_);
        why = heat_.why();
        for (auto& [id, flight] : flights_) {
            if (flight.stop_reason) continue;
            if (flight.stopped_for) spilled.push_back(id);
            if (flight.started_ms && heat_.state() == HeatState::Critical) hot.push_back(id);
        }
    }
    for (const std::string& id : spilled)
        stop_flight(id, "it spilled into the machine's memory", StopFor::Spill);
    for (const std::string& id : hot)
        stop_flight(id, fmt::format("the card is too hot: {}", why), StopFor::Heat);
}

void Guard::stop_flight(const std::string& prompt_id, const std::string& reason, StopFor cause) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    {
        const std::lock_guard lock(mutex_);
        const auto found = flights_.find(prompt_id);
        if (found == flights_.end()) return;
        found->second.stop_reason = reason;
        found->second.stopped_by_heat = cause == StopFor::Heat;
        found->second.polled_ms = 0;
    }
    const auto cancelled = comfyui->cancel(prompt_id);
    warn("job_stopped", prompt_id, cancelled ? reason : cancelled.error().message);
}

void Guard::on_sample(const service::CardSample& sample) {
    const auto place = parts_.place();
    const std::lock_guard lock(mutex_);
    sample_ = sample;
    if (place->site.from_comfyui) {
        const Bytes others = place->site.device.used_by_others;
        others_least_ = std::min(others_least_.value_or(others), others);
    }
    const bool throttled = sample.look.heat.throttled.value_or(false);
    if (heat_.add({.at_ms = sample.at_ms,
                   .temperature_c = sample.look.heat.temperature_c,
                   .throttled = sample.look.heat.throttled,
                   .limits = sample.look.limits})) {
        notes_.push_back({fmt::format("heat_{}", heat_state_name(heat_.state())), "", heat_.why()});
        woken_ = true;
    }
    for (auto& [id, flight] : flights_) {
        if (!flight.started_ms) continue;
        flight.throttled = flight.throttled || throttled || heat_.state() == HeatState::Critical;
        if (sample.allocated)
            flight.observed_peak =
                std::max(flight.observed_peak.value_or(Bytes(0)), *sample.allocated);
        if (flight.watch)
            act_on_alarms(flight,
                          flight.watch->on_card(sample.at_ms, {.allocated = sample.allocated,
                                                               .used = sample.used,
                                                               .total = sample.total}));
    }
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
        messages_.push_back(message);
        woken_ = true;
    }
    wake_.notify_all();
}

void Guard::on_upstream(bool reachable, const std::string& why) {
    // Only a hint: the thread finds out itself when it asks next.
    if (!reachable) {
        const std::lock_guard lock(mutex_);
        for (auto& [id, flight] : flights_) flight.lost_contact = true;
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
    constexpr int kServerError = 500;
    std::optional<std::string> refused;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::ranges::find_if(flights_, [&](const auto& one) {
            return one.second.request_number == number && number != 0;
        });
        if (found == flights_.end()) return;
        const auto said = parse_json(body);
        const auto given = said ? find_string(*said, "prompt_id") : std::nullopt;
        if (status == 200 && (!given || *given == found->first)) {
            found->second.confirmed = true;
            found->second.polled_ms = 0;
        } else if (status >= kServerError) {
            // It may have arrived all the same: ComfyUI is asked before it is forgotten.
            found->second.disowned = true;
            found->second.lost_contact = true;
        } else {
            // The client has heard it: refused, or accepted under an id of ComfyUI's own.
            if (status == 200) ids_are_kept_ = false;
            refused = found->first;
            flights_.erase(found);
        }
        recount();
        woken_ = true;
    }
    if (refused) forget(*refused);
    wake_.notify_all();
}

void Guard::forget(const std::string& prompt_id) {
    {
        const std::lock_guard lock(mutex_);
        if (!queue_.take(prompt_id)) return;
        --counts_.accepted;
        ++counts_.refused;
        recount();
        announce();
    }
    const std::vector<std::string> gone{prompt_id};
    const auto dropped = with_store([&](history::Store& store) { return store.drop_held(gone); });
    if (!dropped) warn("history", prompt_id, dropped.error().message);
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
