// SPDX-License-Identifier: Apache-2.0
//
// JobWatch: whether a running job does what was forecast. Spill (the driver moved tensors into the
// machine's memory: steps take several times as long on a full card), stall (nothing moves), creep
// (every step leaves more behind), drift (more memory than forecast), over the line. Each is said
// once a job, within five steps of its beginning.
//
// Enters through: progress and looks at the card, with their time.   Leaves through: Alarm.
// Threads: one at a time.
#pragma once
#include "base/units.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

enum class AlarmKind : std::uint8_t { Spill, Stall, Creep, Drift, OverLine };
[[nodiscard]] std::string_view alarm_name(AlarmKind kind);  // "spill", ...

struct Alarm {
    AlarmKind kind = AlarmKind::Drift;
    std::string node_id;
    std::string sentence;  // for people, with the numbers
};

// What was forecast of one node.
struct NodeForecast {
    Bytes peak;          // allocated
    double seconds = 0;  // of the whole node
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

    [[nodiscard]] std::vector<Alarm> on_progress(std::int64_t at_ms, const std::string& node_id,
                                                 double value, double max);
    // Anything else that the job did: a node began.
    void on_node(std::int64_t at_ms, const std::string& node_id);
    [[nodiscard]] std::vector<Alarm> on_card(std::int64_t at_ms, const CardUse& use);

    [[nodiscard]] const std::string& node_id() const { return node_id_; }
    // Seconds since anything moved.
    [[nodiscard]] double still_seconds(std::int64_t at_ms) const {
        return static_cast<double>(at_ms - moved_ms_) / 1000;
    }

  private:
    void begin_node(const std::string& node_id);
    [[nodiscard]] double patience_seconds() const;
    [[nodiscard]] std::optional<double> usual_step_seconds() const;
    void raise(std::vector<Alarm>& into, AlarmKind kind, std::string sentence);

    JobForecast forecast_;
    std::string node_id_;
    std::int64_t moved_ms_;
    std::optional<std::int64_t> step_ms_;  // of the last step
    double steps_max_ = 0;
    std::vector<double> step_seconds_;  // of this node
    std::optional<CardUse> card_;       // as it was seen last
    std::vector<Bytes> step_peaks_;     // most that was allocated, by step
    Bytes peak_now_;
    std::set<AlarmKind> said_;
};

}  // namespace plimsoll::guard
