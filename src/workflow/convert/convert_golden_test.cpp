// SPDX-License-Identifier: Apache-2.0
//
// Goal: a conversion is what ComfyUI's own front end makes of the same workflow. Method: recorded
// pairs, compared as JSON values.
#include "base/json.h"
#include "workflow/convert/convert.h"
#include "workflow/convert/recorded_conversions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>

namespace plimsoll::workflow {
namespace {

constexpr double kEqualShareMin = 0.98;
constexpr LocalTime kRecordedAt{.year = 2026, .month = 11, .day = 23};

// Numbers compare by value: 5 and 5.0 are one number in JSON.
bool equal(const json::value& a, const json::value& b) {
    if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
    if (const auto* x = a.if_array()) {
        const auto* y = b.if_array();
        return y != nullptr && std::ranges::equal(*x, *y, equal);
    }
    if (const auto* x = a.if_object()) {
        const auto* y = b.if_object();
        return y != nullptr && x->size() == y->size() &&
               std::ranges::all_of(*x, [&](const json::key_value_pair& member) {
                   const json::value* const other = y->if_contains(member.key());
                   return other != nullptr && equal(member.value(), *other);
               });
    }
    return a == b;
}

// The first node or input that differs, for the reader of a failure.
std::string difference(const json::object& want, const json::object& got) {
    for (const auto& [id, node] : want) {
        const json::value* const other = got.if_contains(id);
        if (other == nullptr) return "no node " + std::string(id);
        if (equal(node, *other)) continue;
        for (const auto& [name, value] : node.at("inputs").as_object()) {
            const json::value* const mine = other->at("inputs").as_object().if_contains(name);
            if (mine == nullptr || !equal(value, *mine))
                return std::string(id) + "." + std::string(name) + ": want " +
                       json::serialize(value) + ", got " +
                       (mine == nullptr ? "nothing" : json::serialize(*mine));
        }
        return "node " + std::string(id) + ": want " + json::serialize(node) + ", got " +
               json::serialize(*other);
    }
    return "a node too many";
}

TEST(ConvertGolden, converts_as_the_front_end_did_in_at_least_98_of_100_recorded_workflows) {
    const ObjectInfo old_info = recorded_object_info("0.3.64");
    const ObjectInfo new_info = recorded_object_info("0.33.0");
    std::istringstream lines(read_recorded("pairs.jsonl.gz"));
    std::size_t pairs = 0;
    std::size_t equals = 0;
    for (std::string line; std::getline(lines, line); ++pairs) {
        const json::value pair = parse_json(line).value();
        const bool is_old = pair.at("server").as_string() == "0.3.64";
        const auto converted =
            convert_workflow(json::serialize(pair.at("ui")), is_old ? old_info : new_info,
                             {.front_end = std::nullopt, .now = kRecordedAt});
        const std::string name(pair.at("name").as_string());
        ASSERT_TRUE(converted.has_value()) << name << ": " << converted.error().message;
        const json::value api = parse_json(converted->text).value();
        EXPECT_TRUE(converted->warnings.empty()) << name << ": " << converted->warnings.front();
        EXPECT_EQ(converted->nodes, api.as_object().size()) << name;
        if (equal(api, pair.at("api")))
            ++equals;
        else
            std::printf("%s differs at %s\n", name.c_str(),
                        difference(pair.at("api").as_object(), api.as_object()).c_str());
    }
    std::printf("%zu of %zu recorded conversions are equal\n", equals, pairs);
    ASSERT_GE(pairs, 100U);
    EXPECT_GE(static_cast<double>(equals), kEqualShareMin * static_cast<double>(pairs));
}

}  // namespace
}  // namespace plimsoll::workflow
