// SPDX-License-Identifier: Apache-2.0
//
// Flights: the tries that ComfyUI has or may have, by the ids of their jobs. It takes what
// ComfyUI's messages and answers, the card and the client's requests say of them, and says which
// are to be asked after, which go wrong and which have ended; what follows from that is its
// owner's.
//
// Enters through: service::Message, service::JobRecord, CardSeen, with their time.   Leaves
// through: Flight, Alarm.   Threads: one at a time.
#pragma once
#include "guard/flight.h"
#include "service/comfyui/messages.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::guard {

// What ComfyUI said to the client's own request that carried a prompt.
enum class Arrival : std::uint8_t {
    Nobodys,      // no flight went with that request
    Taken,        // ComfyUI has it
    Doubtful,     // a server's error: it may have arrived all the same
    Refused,      // its client has heard it
    UnderOtherId  // of ComfyUI's own: it keeps none that it is sent
};

// The card at one moment, as far as flights depend on it.
struct CardSeen {
    CardUse use = {};
    bool slows_itself = false;  // by heat
};

class Flights {
  public:
    struct AlarmOf {
        std::string prompt_id;
        Alarm alarm;
    };
    // What became known of one: `is_news` where the doors say something else of it now.
    struct Heard {
        bool is_news = false;
        std::vector<Alarm> alarms = {};
    };

    // In the place of an earlier try of that job.
    void add(Flight flight);
    void erase(std::string_view prompt_id);
    [[nodiscard]] Flight* find(std::string_view prompt_id);
    [[nodiscard]] const Flight* find(std::string_view prompt_id) const;
    [[nodiscard]] const std::map<std::string, Flight, std::less<>>& all() const { return all_; }
    [[nodiscard]] bool empty() const { return all_.empty(); }
    [[nodiscard]] std::vector<std::string> ids() const;

    // A message about it, which came at `card_ms`. `outputs`: the nodes whose output is all that
    // the job is for; empty: not known.
    [[nodiscard]] Heard hear(std::string_view prompt_id, const service::Message& said,
                             std::int64_t card_ms, const std::vector<std::string>& outputs,
                             const Times& now);
    // What ComfyUI answered when it was asked.
    [[nodiscard]] Heard note_look(std::string_view prompt_id, const service::JobRecord& record,
                                  const Times& now);
    // The flight that the request carried, with what was said; `given` is the id in the answer.
    [[nodiscard]] std::pair<Arrival, std::string> note_answer(
        std::uint64_t request_number, int status, const std::optional<std::string>& given);
    // `listens(id)`: whether the job's owner hears its messages, so that silence means something.
    [[nodiscard]] std::vector<AlarmOf> note_card(
        const CardSeen& card, std::int64_t card_ms,
        const std::function<bool(const std::string&)>& listens);
    // ComfyUI was not there.
    void lose_contact();
    // What is forecast of one that its client's own request carried, made after it had gone.
    void complete(Flight prepared);

    // ComfyUI has something to say: all are asked after at once.
    void ask_soon();
    // Those that are to be asked after, or have ended.
    [[nodiscard]] std::vector<std::string> due(std::int64_t now_ms) const;
    // Takes the alarms that ask for something, of each job the one that asks for most: there is one
    // action a turn. Those that nothing can be done about any more fall away.
    [[nodiscard]] std::vector<AlarmOf> take_alarms();
    // What runs, and is not being stopped.
    [[nodiscard]] std::vector<std::string> running() const;
    // False: there is none.
    bool stop(std::string_view prompt_id, StopCause cause, const Phrase& reason,
              std::int64_t card_ms);
    // By its client. False: ComfyUI, which has to do it, has not got it.
    bool cancel(std::string_view prompt_id);
    // By its client, who means what runs; where nothing is known to, any may.
    void cancel_running();
    // By its client, who means what ComfyUI has not begun.
    void cancel_waiting();
    // What ComfyUI remembers of them is deleted by their clients.
    void forget_history(const std::function<bool(const std::string& prompt_id)>& of);
    // Whether one does not let go though it was interrupted for standing still; it is marked so.
    [[nodiscard]] bool mark_hung(std::int64_t card_ms);

    // None is over that has not been seen to its end.
    [[nodiscard]] bool is_settled() const;

  private:
    [[nodiscard]] static bool begin(Flight& flight, const Times& now);
    static void raise(Flight& flight, const std::vector<Alarm>& alarms);

    std::map<std::string, Flight, std::less<>> all_;
};

}  // namespace plimsoll::guard
