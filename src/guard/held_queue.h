// SPDX-License-Identifier: Apache-2.0
//
// HeldQueue: the prompts that were accepted for clients and have not ended, in the order in which
// they go. What it says is to be written to the Store is written by its owner, before anything is
// answered or sent.
//
// Enters through: HeldEntry.   Leaves through: HeldEntry, changes for the Store.   Threads: one at
// a time.
#pragma once
#include "base/error.h"
#include "guard/held_entry.h"
#include "guard/turn.h"
#include "history/held_job.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace plimsoll::guard {

inline constexpr std::size_t kHeldJobsMax = 20'000;          // chosen: weeks of work
inline constexpr std::size_t kHeldBytesMax = 512ULL << 20U;  // chosen: of their bodies, in memory
// Turns of neighbours are so far apart, so that a job can be put between them.
inline constexpr std::int64_t kTurnStep = 1LL << 20U;

class HeldQueue {
  public:
    // InvalidInput where the id is there already, LimitExceeded where the queue is full.
    [[nodiscard]] Result<void> add(HeldEntry entry);
    [[nodiscard]] HeldEntry* find(std::string_view prompt_id);
    [[nodiscard]] const HeldEntry* find(std::string_view prompt_id) const;
    // Takes it out.
    std::optional<HeldEntry> take(std::string_view prompt_id);
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    // All in the order in which they go, those that were sent among them.
    [[nodiscard]] std::vector<const HeldEntry*> in_order() const;

    // Those that may be sent, in order, as the rules of turns see them.
    [[nodiscard]] std::vector<Candidate> candidates() const;
    // The id of the job whose turn it is.
    [[nodiscard]] std::optional<std::string> choose(const Moment& moment);

    // The mark of one job; the order follows.
    void mark(const std::string& prompt_id, const history::HeldMark& mark);
    // Puts a job right before another, or at the end of its priority (`before` empty). Gives the
    // marks to be written: one, or all of a priority where there was no place left between two.
    // NotFound where one is not there, InvalidInput where they are of different priorities.
    [[nodiscard]] Result<std::vector<history::HeldChange>> move_before(const std::string& prompt_id,
                                                                       const std::string& before);
    // A turn behind all of the priority, `number` after `number`: what ComfyUI's counter does.
    [[nodiscard]] static std::int64_t turn_of(double number);

  private:
    using Key = std::tuple<std::int64_t, std::int64_t, std::string>;  // -priority, turn, id
    [[nodiscard]] static Key key_of(const HeldEntry& entry);

    std::map<Key, HeldEntry*> order_;
    std::unordered_map<std::string, HeldEntry> entries_;
    std::size_t bytes_ = 0;
};

}  // namespace plimsoll::guard
