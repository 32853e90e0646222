// SPDX-License-Identifier: Apache-2.0
//
// Discretion: what clients hear of a job that is tried again: not that a try failed. Clients take a
// failure for the end (Krita drops the job, SwarmUI asks for pictures that are not there yet), so
// the failure of exactly that job and the end of that try are withheld, and the job shows as
// pending until it has ended. All else passes.
//
// Enters through: WebSocket texts, answers of /history, HeldQueue, Flights.   Leaves through: what
// to withhold, what is pending.   Threads: one at a time, as the queue and the flights are.
#pragma once
#include "guard/flights.h"
#include "guard/held_queue.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// A WebSocket text of ComfyUI's about one prompt.
struct ClientText {
    std::string_view text;
    std::string type;
    std::string prompt_id;
    std::optional<std::string> node_id;  // nullopt: null or none
};
[[nodiscard]] std::optional<ClientText> parse_client_text(std::string_view text);

class Discretion {
  public:
    // Both outlive it.
    Discretion(const HeldQueue& queue, Flights& flights) : queue_(queue), flights_(flights) {}

    // Whether a client is not to see it. A try whose failure is withheld is marked so.
    [[nodiscard]] bool withholds(const ClientText& said);
    // The end of a try is still to come, and is not its client's.
    [[nodiscard]] bool awaits_ends() const { return !ends_withheld_.empty(); }

    // A try that did not succeed is dealt with: where its end is the client's, the job is no longer
    // pending though it is still in the queue.
    void begin_end(const HeldEntry& entry, const Flight& flight);
    // It is in the queue again, or out of it.
    void clear_end(const std::string& prompt_id) { closing_.erase(prompt_id); }
    void forget(const std::string& prompt_id);

    // The client has heard, or may hear, how the job ended.
    [[nodiscard]] bool is_over(const HeldEntry& entry, const Flight& flight) const;
    [[nodiscard]] bool is_closing(const std::string& prompt_id) const {
        return closing_.contains(prompt_id);
    }
    // Those that show as pending here, in order: what ComfyUI has not confirmed, or failed at.
    [[nodiscard]] std::vector<const HeldEntry*> pending() const;
    // How many ComfyUI's own count is short of.
    [[nodiscard]] std::int64_t count_pending() const;
    // Whether what ComfyUI tells of an end is that of a try, and the job goes on.
    [[nodiscard]] bool hides(const HeldEntry& entry, service::JobState state,
                             const std::optional<service::NodeError>& error) const;
    // The same of an answer of /history.
    [[nodiscard]] bool hides_history(const HeldEntry& entry, const std::string& answer) const;

  private:
    const HeldQueue& queue_;
    Flights& flights_;
    std::set<std::string> closing_;  // have ended for their clients, and are not in the books yet
    std::set<std::string> ends_withheld_;  // ids whose failed try's end is still to come
};

}  // namespace plimsoll::guard
