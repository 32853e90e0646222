// SPDX-License-Identifier: Apache-2.0
//
// How far the guard may go with a prompt, and what its client wishes for it. By the daemon's
// setting, by client, by a header of the request, by a mark in a node's title; the nearest wins.
//
// Enters through: configuration, headers, a graph.   Leaves through: Wishes.   Threads: plain
// values.
#pragma once
#include "advisor/levers.h"
#include "base/error.h"
#include "net/http_message.h"
#include "workflow/graph.h"

#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

enum class Policy : std::uint8_t {
    Observe,  // forwarded untouched
    Advise,   // held and rescued, but only warned about
    Fit,      // changed where that makes it fit, else warned about
    Enforce,  // changed where that makes it fit, else refused
};
[[nodiscard]] std::string_view policy_name(Policy policy);  // "observe", ...
[[nodiscard]] std::optional<Policy> parse_policy(std::string_view name);

// Of a request, any case: "fit", "1", "steps,width".
inline constexpr std::string_view kPolicyHeader = "X-Plimsoll-Policy";
inline constexpr std::string_view kRunAnywayHeader = "X-Plimsoll-Run-Anyway";
inline constexpr std::string_view kPinHeader = "X-Plimsoll-Pin";
inline constexpr std::string_view kPriorityHeader = "X-Plimsoll-Priority";
// Of an answer: what was changed, one for each edit.
inline constexpr std::string_view kEditHeader = "X-Plimsoll-Edit";
inline constexpr std::string_view kVerdictHeader = "X-Plimsoll-Verdict";
// In the title of any node, any case: for clients that cannot send headers.
inline constexpr std::string_view kRunAnywayMark = "[run anyway]";

inline constexpr std::int64_t kPriorityMax = 100;  // chosen: -100 to 100

struct Wishes {
    Policy policy = Policy::Fit;
    bool run_anyway = false;
    advisor::Pins pins;
    std::int64_t priority = 0;
};
// InvalidInput names the header that is wrong.
[[nodiscard]] Result<Wishes> read_wishes(Policy setting, const net::Headers& headers);
[[nodiscard]] bool is_marked_to_run_anyway(const workflow::Graph& graph);

}  // namespace plimsoll::guard
