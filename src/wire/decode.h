// SPDX-License-Identifier: Apache-2.0
//
// The JSON of requests: one table of fields, strict in names, types and ranges (docs/openapi.yaml).
// A workflow inside a request keeps its own bytes. Input is untrusted.
//
// Enters through: bytes.   Leaves through: Question.   Threads: no shared state.
#pragma once
#include "advisor/largest.h"
#include "advisor/levers.h"
#include "advisor/plan.h"
#include "base/error.h"
#include "service/job.h"
#include "service/place.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::wire {

// What a request may say. Each call takes its own set.
enum class Field : std::uint32_t {
    Source = 1U << 0U,    // workflow, preset
    Family = 1U << 1U,    // family
    Wishes = 1U << 2U,    // model, prompt, width... vaeTiling
    Plan = 1U << 3U,      // pin, prefer
    Site = 1U << 4U,      // card, vramMb, comfyuiVersion, comfyuiFlags, memoryPolicy
    Limits = 1U << 5U,    // maxVramMb, safetyMargin, maxDurationMin
    Knob = 1U << 6U,      // knob
    Anyway = 1U << 7U,    // runAnyway
    SizeOnly = 1U << 8U,  // model, width, height, quality
    NoPrompt = 1U << 9U,  // of the wishes all but the prompt
};
[[nodiscard]] constexpr std::uint32_t operator|(Field a, Field b) {
    return static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b);
}
[[nodiscard]] constexpr std::uint32_t operator|(std::uint32_t a, Field b) {
    return a | static_cast<std::uint32_t>(b);
}

struct Question {
    service::JobRequest job;  // `seed` above 2^53 is kept exactly
    std::optional<std::string> preset;
    service::Overrides overrides;
    advisor::Pins pins;
    advisor::Preference preference = advisor::Preference::Quality;
    std::optional<advisor::Knob> knob;
    bool run_anyway = false;
};

// An error of one field names it.
struct DecodeError {
    Error error;
    std::string field;  // empty: of the whole
};
[[nodiscard]] std::expected<Question, DecodeError> decode_question(std::string_view body,
                                                                   std::uint32_t fields);

}  // namespace plimsoll::wire
