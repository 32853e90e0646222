// SPDX-License-Identifier: Apache-2.0
//
// Residents: what the jobs that ran have left on the card. A forecast for the next one starts from
// there, so that the line holds for the whole mix of jobs and POST /free is called only where it
// helps.
//
// Enters through: programs that ran.   Leaves through: Forecaster.   Threads: one at a time; a
// Forecaster is safe from any.
#pragma once
#include "advisor/forecaster.h"
#include "memory/simulate.h"

#include <cstddef>
#include <memory>
#include <vector>

namespace plimsoll::guard {

using SharedProgram = std::shared_ptr<const memory::Program>;
// Chosen: a card holds two or three models; what ran before them was evicted long ago.
inline constexpr std::size_t kPastProgramsMax = 4;

class Residents {
  public:
    // A job ended on the server.
    void note(SharedProgram program);
    // ComfyUI started anew, or POST /free unloaded everything.
    void forget() { past_.clear(); }
    [[nodiscard]] const std::vector<SharedProgram>& past() const { return past_; }

  private:
    std::vector<SharedProgram> past_;  // oldest first
};

// As advisor::make_forecaster, on a card that `past` ran on before. Scenario::free_models_first
// empties it.
[[nodiscard]] advisor::Forecaster forecaster_after(advisor::Surroundings surroundings,
                                                   std::vector<SharedProgram> past);
// The program of a workflow, to be noted once it has run.
[[nodiscard]] Result<SharedProgram> program_of(std::string_view workflow,
                                               const advisor::Surroundings& surroundings);

}  // namespace plimsoll::guard
