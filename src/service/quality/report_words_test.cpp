// SPDX-License-Identifier: Apache-2.0
// Goal: a report can be written in every language that is listed, and none of its sentences is
// missing or lacks a value. Method: the tables beside each other.
#include "service/quality/report_words.h"

#include "base/say.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace plimsoll::service {
namespace {

std::set<std::string> blanks_of(std::string_view text) {
    std::set<std::string> blanks;
    for (std::size_t at = text.find('{'); at != std::string_view::npos; at = text.find('{', at + 1))
        blanks.emplace(text.substr(at + 1, text.find_first_of(":}", at) - at - 1));
    return blanks;
}

TEST(ReportWords, of_every_language_have_the_blanks_of_english) {
    const ReportWords& english = report_languages().front();
    ASSERT_EQ(english.code, "en");
    ASSERT_GT(report_languages().size(), 1U);
    for (const ReportWords& language : report_languages())
        for (const ReportEntry& entry : english.texts)
            EXPECT_EQ(blanks_of(language.of(entry.text)), blanks_of(entry.words)) << entry.words;
}

// English takes the answer and why a setting was not chosen from the lab itself.
TEST(ReportWords, of_another_language_are_all_there) {
    for (const ReportWords& language : report_languages().subspan(1))
        for (std::size_t i = 0; i < static_cast<std::size_t>(ReportText::Count_); ++i)
            EXPECT_NE(language.of(static_cast<ReportText>(i)), "") << language.code << " " << i;
}

TEST(ReportWords, say_a_sentence_of_ours_with_the_sentence_within_it) {
    const ReportWords& chinese = report_words("zh");
    EXPECT_EQ(chinese.say(say<"lab.gone_often">(say<"lab.no_picture">(), 3)),
              "ComfyUI 没有画出图像；期间没有画出一张图像，这已是第 3 次：请手动继续");
    EXPECT_EQ(chinese.say(say<"lab.time_up">(90.0)), "绘制 90.0 s 后时间用尽");
    EXPECT_EQ(chinese.say(Phrase("disk full")), "disk full");
    EXPECT_EQ(report_words("en").say(say<"lab.paused">()), "paused");
    EXPECT_EQ(report_words("tlh").code, "en");
}

}  // namespace
}  // namespace plimsoll::service
