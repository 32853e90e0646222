// SPDX-License-Identifier: Apache-2.0
#include "guard/guard.h"

#include "base/log.h"
#include "base/parse_phrase.h"
#include "base/say.h"
#include "base/text.h"
#include "guard/body_text.h"
#include "guard/call.h"
#include "guard/saved_latent.h"
#include "guard/shape.h"
#include "service/site.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::guard {

using gateway::Forward;
using gateway::Hold;
using gateway::PromptDecision;
using gateway::Refusal;

namespace {

net::Headers headers_of(const Checked& checked) {
    net::Headers headers{{std::string(kVerdictHeader), std::string(outcome_name(checked.outcome))}};
    for (const Edit& edit : checked.facts.edits)
        headers.push_back({std::string(kEditHeader), edit_line(edit)});
    return headers;
}

}  // namespace

std::string_view held_state_name(HeldState state) {
    switch (state) {
        case HeldState::Waiting:
            return "waiting";
        case HeldState::Sent:
            return "sent";
        case HeldState::Running:
            return "running";
        case HeldState::Done:
            return "done";
        case HeldState::Failed:
            return "failed";
        case HeldState::Cancelled:
            return "cancelled";
        case HeldState::Refused:
            return "refused";
    }
    return "waiting";
}

Guard::Guard(Parts parts, Callbacks callbacks)
    : parts_(std::move(parts)),
      callbacks_(std::move(callbacks)),
      card_clock_(parts_.clock),
      foresight_(parts_.forecaster),
      ledger_(parts_.open_store),
      ids_(parts_.seed),
      heat_(parts_.options.target_c) {}

void Guard::attach(gateway::HookDoor& door) {
    const std::lock_guard lock(mutex_);
    door_ = &door;
}

void Guard::detach() {
    const std::lock_guard lock(mutex_);
    door_ = nullptr;
}

void Guard::restore() {
    std::vector<history::HeldJob> jobs;
    std::vector<history::Wall> walls;
    const auto read = ledger_.use([&](history::Store& store) -> Result<void> {
        TRY_ASSIGN(jobs, store.list_held());
        TRY_ASSIGN(walls, store.list_walls());
        return {};
    });
    if (!read) warn("history", "", say<"warning.held_unread">(read.error().message));
    const std::lock_guard lock(mutex_);
    for (history::Wall& wall : walls)
        walls_.insert_or_assign(wall.shape, parse_phrase(wall.reason));
    for (history::HeldJob& job : jobs) {
        HeldEntry entry = read_entry(std::move(job));
        const bool readable = entry.prompt != workflow::Span{};
        const auto number = parse_number(entry.facts.number);
        if (number && *number >= static_cast<double>(next_number_))
            next_number_ = static_cast<std::int64_t>(*number) + 1;
        const std::string id = entry.kept.prompt_id;
        if (entry.unclear) {
            Flight flight;
            flight.prompt_id = id;
            flight.of_earlier = true;
            flight.sent_ms = entry.facts.sent_ms > 0 ? entry.facts.sent_ms : entry.kept.accepted_ms;
            flight.lost_contact = true;
            flight.stop = entry.facts.stopping;
            flight.stop_reason = entry.facts.stop_reason;
            flights_.add(std::move(flight));
        }
        if (const auto added = queue_.add(std::move(entry)); !added || !readable)
            notes_.push_back({"history", id, say<"warning.held_lost">()});
    }
    counts_.accepted += static_cast<std::int64_t>(queue_.size());
    recount();
}

void Guard::recount() {
    held_ = counts_.waiting = discretion_.count_pending();
    has_flights_ = !flights_.empty();
    // The end of a try may come when the job is already back in the queue.
    may_withhold_ = queue_.size() > 0 || discretion_.awaits_ends();
    has_latents_ =
        ended_.has_latents() || std::ranges::any_of(flights_.all(), [&](const auto& one) {
            const HeldEntry* const entry = queue_.find(one.first);
            return entry != nullptr && entry->facts.latent.has_value();
        });
    has_history_ = ended_.has_history();
}

void Guard::announce() {
    to_broadcast_ = upstream_remaining_ + held_;
}

