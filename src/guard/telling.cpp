// SPDX-License-Identifier: Apache-2.0
//
// What a client hears of a job that is tried again: not that a try failed. Clients take a failure
// for the end (Krita drops the job, SwarmUI asks for pictures that are not there yet), so the
// failure of exactly that job and the end of that try are withheld, and the job shows as pending
// until it has ended. All else passes.
#include "base/json.h"
#include "gateway/comfyui_text.h"
#include "guard/guard.h"
#include "guard/saved_latent.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::guard {

bool Guard::withholds(std::string_view text) {
    const auto parsed = parse_python_json(text);
    const auto type = parsed ? find_string(*parsed, "type") : std::nullopt;
    const json::value* const data = parsed ? plimsoll::find(*parsed, "data") : nullptr;
    const auto id = data == nullptr ? std::nullopt : find_string(*data, "prompt_id");
    if (!type || !id) return false;
    const std::string prompt_id(*id);
    const std::lock_guard lock(mutex_);
    if (*type == "execution_start") {
        // The end of the try before did not come: ComfyUI went down.
        ends_withheld_.erase(prompt_id);
        return false;
    }
    const json::value* const node = plimsoll::find(*data, "node");
    if (*type == "executing" && (node == nullptr || node->is_null()))
        return ends_withheld_.erase(prompt_id) != 0;
    const auto found = flights_.find(prompt_id);
    const HeldEntry* const entry = queue_.find(prompt_id);
    if (entry == nullptr) return false;
    if (found == flights_.end()) {
        // What came by HTTP was faster: it is back in the queue already, or about to be.
        const bool ends = *type == "execution_error" || *type == "execution_interrupted";
        if (!ends || closing_.contains(prompt_id)) return false;
        ends_withheld_.insert(prompt_id);
        recount();
        return true;
    }
    // A node that the client did not send.
    if (*type == "executing" || *type == "executed")
        return entry->facts.latent && find_string(*data, "node") == kLatentNode;
    Flight& flight = found->second;
    bool goes_on = false;
    if (*type == "execution_error") {
        const service::Message said = service::parse_message(text, prompt_id);
        const auto* const failed = std::get_if<service::Failed>(&said);
        goes_on = failed != nullptr && is_rescued(*entry, failed->error);
    } else if (*type == "execution_interrupted") {
        goes_on = comes_back(flight);
    }
    if (!goes_on) return false;
    flight.withheld = true;
    ends_withheld_.insert(prompt_id);
    recount();
    return true;
}

bool Guard::comes_back(const Flight& flight) {
    return flight.stop && *flight.stop != StopCause::Time && !flight.cancelled;
}

bool Guard::is_rescued(const HeldEntry& entry, const service::NodeError& error) {
    if (entry.facts.latent && error.node_id == kLatentNode) return true;
    return classify_failure(error) != Failure::Other;
}

bool Guard::is_over_for_clients(const HeldEntry& entry, const Flight& flight) {
    if (flight.withheld) return false;
    const bool failed = flight.error && !is_rescued(entry, *flight.error);
    return flight.succeeded || failed || (flight.interrupted && !comes_back(flight));
}

std::optional<std::string> Guard::history_item_for_client(const HeldEntry& entry,
                                                          const std::string& answer) const {
    const std::string& id = entry.kept.prompt_id;
    const auto record = service::parse_history(answer, id);
    if (!record || record->state == service::JobState::Succeeded) return std::nullopt;
    const auto flight = flights_.find(id);
    // ComfyUI still tells of the try before, until this one has ended.
    bool goes_on = entry.kept.mark.attempts > 0;
    if (record->state == service::JobState::Failed && record->error)
        goes_on = goes_on || is_rescued(entry, *record->error);
    if (record->state == service::JobState::Interrupted && flight != flights_.end())
        goes_on = goes_on || comes_back(flight->second);
    if (!goes_on) return std::nullopt;
    return "{}";
}

std::string Guard::without_our_output(std::string answer) const {
    const auto hide = [&](const std::string& id, const Facts& facts) {
        if (facts.latent && answer.contains(kLatentNode))
            answer = without_output(answer, id, kLatentNode);
    };
    for (const HeldEntry* const entry : queue_.in_order())
        hide(entry->kept.prompt_id, entry->facts);
    for (const Ended& ended : ended_) hide(ended.view.prompt_id, ended.view.facts);
    return answer;
}

void Guard::tell_failure(const LateFailure& failure, const std::string& client) {
    const std::lock_guard lock(mutex_);
    if (door_ == nullptr || client.empty()) return;
    for (std::string& text : failure_messages(failure)) door_->send_to(client, std::move(text));
}

// Only our own page and whoever cares reads it: clients pass over types that they do not know.
void Guard::tell_of_retry(const HeldEntry& entry, const std::string& reason) {
    if (door_ == nullptr || entry.facts.client.empty()) return;
    door_->send_to(
        entry.facts.client,
        fmt::format(R"({{"type": "plimsoll_retry", "data": {{"prompt_id": {}, )"
                    R"("reason": {}}}}})",
                    gateway::quote_json(entry.kept.prompt_id), gateway::quote_json(reason)));
}

}  // namespace plimsoll::guard
