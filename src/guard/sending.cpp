// SPDX-License-Identifier: Apache-2.0
//
// What goes to ComfyUI: room is made, the next job is prepared and sent.
#include "guard/guard.h"

#include "base/json.h"
#include "base/say.h"
#include "guard/waits.h"
#include "service/run_record.h"

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

void Guard::clear_card(bool reset_caches) {
    service::Upstream* const comfyui = upstream();
    if (comfyui == nullptr) return;
    const auto freed = reset_caches ? comfyui->free_models() : comfyui->unload_models();
    if (!freed) {
        warn("free", "", freed.error().message);
        return;
    }
    clearing_.emplace(parts_.clock.unix_ms());
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
    if (comfyui == nullptr || !clearing_->is_due(now)) return true;
    const auto stats = comfyui->read_stats();
    const bool rests =
        !stats || stats->devices.empty() || clearing_->add(now, stats->devices.front().vram_free);
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
    if (!may_ask()) return;
    HeldEntry entry;
    Flight flight;
    {
        const std::lock_guard lock(mutex_);
        if (!flights_.empty()) return;
        const auto next = queue_.choose(moment());
        if (!next) return;
        entry = *queue_.find(*next);
        flight.prompt_id = *next;
        flight.sent_ms = parts_.clock.unix_ms();
    }
    load_latent(entry);
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
    bool clear = !past.empty() && Foresight::needs_clear(
                                      prompt, *place, foresight_.forecaster(*place, prompt, past));
    // Somebody else's jobs may have left something, too: what torch has now is what counts.
    service::Upstream* const comfyui = past.empty() && entry.facts.peak ? upstream() : nullptr;
    if (comfyui != nullptr) {
        const auto stats = comfyui->read_stats();
        const Bytes there = stats && !stats->devices.empty() && stats->devices.front().type != "cpu"
                                ? stats->devices.front().allocated()
                                : Bytes(0);
        clear = there > kWorthClearing && there + *entry.facts.peak > place->budget.load_line;
    }
    const auto forecast =
        foresight_.forecaster(*place, prompt, clear ? std::vector<SharedProgram>{} : past)(
            {.workflow = prompt, .reserve_vram = std::nullopt});
    auto [program, family] = foresight_.contents(*place, prompt);
    if (program) flight.program = std::move(program);
    flight.again = entry.kept.mark.attempts > 0;
    service::Job job;
    job.model = entry.facts.model;
    job.checkpoint = entry.facts.model;
    job.family = std::move(family);
    const std::string run_id = flight.record.run_id;
    if (forecast) {
        flight.record = service::make_run_record(job, prompt, *forecast, place->budget);
        flight.watch.emplace(job_forecast(*forecast, place->budget.load_line),
                             card_clock_.unix_ms());
    }
    flight.record.run_id = run_id;
    flight.record.prompt_id = entry.kept.prompt_id;
    flight.record.started_ms = parts_.clock.unix_ms();
    flight.record.card = place->site.card_in_history();
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
    history::HeldJob kept = entry.kept;
    kept.mark.sent = true;
    Facts facts = entry.facts;
    facts.sent_ms = flight.sent_ms;
    kept.facts_json = encode_facts(facts);
    // Before it is sent: whoever comes after a crash asks ComfyUI first, and knows since when
    // pictures can be its own.
    const auto marked = ledger_.keep(kept);
    if (!marked) warn("history", id, marked.error().message);
    bool is_there = false;
    {
        const std::lock_guard lock(mutex_);
        if (HeldEntry* const waiting = queue_.find(id)) {
            is_there = true;
            waiting->facts.sent_ms = flight.sent_ms;
            waiting->kept.facts_json = encode_facts(waiting->facts);
            queue_.mark(id, kept.mark);
            flights_.add(flight);
            recount();
        }
    }
    if (!is_there) {  // taken back meanwhile, and perhaps out of the store before it was written
        const std::vector<std::string> gone{id};
        (void)ledger_.drop(gone);
        return;
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
        notes_.push_back({"comfyui_old", id, say<"warning.comfyui_old">()});
    }
    if (Flight* const sent = flights_.find(id)) sent->confirmed = true;
    note_change(id);
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
    }
    if (drop_latent(flight, failure.node_id)) return;
    end_job(flight, HeldState::Failed, message, history_item(failure, entry));
    tell_failure(failure, entry.facts.client);
}

}  // namespace plimsoll::guard
