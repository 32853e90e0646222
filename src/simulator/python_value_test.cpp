// SPDX-License-Identifier: Apache-2.0
//
// Goal: JSON comes back as Python's json module would write it, byte for byte. Method: texts whose
// form is known from CPython 3.11.
#include "simulator/python_value.h"

#include <gtest/gtest.h>

namespace plimsoll::simulator {
namespace {

std::string again(std::string_view text) {
    const auto value = parse_python_json(text);
    return value ? dump_python_json(*value) : "error: " + value.error().message;
}

TEST(PythonJson, integers_floats_and_their_difference_survive) {
    EXPECT_EQ(
        again("[5, 5.0, 18446744073709551615, -0, -0.0, 1e5, 1E16, 1e-5, 0.0001, 123456.789]"),
        "[5, 5.0, 18446744073709551615, 0, -0.0, 100000.0, 1e+16, 1e-05, 0.0001, 123456.789]");
    EXPECT_EQ(again("[1e400, -1e400, NaN, Infinity]"), "[Infinity, -Infinity, NaN, Infinity]");
    EXPECT_EQ(again("99999999999999999999999999999999999999"),
              "99999999999999999999999999999999999999");
    EXPECT_EQ(parse_python_json(std::string(39, '9')).error().code, Errc::LimitExceeded);
}

TEST(PythonJson, text_is_escaped_to_ascii_and_back) {
    EXPECT_EQ(again("\"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80\\n\\u00e9\\ud83d\\ude00\\ud800x\\/\""),
              "\"\\u00e9\\u4e2d\\ud83d\\ude00\\n\\u00e9\\ud83d\\ude00\\ud800x/\"");
    EXPECT_EQ(again("\"\x7F\""), "\"\\u007f\"");
}

TEST(PythonJson, keys_keep_their_order_and_the_last_of_equal_ones_counts) {
    EXPECT_EQ(again(R"({"b":1,"a":{"x":[]},"b":2})"), R"({"b": 2, "a": {"x": []}})");
}

TEST(PythonJson, what_python_refuses_is_refused) {
    for (const auto* const bad : {"",
                                  "{bad",
                                  "[1,]",
                                  "{\"a\":1,}",
                                  "01",
                                  "+1",
                                  "1.",
                                  ".5",
                                  "'a'",
                                  "nul",
                                  "[1] 2",
                                  "\"\x01\"",
                                  "\"\\x\"",
                                  "\"\\u12g4\"",
                                  "\"open",
                                  "{\"a\" 1}",
                                  "[",
                                  "{1:2}",
                                  "\"\xFF\"",
                                  "\"\xC0\x80\"",
                                  "\"\xED\xA0\x80\"",
                                  "\"\xC3"})
        EXPECT_FALSE(parse_python_json(bad)) << bad;
    EXPECT_EQ(parse_python_json(std::string(100'000, '[')).error().code, Errc::LimitExceeded);
}

TEST(PythonRepr, looks_as_in_error_texts) {
    const auto shown = [](const char* text) { return python_repr(*parse_python_json(text)); };
    EXPECT_EQ(shown("[null, true, 5.0, \"it's\", \"a\\\"b'\\n\"]"),
              "[None, True, 5.0, \"it's\", 'a\"b\\'\\n']");
    EXPECT_EQ(shown("{\"a\": [1]}"), "{'a': [1]}");
}

TEST(PythonValue, numbers_are_equal_across_types_and_seeds_are_exact) {
    EXPECT_EQ(Value(5), Value(5.0));
    EXPECT_EQ(Value(true), Value(1));
    EXPECT_FALSE(Value(std::uint64_t{18446744073709551615ULL}) ==
                 Value(std::uint64_t{18446744073709551614ULL}));
    EXPECT_FALSE(Value("5") == Value(5));
}

}  // namespace
}  // namespace plimsoll::simulator
