// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/script_json.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace plimsoll::workflow {
namespace {

std::string written(const json::value& value) {
    std::string out;
    append_script_json(out, value, 0);
    return out;
}

// Expected texts: what JSON.stringify answers in V8 for the same numbers.
TEST(ScriptJson, writes_numbers_as_javascript_does) {
    EXPECT_EQ(written(5.0), "5");
    EXPECT_EQ(written(0.1), "0.1");
    EXPECT_EQ(written(-0.0), "0");
    EXPECT_EQ(written(1e-6), "0.000001");
    EXPECT_EQ(written(1e-7), "1e-7");
    EXPECT_EQ(written(123.456), "123.456");
    EXPECT_EQ(written(1.5e300), "1.5e+300");
    EXPECT_EQ(written(1e21), "1e+21");
    EXPECT_EQ(written(1e20), "100000000000000000000");
    EXPECT_EQ(written(std::uint64_t{18446744073709551615U}), "18446744073709552000");
    EXPECT_EQ(written(std::int64_t{18446744073709550}), "18446744073709550");
    EXPECT_EQ(written(std::int64_t{9007199254740993}), "9007199254740992");
    EXPECT_EQ(written(INT64_MIN), "-9223372036854776000");
}

TEST(ScriptJson, indents_by_two_and_keeps_empty_things_short) {
    EXPECT_EQ(written(json::value{{"a", json::array{1, "x"}}, {"b", json::object{}}}),
              "{\n  \"a\": [\n    1,\n    \"x\"\n  ],\n  \"b\": {}\n}");
    EXPECT_EQ(script_text(true), "true");
    EXPECT_EQ(script_text(nullptr), "");
    EXPECT_EQ(script_text("word"), "word");
    EXPECT_EQ(script_text(2.5), "2.5");
}

}  // namespace
}  // namespace plimsoll::workflow