Wishes Guard::wishes_of(const gateway::PromptCall& call, const gateway::PromptBody& fields,
                        Result<Wishes>& read) const {
    Policy policy = parts_.options.policy;
    if (fields.client_id)
        if (const auto own = parts_.options.policy_of_client.find(*fields.client_id);
            own != parts_.options.policy_of_client.end())
            policy = own->second;
    read = read_wishes(policy, call.request().headers);
    return read ? *read : Wishes{.policy = policy, .run_anyway = false, .pins = {}, .priority = 0};
}

void Guard::check(Call& call) {
    const std::string_view body = call.prompt.request().body;
    const std::string_view prompt = part(body, *call.fields.prompt);
    const auto place = parts_.place();
    const bool knows_card = place->site.from_comfyui || !place->config.card.value.empty();
    Walls walls;
    std::vector<SharedProgram> past;
    {
        const std::lock_guard lock(mutex_);
        walls = walls_;
        past = residents_.past();
    }
    const CheckRequest request{
        .prompt = prompt, .wishes = call.wishes, .budget = place->budget, .plan_level = 0};
    // Nobody is held to the line of a card that is guessed.
    auto checked = Result<Checked>(fail(Errc::Unavailable, "ComfyUI has not told its card yet"));
    if (knows_card) {
        // One for both questions: what it costs is building the models.
        const auto ask = foresight_.forecaster(*place, prompt, past);
        checked = check_prompt(request, walls, [&](advisor::Scenario scenario) {
            scenario.free_models_first = true;
            return ask(scenario);
        });
        if (checked && !past.empty())
            call.needs_clear =
                Foresight::needs_clear(checked->prompt, *place, ask, checked->priced.memory.peak);
    }
    if (checked) {
        call.checked = std::move(*checked);
        return;
    }
    // Unknown never blocks.
    call.unchecked = checked.error();
    call.checked.prompt = prompt;
    if (const auto graph = workflow::parse_api_workflow(prompt)) {
        call.checked.facts.shape = shape_of(*graph);
        call.checked.facts.model = models_of(*graph);
    }
    call.checked.facts.digest = digest_of(prompt);
    note_wishes(call.checked.facts, call.wishes);
    call.checked.forecast.load_line = place->budget.load_line;  // watched without a forecast too
}

PromptDecision Guard::decide(gateway::PromptCall& prompt) {
    const Result<gateway::PromptBody>& fields = prompt.body();
    // What is no prompt is ComfyUI's to refuse, in its own words.
    if (!fields || !fields->prompt) return Forward{};
    const auto graph = workflow::parse_api_workflow(part(prompt.request().body, *fields->prompt));
    if (!graph || graph->nodes.empty()) return Forward{};
    // An id that is no text is what each version of ComfyUI makes of it.
    const bool odd_id = fields->prompt_id_span && !fields->prompt_id &&
                        part(prompt.request().body, *fields->prompt_id_span) != "null";
    {
        const std::lock_guard lock(mutex_);
        if (odd_id || !ids_are_kept_ || stopping_) return Forward{};
    }
    Call call{.prompt = prompt, .fields = *fields};
    Result<Wishes> read;
    call.wishes = wishes_of(prompt, *fields, read);
    if (!read)
        return Refusal{.status = 400,
                       .type = "plimsoll_bad_header",
                       .message = "A header for Plimsoll is wrong",
                       .details = read.error().message,
                       .node_errors = "{}",
                       .headers = {}};
    if (call.wishes.policy == Policy::Observe) return Forward{};
    settle();
    check(call);
    if (call.unchecked)
        log::info("a prompt goes on without a forecast: {}", call.unchecked->message);
    if (call.checked.outcome == Outcome::Refused) {
        keep_refused(call);
        return Refusal{.status = 400,
                       .type = "plimsoll_over_line",
                       .message = "Does not fit under the load line",
                       .details = fmt::format("{}; to run it anyway put {} into a node's title or "
                                              "send {}: 1, or let it go in Plimsoll's Monitor",
                                              call.checked.sentence.message(), kRunAnywayMark,
                                              kRunAnywayHeader),
                       .node_errors = gateway::encode_node_errors(call.checked.marks),
                       .headers = headers_of(call.checked)};
    }
    return accept(call);
}

