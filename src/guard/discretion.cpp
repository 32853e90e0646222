// SPDX-License-Identifier: Apache-2.0
#include "guard/discretion.h"

#include "base/json.h"
#include "guard/saved_latent.h"

#include <utility>

namespace plimsoll::guard {

namespace {

bool is_rescued(const HeldEntry& entry, const service::NodeError& error) {
    if (entry.facts.latent && error.node_id == kLatentNode) return true;
    return classify_failure(error) != Failure::Other;
}

}  // namespace

std::optional<ClientText> parse_client_text(std::string_view text) {
    const auto parsed = parse_python_json(text);
    const auto type = parsed ? find_string(*parsed, "type") : std::nullopt;
    const json::value* const data = parsed ? plimsoll::find(*parsed, "data") : nullptr;
    const auto id = data == nullptr ? std::nullopt : find_string(*data, "prompt_id");
    if (!type || !id) return std::nullopt;
    ClientText said{.text = text,
                    .type = std::string(*type),
                    .prompt_id = std::string(*id),
                    .node_id = std::nullopt};
    const json::value* const node = plimsoll::find(*data, "node");
    if (node != nullptr && !node->is_null())
        said.node_id = std::string(find_string(*data, "node").value_or(""));
    return said;
}

bool Discretion::withholds(const ClientText& said) {
    const std::string& id = said.prompt_id;
    if (said.type == "execution_start") {
        // The end of the try before did not come: ComfyUI went down.
        ends_withheld_.erase(id);
        return false;
    }
    if (said.type == "executing" && !said.node_id) return ends_withheld_.erase(id) != 0;
    const HeldEntry* const entry = queue_.find(id);
    if (entry == nullptr) return false;
    Flight* const flight = flights_.find(id);
    if (flight == nullptr) {
        // What came by HTTP was faster: it is back in the queue already, or about to be.
        const bool ends = said.type == "execution_error" || said.type == "execution_interrupted";
        if (!ends || closing_.contains(id)) return false;
        ends_withheld_.insert(id);
        return true;
    }
    // A node that the client did not send.
    if (said.type == "executing" || said.type == "executed")
        return entry->facts.latent && said.node_id == kLatentNode;
    bool goes_on = false;
    if (said.type == "execution_error") {
        const service::Message message = service::parse_message(said.text, id);
        const auto* const failed = std::get_if<service::Failed>(&message);
        goes_on = failed != nullptr && is_rescued(*entry, failed->error);
    } else if (said.type == "execution_interrupted") {
        goes_on = flight->comes_back();
    }
    if (!goes_on) return false;
    flight->withheld = true;
    ends_withheld_.insert(id);
    return true;
}

void Discretion::begin_end(const HeldEntry& entry, const Flight& flight) {
    if (is_over(entry, flight)) closing_.insert(flight.prompt_id);
}

void Discretion::forget(const std::string& prompt_id) {
    closing_.erase(prompt_id);
    ends_withheld_.erase(prompt_id);
}

bool Discretion::is_over(const HeldEntry& entry, const Flight& flight) const {
    if (flight.withheld) return false;
    const bool failed = flight.error && !is_rescued(entry, *flight.error);
    return flight.succeeded || failed || (flight.interrupted && !flight.comes_back());
}

std::vector<const HeldEntry*> Discretion::pending() const {
    std::vector<const HeldEntry*> pending;
    for (const HeldEntry* const entry : queue_.in_order()) {
        if (closing_.contains(entry->kept.prompt_id)) continue;
        const Flight* const flight = flights_.find(entry->kept.prompt_id);
        const bool is_there =
            flight != nullptr && flight->confirmed && !flight->lost_contact && !flight->withheld;
        if (!is_there) pending.push_back(entry);
    }
    return pending;
}

std::int64_t Discretion::count_pending() const {
    auto count = static_cast<std::int64_t>(queue_.size());
    for (const auto& [id, flight] : flights_.all())
        if (queue_.find(id) != nullptr && !flight.lost_contact && !flight.withheld) --count;
    for (const std::string& id : closing_)
        if (queue_.find(id) != nullptr) --count;
    return count;
}

bool Discretion::hides(const HeldEntry& entry, service::JobState state,
                       const std::optional<service::NodeError>& error) const {
    const std::string& id = entry.kept.prompt_id;
    const bool failed = state == service::JobState::Failed;
    if ((!failed && state != service::JobState::Interrupted) || closing_.contains(id)) return false;
    // ComfyUI still tells of the try before, until this one has ended.
    if (entry.kept.mark.attempts > 0) return true;
    if (failed) return error && is_rescued(entry, *error);
    const Flight* const flight = flights_.find(id);
    return flight != nullptr && flight->comes_back();
}

bool Discretion::hides_history(const HeldEntry& entry, const std::string& answer) const {
    const auto record = service::parse_history(answer, entry.kept.prompt_id);
    return record && hides(entry, record->state, record->error);
}

}  // namespace plimsoll::guard
