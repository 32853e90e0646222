// SPDX-License-Identifier: Apache-2.0
//
// Goal: texts from outside cannot harm a terminal, and widths are those that a terminal shows.
// Method: plain values.
#include "cli/text.h"

#include "base/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::cli {
namespace {

using testing::ElementsAre;

TEST(Plain, control_characters_become_question_marks) {
    EXPECT_EQ(plain("a\x1b[31mb\x07"), "a?[31mb?");
    EXPECT_EQ(plain("line\nbreak\ttab"), "line break tab");
    EXPECT_EQ(plain("\x7f"), "?");
    EXPECT_EQ(plain("\xC2\x9B"), "?");      // CSI in one character
    EXPECT_EQ(plain("\xE2\x80\xAE"), "?");  // right-to-left override
    EXPECT_EQ(plain("dragon, Drache, 龍"), "dragon, Drache, 龍");
}

TEST(Plain, broken_utf8_becomes_the_replacement_character) {
    const std::string kReplacement = "\xEF\xBF\xBD";
    EXPECT_EQ(plain("a\xFF"), "a" + kReplacement);
    EXPECT_EQ(plain("\xE2\x82"), kReplacement + kReplacement);                     // cut off
    EXPECT_EQ(plain("\xC0\xAF"), kReplacement + kReplacement);                     // overlong
    EXPECT_EQ(plain("\xED\xA0\x80"), kReplacement + kReplacement + kReplacement);  // surrogate
    EXPECT_EQ(valid_utf8("a\x1b\xFF"), "a\x1b" + kReplacement);
}

TEST(ColumnsOf, counts_what_a_terminal_shows) {
    EXPECT_EQ(columns_of("abc"), 3U);
    EXPECT_EQ(columns_of("龍"), 2U);
    EXPECT_EQ(columns_of("e\xCC\x81"), 1U);  // e with a combining accent
    EXPECT_EQ(columns_of("\x1b[1;32mabc\x1b[0m"), 3U);
    EXPECT_EQ(columns_of("█▌░"), 3U);
}

TEST(Shortened, cuts_at_the_width_and_never_inside_a_character) {
    EXPECT_EQ(shortened("abcdef", 6), "abcdef");
    EXPECT_EQ(shortened("abcdefg", 6), "abc...");
    EXPECT_EQ(shortened("龍龍龍龍", 6), "龍...");
    EXPECT_EQ(shortened("\x1b[31mabcdefg\x1b[0m", 6), "\x1b[31mabc...\x1b[0m");
    EXPECT_EQ(shortened_front("decoder.up.0.conv1", 10), "...0.conv1");
    EXPECT_EQ(shortened_front("short", 10), "short");
}

TEST(Wrapped, breaks_at_spaces_and_counts_what_stands_before) {
    EXPECT_THAT(wrapped("one two three", 7), ElementsAre("one two", "three"));
    EXPECT_THAT(wrapped("one two three", 7, 4), ElementsAre("one", "two", "three"));
    EXPECT_THAT(wrapped("unbreakable", 4), ElementsAre("unbreakable"));
    EXPECT_THAT(wrapped("", 4), ElementsAre(""));
}

}  // namespace
}  // namespace plimsoll::cli
