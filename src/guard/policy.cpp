// SPDX-License-Identifier: Apache-2.0
#include "guard/policy.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::guard {

namespace {

constexpr std::array kNames{std::pair(Policy::Observe, std::string_view("observe")),
                            std::pair(Policy::Advise, std::string_view("advise")),
                            std::pair(Policy::Fit, std::string_view("fit")),
                            std::pair(Policy::Enforce, std::string_view("enforce"))};

std::unexpected<Error> bad_header(std::string_view header, std::string_view value,
                                  std::string_view allowed) {
    return fail(Errc::InvalidInput,
                fmt::format("{}: '{}' is none of {}", header, value.substr(0, 64), allowed));
}

}  // namespace

std::string_view policy_name(Policy policy) {
    return std::ranges::find(kNames, policy, &decltype(kNames)::value_type::first)->second;
}

std::optional<Policy> parse_policy(std::string_view name) {
    const std::string lower = to_lower_ascii(trim(name));
    for (const auto& [policy, known] : kNames)
        if (known == lower) return policy;
    return std::nullopt;
}

Result<Wishes> read_wishes(Policy setting, const net::Headers& headers) {
    Wishes wishes{.policy = setting, .run_anyway = false, .pins = {}, .priority = 0};
    if (const auto value = net::header_value(headers, kPolicyHeader); !value.empty()) {
        const auto policy = parse_policy(value);
        if (!policy) return bad_header(kPolicyHeader, value, "observe, advise, fit, enforce");
        wishes.policy = *policy;
    }
    if (const auto value = net::header_value(headers, kRunAnywayHeader); !value.empty()) {
        const std::string lower = to_lower_ascii(trim(value));
        const bool yes = lower == "1" || lower == "true" || lower == "yes";
        if (!yes && lower != "0" && lower != "false" && lower != "no")
            return bad_header(kRunAnywayHeader, value, "1, 0, true, false, yes, no");
        wishes.run_anyway = yes;
    }
    if (const auto value = net::header_value(headers, kPinHeader); !value.empty()) {
        TRY_ASSIGN(wishes.pins, advisor::parse_pins(value));
    }
    if (const auto value = net::header_value(headers, kPriorityHeader); !value.empty()) {
        const auto priority = parse_integer(trim(value));
        if (!priority || std::abs(*priority) > kPriorityMax)
            return bad_header(kPriorityHeader, value, "-100 to 100");
        wishes.priority = *priority;
    }
    return wishes;
}

bool is_marked_to_run_anyway(const workflow::Graph& graph) {
    return std::ranges::any_of(graph.nodes, [](const workflow::Node& node) {
        return to_lower_ascii(node.title).contains(kRunAnywayMark);
    });
}

}  // namespace plimsoll::guard
