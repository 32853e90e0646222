// SPDX-License-Identifier: Apache-2.0
//
// Flight: one try of a job that ComfyUI has got, or may have: what is known of it, and, once
// ComfyUI is done with it or does not know it, how it ended.
//
// Leaves through: plain values.   Threads: no shared state.
#pragma once
#include "base/phrase.h"
#include "base/units.h"
#include "guard/facts.h"
#include "guard/node_files.h"
#include "guard/residents.h"
#include "guard/watch.h"
#include "history/run.h"
#include "service/comfyui/answers.h"
#include "service/comfyui/step_times.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::guard {

// One moment by two clocks: ours, and the card's, which a simulated card runs faster.
struct Times {
    std::int64_t ms = 0;
    std::int64_t card_ms = 0;
};

// How a try ended, and who ended it.
enum class FlightEnd : std::uint8_t {
    Done,
    TakenBack,    // by its client, who asked the gateway
    Stopped,      // by us
    Interrupted,  // by its client, who asked ComfyUI
    Failed,       // with an error of a node
    // ComfyUI does not know it (any more):
    Unheard,    // its client was told that nobody is there
    Unstarted,  // it went down before it began
    Lost,       // it went down while it ran
};

struct Flight {
    std::string prompt_id;
    std::uint64_t request_number = 0;  // where the client's own request carried it
    std::int64_t sent_ms = 0;
    bool of_earlier = false;  // an earlier process sent it
    bool confirmed = false;   // ComfyUI said that it has it
    std::optional<Times> started = std::nullopt;
    bool succeeded = false;
    bool interrupted = false;
    std::optional<service::NodeError> error = std::nullopt;
    bool ended = false;         // ComfyUI is done with it
    bool seen_off = false;      // it succeeded; only what is written of it is still under way
    bool lost_contact = false;  // ComfyUI was not there meanwhile
    bool hung = false;          // it did not obey an interrupt
    bool disowned = false;      // its client was told that ComfyUI is not there
    bool history_gone = false;  // its client deletes what ComfyUI remembers of it
    std::optional<StopCause> stop = std::nullopt;  // by us, not by its client
    Phrase stop_reason = {};
    std::int64_t stop_card_ms = 0;
    bool cancelled = false;                     // by its client, through a door
    std::optional<Alarm> alarm = std::nullopt;  // the strongest that nobody has acted on
    bool withheld = false;                      // its client has not heard that this try failed
    std::int64_t polled_ms = 0;
    std::optional<std::int64_t> unknown_since_ms = std::nullopt;
    std::optional<JobWatch> watch = std::nullopt;
    std::string node_id = {};  // that runs
    SharedProgram program = nullptr;
    history::RunRecord record = {};
    std::optional<Bytes> observed_peak = std::nullopt;
    NodeFiles outputs = {};                      // of the nodes whose output it told
    std::vector<service::ImageRef> images = {};  // that ComfyUI's history tells of
    bool untold = false;     // it succeeded, and ComfyUI knows nothing of it any more
    int looks = 0;           // in vain, for what it has left in the output folder
    bool no_lesson = false;  // slowed down by heat, or not seen: nothing is learned from it
    bool again = false;      // after a try that did not end well: its steps may be but a part
    std::map<std::string, service::StepTimes> steps = {};  // by node

    // Its client's own request is still carrying it, as far as anybody knows.
    [[nodiscard]] bool is_on_its_way() const {
        return request_number != 0 && !confirmed && !lost_contact;
    }
    // Its outcome is known, though ComfyUI may not have said that it is through with it.
    [[nodiscard]] bool is_over() const { return ended || succeeded || error || interrupted; }
    // Interrupted by us, and sent again.
    [[nodiscard]] bool comes_back() const { return stop && *stop != StopCause::Time && !cancelled; }
    [[nodiscard]] double ran_seconds(std::int64_t card_ms) const {
        return started ? static_cast<double>(card_ms - started->card_ms) / 1000 : 0;
    }
};

// Of one that `ended`.
[[nodiscard]] FlightEnd end_of(const Flight& flight);

}  // namespace plimsoll::guard
