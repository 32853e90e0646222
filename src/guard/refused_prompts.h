// SPDX-License-Identifier: Apache-2.0
//
// RefusedPrompts: the bodies of the prompts that were refused last, so that their users can send
// them all the same. The oldest make room for new ones.
//
// Enters through: HeldEntry.   Leaves through: HeldEntry.   Threads: one at a time.
#pragma once
#include "guard/held_queue.h"

#include <cstddef>
#include <deque>
#include <string_view>

namespace plimsoll::guard {

inline constexpr std::size_t kRefusedMax = 20;                 // chosen: a page shows fewer
inline constexpr std::size_t kRefusedBytesMax = 64ULL << 20U;  // chosen: of bodies, in memory

class RefusedPrompts {
  public:
    // In the place of an earlier one of that id. False: it is too large to be kept.
    bool keep(HeldEntry entry);
    [[nodiscard]] const HeldEntry* find(std::string_view prompt_id) const;
    // False: it is not there (any more).
    bool erase(std::string_view prompt_id);

  private:
    std::deque<HeldEntry> prompts_;  // newest first
};

}  // namespace plimsoll::guard
