// SPDX-License-Identifier: Apache-2.0
//
// JobWatch: whether a running job does what was forecast. Spill (the driver moved tensors into the
// machine's memory: steps take several times as long on a full card), stall (nothing moves), creep
// (every step leaves more behind), drift (more memory than forecast), over the line. Each is said
// once a job, within five steps of its beginning, and again once it has become a threat.
//
// Enters through: progress and looks at the card, with their time.   Leaves through: Alarm.
// Threads: one at a time.
#pragma once
#include "base/phrase.h"
#include "base/units.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::guard {

enum class AlarmKind : std::uint8_t { Spill, Stall, Creep, Drift, OverLine };
[[nodiscard]] std::string_view alarm_name(AlarmKind kind);  // "spill", ...

struct Alarm {
    AlarmKind kind = AlarmKind::Drift;
    std::string node_id;
    Phrase sentence;  // for people, with the numbers
    // Left alone it would crawl, stand still or go over the line; else it is only said.
    bool threatens = false;
    double drift = 1;  // of its node: activations that it takes, times those that were forecast
};

// Whether it asks for more than another: a job that stands still gets nowhere, one that spilled
// crawls; the others threaten what has not happened yet. What is only said asks for nothing.
[[nodiscard]] bool asks_for_more(const Alarm& alarm, const Alarm& other);

// What was forecast of one node.
struct NodeForecast {
    Bytes peak;                    // allocated
    Bytes activations = Bytes(0);  // of these; 0: not known
    double seconds = 0;            // of the whole node
};
struct JobForecast {
    std::map<std::string, NodeForecast, std::less<>> nodes = {};  // empty: nothing is known
    Bytes load_line;
};

struct CardUse {
    std::optional<Bytes> allocated = std::nullopt;  // by torch
    std::optional<Bytes> used = std::nullopt;       // by all programs
    Bytes total;
};

class JobWatch {
  public:
    JobWatch(JobForecast forecast, std::int64_t began_ms)
        : forecast_(std::move(forecast)), moved_ms_(began_ms) {}

    // ComfyUI tells of each step twice (`progress_state`, then `progress`), and of jobs without an
    // owner on every socket: a step is counted where `value` rises, and timed from where it first
    // did.
    [[nodiscard]] std::vector<Alarm> on_progress(std::int64_t at_ms, const std::string& node_id,
                                                 double value, double max);
    // What is forecast with what earlier jobs left on the card: known a moment after it was sent.
    void set_forecast(JobForecast forecast) { forecast_ = std::move(forecast); }
    [[nodiscard]] const JobForecast& forecast() const { return forecast_; }
    // Anything else that the job did: a node began.
    void on_node(std::int64_t at_ms, const std::string& node_id);
    [[nodiscard]] std::vector<Alarm> on_card(std::int64_t at_ms, const CardUse& use);

    // Whether its messages are heard at all: ComfyUI sends them to its owner's socket alone. Where
    // nobody listens, silence is no stall.
    void set_heard(std::int64_t at_ms, bool heard) {
        if (heard && !heard_) moved_ms_ = at_ms;
        heard_ = heard;
    }

    [[nodiscard]] const std::string& node_id() const { return node_id_; }
    // Seconds since anything moved.
    [[nodiscard]] double still_seconds(std::int64_t at_ms) const {
        return static_cast<double>(at_ms - moved_ms_) / 1000;
    }

  private:
    void begin_node(const std::string& node_id);
    void begin_steps(double max);
    // False: it is no new step.
    [[nodiscard]] bool count_step(std::int64_t at_ms, double value, double max);
    void look_for_spill(std::vector<Alarm>& into);
    void look_for_creep(std::vector<Alarm>& into);
    [[nodiscard]] double patience_seconds() const;
    [[nodiscard]] std::optional<double> usual_step_seconds() const;
    enum class Threat : std::uint8_t { None, ToTheJob };
    void raise(std::vector<Alarm>& into, AlarmKind kind, Threat threat, Phrase sentence,
               double drift = 1);
    // Whether the job's highest forecast, which was under the line, and so much more would be over.
    [[nodiscard]] Threat threat_of(Bytes more) const;

    JobForecast forecast_;
    std::string node_id_;
    std::int64_t moved_ms_;
    bool heard_ = false;
    std::optional<std::int64_t> step_ms_;  // of the last step
    double steps_ = 0;                     // that are done
    double steps_max_ = 0;
    std::vector<double> step_seconds_;  // of this node
    std::optional<CardUse> card_;       // as it was seen last
    int drifts_ = 0;                    // of these more than forecast
    int looks_ = 0;                     // at the card, in this node
    struct StepPeak {
        double step = 0;
        Bytes allocated;  // most within it
    };
    std::vector<StepPeak> step_peaks_;  // of the steps in which the card was looked at
    Bytes peak_now_;
    std::set<std::pair<AlarmKind, Threat>> said_;
};

}  // namespace plimsoll::guard
