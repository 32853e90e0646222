// SPDX-License-Identifier: Apache-2.0
//
// The evaluator against what Python gives, and against texts that mean harm.
#include "workflow/expression.h"

#include <gtest/gtest.h>

#include <string>

namespace plimsoll::workflow {
namespace {

std::optional<Scalar> look_up(std::string_view name) {
    if (name == "a") return Scalar(1920.0);
    if (name == "b") return Scalar(1080.0);
    if (name == "image.height") return Scalar(-7.0);
    if (name == "text") return Scalar(std::string("5.5"));
    if (name == "s") return Scalar(std::string("on"));
    return std::nullopt;
}

std::optional<double> value(std::string_view text) {
    const auto scalar = evaluate_expression(text, look_up);
    return scalar ? number_of(*scalar) : std::nullopt;
}

// Values are Python's for the same text.
TEST(Expression, calculates_as_python_does) {
    EXPECT_EQ(value("a + b * 2"), 4080);
    EXPECT_EQ(value("-7 // 2"), -4);
    EXPECT_EQ(value("-7 % 3"), 2);
    EXPECT_EQ(value("2 ** 3 ** 2"), 512);
    EXPECT_EQ(value("-2 ** 2"), -4);
    EXPECT_EQ(value("2 ** -1"), 0.5);
    EXPECT_EQ(value("round(2.5) + round(3.5)"), 6);
    EXPECT_EQ(value("floor(a / 32) * 32"), 1920);
    EXPECT_EQ(value("1 < 2 < 3"), 1);
    EXPECT_EQ(value("3 > 2 > 2"), 0);
    EXPECT_EQ(value("a > 1000 and b < a"), 1);
    EXPECT_EQ(value("0 or 7"), 7);
    EXPECT_EQ(value("not a"), 0);
    EXPECT_EQ(value("1 if a < b else 2 if b > 5 else 3"), 2);
    EXPECT_EQ(value("max(1, min(a, b), 3)"), 1080);
    EXPECT_EQ(value("image.height + 1e1"), 3);
    EXPECT_EQ(value("text * 2"), 11);
    EXPECT_EQ(value("5 if s == 'on' else 6"), 5);
    EXPECT_EQ(value("numbers('1., 0.99375, 0.0')"), 3);
    EXPECT_EQ(value("len(replace('abab', 'b', 'cc'))"), 6);
}

TEST(Expression, keeps_what_is_not_known_out_of_what_does_not_need_it) {
    EXPECT_EQ(value("x"), std::nullopt);
    EXPECT_EQ(value("x + 1"), std::nullopt);
    EXPECT_EQ(value("1 if a else x"), 1);
    EXPECT_EQ(value("a / b if b else x"), 1920.0 / 1080);
    EXPECT_EQ(value("0 and x"), 0);
    EXPECT_EQ(value("default(x, 4)"), 4);
    EXPECT_EQ(value("1 / 0"), std::nullopt);
}

TEST(Expression, takes_no_harm) {
    EXPECT_EQ(value("9 ** 9 ** 9 ** 9"), std::nullopt);
    EXPECT_EQ(value(std::string(2000, '(')), std::nullopt);
    EXPECT_EQ(value(std::string(2000, '-') + "1"), 1);
    EXPECT_EQ(value(std::string(5000, '1')), std::nullopt);
    EXPECT_EQ(value("1 +"), std::nullopt);
    EXPECT_EQ(value("1 2"), std::nullopt);
    EXPECT_EQ(value("max()"), std::nullopt);
    EXPECT_EQ(value("__import__('os')"), std::nullopt);
    EXPECT_EQ(value("'open"), std::nullopt);
    EXPECT_EQ(value(""), std::nullopt);
    std::string powers = "2";
    for (int i = 0; i < 200; ++i) powers += " ** 2";
    EXPECT_EQ(value(powers), std::nullopt);
    std::string choices = "1";
    for (int i = 0; i < 200; ++i) choices += " if 1 else 1";
    EXPECT_EQ(value(choices), std::nullopt);
}

}  // namespace
}  // namespace plimsoll::workflow