// Where ComfyUI going down in the decode would lose much, and the policy allows another form.
void Guard::save_latent_where_it_pays(Call& call) {
    Facts& facts = call.checked.facts;
    if (!facts.may_change || call.unchecked) return;
    const auto graph = workflow::parse_api_workflow(call.checked.prompt);
    auto cut = graph ? find_latent_cut(*graph) : std::nullopt;
    if (!cut || !is_worth_saving(*cut, call.checked.forecast)) return;
    {
        const std::lock_guard lock(mutex_);
        cut->stem = ids_.next_uuid();
    }
    auto spliced = with_saved_latent(call.checked.prompt, *cut);
    if (!spliced) return;
    call.checked.prompt = std::move(*spliced);
    facts.edits.push_back({.knob = "save_latent",
                           .node_id = cut->decode_id,
                           .input = "samples",
                           .from = "",
                           .to = std::string(kLatentNode),
                           .what = say<"held.latent_saved">()});
    facts.latent = std::move(*cut);
}

// The disk is full, most likely: a latent would not get onto it either.
void Guard::go_unkept(HeldEntry& entry, const std::string& why) {
    const auto cut = entry.facts.latent;
    const auto bare = [&](std::string_view prompt) { return without_latent(prompt, *cut); };
    if (cut && exchange_prompt(entry, bare)) {
        entry.facts.latent.reset();
        std::erase_if(entry.facts.edits,
                      [](const Edit& edit) { return edit.knob == "save_latent"; });
    }
    entry.kept.mark.sent = true;
    entry.facts.sent_ms = parts_.clock.unix_ms();
    note_event(entry.facts, say<"held.in_memory">());
    entry.kept.facts_json = encode_facts(entry.facts);
    warn("gateway_open", entry.kept.prompt_id, say<"warning.gateway_open_kept">(why));
}

