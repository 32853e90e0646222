// SPDX-License-Identifier: Apache-2.0
//
// EndedJobs: the jobs that have ended here lately, newest first, for the doors; of those that never
// got to ComfyUI, or whose end is ours, also what /history is to say of them. Older ones are in the
// history.
//
// Enters through: HeldView, JSON text.   Leaves through: EndedJob.   Threads: one at a time.
#pragma once
#include "guard/held_view.h"

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

inline constexpr std::size_t kEndedMax = 200;  // chosen: a page shows fewer

struct EndedJob {
    HeldView view;
    std::optional<std::string> history;  // an item of /history
};

class EndedJobs {
  public:
    void add(HeldView view, std::optional<std::string> history = std::nullopt);
    // A prompt that was refused: its client tries it again, or its user sends it all the same.
    void erase_refused(std::string_view prompt_id);
    [[nodiscard]] const std::deque<EndedJob>& newest_first() const { return jobs_; }

    [[nodiscard]] const std::string* find_history(std::string_view prompt_id) const;
    // Their clients have deleted it.
    void forget_history(const std::function<bool(const std::string& prompt_id)>& of);
    [[nodiscard]] bool has_history() const;
    // One of them had its latent saved by a node of ours.
    [[nodiscard]] bool has_latents() const;

  private:
    std::deque<EndedJob> jobs_;
};

}  // namespace plimsoll::guard
