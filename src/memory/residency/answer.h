// SPDX-License-Identifier: Apache-2.0
//
// `plimsoll residency`: answers recorded steps of ComfyUI's real loader (JSON lines) with what the
// simulated one decides. The accuracy of residency is judged through this door.
//
// Enters through: text of one line.   Leaves through: text of one line.   Threads: one
// ResidencyAnswerer belongs to one thread.
#pragma once
#include "base/error.h"

#include <memory>
#include <string>
#include <string_view>

namespace plimsoll::memory {

class ResidencySession;

// Lines of one scenario, version and card share state and come in their order.
class ResidencyAnswerer {
  public:
    ResidencyAnswerer();
    ~ResidencyAnswerer();
    ResidencyAnswerer(ResidencyAnswerer&&) noexcept;
    ResidencyAnswerer& operator=(ResidencyAnswerer&&) noexcept;

    // The same line with `resident`, `forwards_per_step`, `forward_batches`, `batch_number`,
    // `decode_calls`, `encode_calls` and `free_after` set as far as the step has them; other fields
    // are kept. A step with a model that is not simulated comes back with "verdict": "unknown" and
    // a "reason", as do the later steps of its session. Fails with Corrupt when the line is no JSON
    // object.
    [[nodiscard]] Result<std::string> answer_line(std::string_view json_line);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace plimsoll::memory