PromptDecision Guard::accept(Call& call) {
    const std::string_view original = call.prompt.request().body;
    const gateway::PromptBody& fields = call.fields;
    {
        const std::lock_guard lock(mutex_);
        call.id = fields.prompt_id ? *fields.prompt_id : ids_.next_uuid();
    }
    save_latent_where_it_pays(call);
    const bool changed = call.checked.outcome == Outcome::Changed || call.checked.facts.latent;
    call.body = with_prompt_id(original, fields, call.id);
    if (changed) {
        auto again = gateway::parse_prompt_body(call.body);
        if (again) call.body = with_prompt(call.body, *again, call.checked.prompt);
    }
    const std::string node_errors =
        call.checked.marks.empty() ? "{}" : gateway::encode_node_errors(call.checked.marks);
    // What cannot be kept goes on at once, and is said.
    const auto go_on = [&](std::string_view why) {
        warn("gateway_open", call.id, say<"warning.gateway_open">(why));
        flush();
        std::optional<std::string> fitted;
        if (call.checked.outcome == Outcome::Changed) fitted = call.body;
        // Nobody would come back for the latent.
        if (const auto cut = std::exchange(call.checked.facts.latent, std::nullopt)) {
            std::erase_if(call.checked.facts.edits,
                          [](const Edit& edit) { return edit.knob == "save_latent"; });
            const auto bare = without_latent(call.checked.prompt, *cut);
            const auto again = gateway::parse_prompt_body(call.body);
            if (fitted && bare && again) fitted = with_prompt(call.body, *again, *bare);
        }
        return Forward{.body = std::move(fitted),
                       .answer_headers = headers_of(call.checked),
                       .node_errors = node_errors};
    };
    auto made = make_entry(call.body, call.id, call.checked.facts, parts_.clock.unix_ms());
    if (!made) return go_on(made.error().message);
    HeldEntry entry = std::move(*made);

    bool at_once = false;
    {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const known = queue_.find(call.id);
        // The client asks again because it did not hear the answer: the same one, not a second run.
        const bool is_same = known != nullptr && known->facts.digest == entry.facts.digest;
        if (Flight* const flight = flights_.find(call.id); is_same && flight != nullptr)
            flight->disowned = false;
        if (is_same)
            return call.prompt.take() ? PromptDecision(Hold{.prompt_id = call.id,
                                                            .number = known->facts.number,
                                                            .answer_headers = {},
                                                            .node_errors = "{}"})
                                      : PromptDecision(Forward{});
        if (known != nullptr || !accepting_.insert(call.id).second)
            return Refusal{.status = 400,
                           .type = "invalid_prompt_id",
                           .message = "A job with this prompt_id is waiting already",
                           .details = call.id,
                           .node_errors = "{}",
                           .headers = {}};
        const auto counter = next_number_++;
        entry.facts.number = fields.number  ? *fields.number
                             : fields.front ? fmt::format("{}", -counter)
                                            : fmt::format("{}", counter);
        const auto number = parse_number(entry.facts.number);
        entry.facts.strict = fields.front || fields.number.has_value();
        entry.kept.mark.turn = HeldQueue::turn_of(number ? *number : static_cast<double>(counter));
        entry.kept.mark.priority = call.wishes.priority;
        // Nobody waits and nothing hinders it: the client's own request carries it, and ComfyUI's
        // own answer comes back.
        const Candidate alone{.priority = 0, .need = entry.facts.floor};
        const bool is_clear =
            !sample_ || !sample_->allocated || !entry.facts.peak || !residents_.past().empty() ||
            *sample_->allocated + *entry.facts.peak <= parts_.place()->budget.load_line;
        at_once = is_clear && is_idle() && accepting_.size() == 1 && contact_.is_reachable() &&
                  hindrance_of(alone, moment()) == WaitsFor::Nothing && !call.needs_clear &&
                  !clearing_now_;
        if (!at_once && flights_.empty() && queue_.size() == 0) woken_ = true;
        if (at_once) {
            entry.kept.mark.sent = true;
            entry.facts.sent_ms = parts_.clock.unix_ms();
        }
    }
    entry.kept.facts_json = encode_facts(entry.facts);
    const auto forget = [&] {
        const std::lock_guard lock(mutex_);
        accepting_.erase(call.id);
    };
    if (!call.prompt.take()) {
        forget();
        return Forward{};
    }
    const auto kept = ledger_.add(entry.kept);
    if (!kept) {
        // Sooner with ComfyUI, which keeps it where this process ends, than only here.
        at_once = true;
        go_unkept(entry, kept.error().message);
        call.body = entry.body_to_send();
    }
    const std::string number = entry.facts.number;
    Result<void> added;
    {
        const std::lock_guard lock(mutex_);
        accepting_.erase(call.id);
        if (at_once) {
            Flight flight;
            flight.prompt_id = call.id;
            flight.request_number = call.prompt.request().number;
            flight.sent_ms = entry.facts.sent_ms;
            flight.watch.emplace(call.checked.forecast, card_clock_.unix_ms());
            flights_.add(std::move(flight));
        }
        added = queue_.add(std::move(entry));
        if (!added) flights_.erase(call.id);
        if (added) {
            ++counts_.accepted;
            if (call.checked.outcome == Outcome::Changed) ++counts_.changed;
            changed_.push_back(view_of(*queue_.find(call.id)));
        }
        recount();
        if (!at_once) announce();
        // What the client's own request carries needs no turn of the thread before ComfyUI has
        // answered it, and that wakes it: its forecast would be in the way of the forwarding.
        woken_ = woken_ || !at_once;
    }
    if (!at_once) wake_.notify_all();
    if (added && !kept) ledger_.owe(call.id);
    if (!added) {
        if (!kept) return go_on(added.error().message);
        const std::vector<std::string> ids{call.id};
        (void)ledger_.drop(ids);
        return Refusal{.status = 400,
                       .type = "plimsoll_queue_full",
                       .message = "The queue is full",
                       .details = added.error().message,
                       .node_errors = "{}",
                       .headers = {}};
    }
    if (at_once)
        return Forward{.body = call.body,
                       .answer_headers = headers_of(call.checked),
                       .node_errors = node_errors};
    return Hold{.prompt_id = call.id,
                .number = number,
                .answer_headers = headers_of(call.checked),
                .node_errors = node_errors};
}

void Guard::note_change(const std::string& prompt_id) {
    if (const HeldEntry* const entry = queue_.find(prompt_id)) changed_.push_back(view_of(*entry));
}

void Guard::warn(std::string_view code, const std::string& prompt_id, Phrase text) {
    const std::lock_guard lock(mutex_);
    notes_.push_back({std::string(code), prompt_id, std::move(text)});
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
