// SPDX-License-Identifier: Apache-2.0
//
// Goal: what is spliced out leaves the rest byte for byte. Method: texts written down.
#include "guard/body_text.h"

#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

TEST(WithoutMember, takes_one_out_with_its_comma) {
    const std::string text = R"({"a": 1.0, "b": {"a": [1, 2]}, "c": NaN})";
    EXPECT_EQ(without_member(text, "a"), R"({"b": {"a": [1, 2]}, "c": NaN})");
    EXPECT_EQ(without_member(text, "b"), R"({"a": 1.0, "c": NaN})");
    EXPECT_EQ(without_member(text, "c"), R"({"a": 1.0, "b": {"a": [1, 2]}})");
    EXPECT_EQ(without_member(text, "d"), text);
    EXPECT_EQ(without_member(R"({"a": 1})", "a"), "{}");
    EXPECT_EQ(without_member("{}", "a"), "{}");
    EXPECT_EQ(without_member(R"({"a": )", "a"), std::nullopt);
}

TEST(WithoutOutput, takes_one_nodes_output_of_one_prompt) {
    const std::string text =
        R"({"a": {"prompt": [1], "outputs": {"9": {"images": []}, "x": {"latents": [1]}}}, )"
        R"("b": {"outputs": {"x": {}}}})";
    EXPECT_EQ(without_output(text, "a", "x"),
              R"({"a": {"prompt": [1], "outputs": {"9": {"images": []}}}, )"
              R"("b": {"outputs": {"x": {}}}})");
    EXPECT_EQ(without_output(text, "c", "x"), text);
    EXPECT_EQ(without_output("{}", "a", "x"), "{}");
    EXPECT_EQ(without_output("no json", "a", "x"), "no json");
}

}  // namespace
}  // namespace plimsoll::guard
