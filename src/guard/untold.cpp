// SPDX-License-Identifier: Apache-2.0
//
// Jobs that ComfyUI did and cannot tell of any more, as it was killed between a picture and the
// news of it, or before it had written its history: they are told here, and not done twice.
#include "base/json.h"
#include "base/say.h"
#include "guard/guard.h"
#include "guard/late_success.h"
#include "guard/saved_latent.h"
#include "workflow/parse.h"

#include <set>
#include <utility>

namespace plimsoll::guard {

namespace {

// Chosen: a ComfyUI that answers about its queue and not about files will not do so later either.
constexpr int kLooksMax = 5;

// The only outputs that the client asked for; empty: all.
std::set<std::string> targets_of(const std::string& body) {
    std::set<std::string> targets;
    const auto fields = gateway::parse_prompt_body(body);
    if (!fields || !fields->targets) return targets;
    const auto list = parse_json(part(body, *fields->targets));
    if (!list || !list->is_array()) return targets;
    for (const json::value& one : list->get_array())
        if (one.is_string()) targets.emplace(one.get_string());
    return targets;
}

}  // namespace

bool Guard::has_left_its_work(Flight& flight) {
    HeldEntry entry;
    {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const found = queue_.find(flight.prompt_id);
        if (found == nullptr) return false;
        entry = *found;
    }
    const std::string_view prompt = part(entry.kept.body, entry.prompt);
    const auto graph = workflow::parse_api_workflow(prompt);
    if (graph && !flight.program)
        flight.program = foresight_.contents(*parts_.place(), prompt).program;
    service::Upstream* const comfyui = upstream();
    if (!graph || !flight.program || comfyui == nullptr) return false;
    auto savers = savers_of(*graph, *flight.program, flight.outputs, targets_of(entry.kept.body));
    if (!savers) return false;
    const auto work = find_written_work(*comfyui,
                                        {.prompt = prompt,
                                         .savers = std::move(*savers),
                                         .sent_ms = flight.sent_ms,
                                         .now_ms = parts_.clock.unix_ms(),
                                         .strict = flight.of_earlier},
                                        claimed_);
    if (!work) {
        if (++flight.looks >= kLooksMax) return false;
        // It went down again: it is asked when it is back.
        note_contact(false, work.error().message);
        flight.ended = false;
        flight.unknown_since_ms.reset();
        flight.lost_contact = true;
        flight.polled_ms = parts_.clock.unix_ms();
        const std::lock_guard lock(mutex_);
        flights_.add(std::move(flight));
        recount();
        return true;
    }
    if (!work->whole) {
        claimed_.add(work->pieces);
        return false;
    }
    for (const auto& [node, files] : work->files) flight.outputs.insert_or_assign(node, files);
    end_untold(std::move(flight));
    return true;
}

void Guard::end_untold(Flight flight) {
    flight.outputs.erase(std::string(kLatentNode));
    claimed_.add(flight.outputs);
    // How long it ran nobody has seen: it is no lesson.
    flight.no_lesson = true;
    record_run(flight, history::Outcome::Done, "");
    const LateSuccess success{
        .prompt_id = flight.prompt_id, .outputs = flight.outputs, .at_ms = parts_.clock.unix_ms()};
    std::optional<std::string> history;
    std::string client;
    {
        const std::lock_guard lock(mutex_);
        if (const HeldEntry* const entry = queue_.find(flight.prompt_id)) {
            history = history_item(success, *entry);
            client = entry->facts.client;
        }
    }
    forget_card();
    end_job(flight, HeldState::Done, "", std::move(history));
    warn("job_untold", flight.prompt_id, say<"warning.job_untold">());
    const std::lock_guard lock(mutex_);
    if (door_ == nullptr || client.empty()) return;
    for (std::string& text : success_messages(success)) door_->send_to(client, std::move(text));
}

}  // namespace plimsoll::guard
