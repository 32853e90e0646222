// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/sent_text.h"

#include <gtest/gtest.h>

#include <string>

namespace plimsoll::workflow {
namespace {

TEST(ResolveDynamicPrompt, takes_the_first_choice_drops_comments_and_unescapes) {
    EXPECT_EQ(resolve_dynamic_prompt(R"(a {red|green} cat with \{braces\} // no)"),
              "a red cat with {braces} ");
    EXPECT_EQ(resolve_dynamic_prompt("a /* b\n c */ d // e\nf"), "a  d \nf");
    EXPECT_EQ(resolve_dynamic_prompt("{a {b|c}|d} e"), "a b e");
    EXPECT_EQ(resolve_dynamic_prompt("{|x}y"), "y");
}

TEST(ResolveDynamicPrompt, leaves_what_never_ends_readable) {
    EXPECT_EQ(resolve_dynamic_prompt("a {b|c"), "a b");
    EXPECT_EQ(resolve_dynamic_prompt("a } b /* c"), "a } b /* c");
    EXPECT_EQ(resolve_dynamic_prompt(R"(back\slash \)"), R"(back\slash \)");
    EXPECT_EQ(resolve_dynamic_prompt(std::string(100'000, '{')).size(), 99'900U);
}

TEST(ReplaceFields, fills_dates_and_widgets_and_leaves_the_rest) {
    const FindWidgetText find = [](std::string_view node, std::string_view widget) {
        return node == "KSampler" && widget == "name" ? std::optional<std::string>("a/b:c")
                                                      : std::nullopt;
    };
    const LocalTime time{.year = 2026, .month = 3, .day = 4, .hour = 5, .minute = 6, .second = 7};
    EXPECT_EQ(replace_fields("x_%date:yyyy-MM-dd%_%KSampler.name%", find, time),
              "x_2026-03-04_a_b_c");
    EXPECT_EQ(replace_fields("%width%x%Other.name%100%%", find, time), "%width%x%Other.name%100%%");
    EXPECT_EQ(replace_fields("%date:yyyy%", find, std::nullopt), "%date:yyyy%");
    EXPECT_EQ(format_date("yy-M-d h:m:s hhmmss yyy", time), "26-3-4 5:6:7 050607 yyy");
}

}  // namespace
}  // namespace plimsoll::workflow
