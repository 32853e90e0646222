// SPDX-License-Identifier: Apache-2.0
//
// The ladder that a job climbs when it runs out of memory: free the card, wait until memory has
// settled, once more as it is; then changed by the next plan; then into quarantine with a reason,
// and the queue goes on. A shape that met its wall is not sent into it again.
//
// Enters through: what went wrong, what was tried.   Leaves through: LadderStep.   Threads: one at
// a time.
#pragma once
#include "base/phrase.h"
#include "base/units.h"
#include "service/comfyui/answers.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

enum class Failure : std::uint8_t {
    CardMemory,  // the card is full
    HostMemory,  // the machine is
    ServerLost,  // it was killed while it ran the job, or started anew
    ServerHung,  // it does not answer any more
    // Stopped by us, once a job:
    Spilled,  // the driver moved it into the machine's memory
    Stalled,  // nothing moved any more
    Drifted,  // it took more memory than forecast and would have gone over the line
    Crept,    // every step left more behind, and it would have gone over the line
    Other,    // nothing that another try would help
};
[[nodiscard]] std::string_view failure_name(Failure failure);  // "card_memory", ...
// By the texts of all versions and back ends.
[[nodiscard]] Failure classify_failure(const service::NodeError& error);

// What was tried with a job.
struct Tries {
    int as_it_is = 0;      // failures for want of memory of the form that was sent last
    int plan_level = 0;    // 0: as the client sent it or as check & fit made it; n: the n-th plan
    int servers_lost = 0;  // ComfyUI went down while it ran the job
    int stops = 0;         // we interrupted it because it went wrong
};
inline constexpr int kStopsMax = 1;        // chosen: what goes wrong again is let be
inline constexpr int kPlanLevelMax = 3;    // chosen: each asks for less than the last
inline constexpr int kServersLostMax = 2;  // chosen: the second time it is no accident

enum class LadderAction : std::uint8_t {
    Again,       // the same bytes
    NextPlan,    // changed; where there is no plan: Quarantine
    Quarantine,  // this job ends, the queue goes on
    Pass,        // not ours: the client hears of it as it is
};
struct LadderStep {
    LadderAction action = LadderAction::Pass;
    bool unload_models = false;  // POST /free before
    bool reset_caches = false;   // with free_memory: what ComfyUI has computed already goes, too
    bool meets_wall = false;     // the form that was sent is not to be sent again
    bool else_again = false;     // NextPlan: where there is none, the same bytes
    Phrase reason = {};          // for people
};
// `may_change`: the policy allows another form.
[[nodiscard]] LadderStep climb(Failure failure, const Tries& tries, bool may_change);

// Whether memory has come to rest after POST /free: it works off the queue before it obeys.
class MemorySettles {
  public:
    explicit MemorySettles(std::int64_t began_ms) : began_ms_(began_ms) {}
    // Whether it is time for another look.
    [[nodiscard]] bool is_due(std::int64_t now_ms) const;
    // A look at what the card has free. True once it rests, or once nobody waits any longer.
    [[nodiscard]] bool add(std::int64_t at_ms, Bytes free);
    [[nodiscard]] bool gave_up() const { return gave_up_; }

  private:
    std::int64_t began_ms_;
    std::int64_t looked_ms_ = 0;
    std::deque<Bytes> seen_;
    bool gave_up_ = false;
};
inline constexpr std::int64_t kSettleMsMax = 20'000;  // chosen: unloading takes about a second

}  // namespace plimsoll::guard
