// SPDX-License-Identifier: Apache-2.0
//
// Goal: colours and live lines only where they belong, tables that fit. Method: files that are no
// terminal; terminals are driven by tests/functional/cli_terminal.py.
#include "cli/screen.h"

#include "cli/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

namespace plimsoll::cli {
namespace {

using testing::HasSubstr;

class ScreenTest : public testing::Test {
  protected:
    ScreenTest() : file_(::open_memstream(&bytes_, &size_)) {}
    ~ScreenTest() override {
        std::fclose(file_);
        std::free(bytes_);  // NOLINT(cppcoreguidelines-no-malloc): open_memstream's
    }
    ScreenTest(const ScreenTest&) = delete;
    ScreenTest& operator=(const ScreenTest&) = delete;

    Screen screen(const std::map<std::string, std::string>& environment = {}) {
        return {file_, [environment](const std::string& name) -> std::optional<std::string> {
                    const auto found = environment.find(name);
                    if (found == environment.end()) return std::nullopt;
                    return found->second;
                }};
    }
    std::string written() {
        std::fflush(file_);
        return {bytes_, size_};
    }

    char* bytes_ = nullptr;
    std::size_t size_ = 0;
    std::FILE* file_;
};

TEST_F(ScreenTest, what_is_no_terminal_gets_no_colours_and_no_live_lines) {
    Screen out = screen();
    EXPECT_EQ(out.styled(Style::Bad, "red"), "red");
    EXPECT_EQ(out.columns(), 80U);
    out.live_line("working");
    out.end_live_line();
    out.line("done");
    EXPECT_EQ(written(), "done\n");
}

TEST_F(ScreenTest, paragraphs_break_at_the_width_and_hang_under_their_label) {
    Screen out = screen();
    out.paragraph("verdict    ", std::string(40, 'a') + " " + std::string(40, 'b'), 11);
    EXPECT_EQ(written(), "verdict    " + std::string(40, 'a') + "\n" + std::string(11, ' ') +
                             std::string(40, 'b') + "\n");
}

TEST_F(ScreenTest, tables_align_and_shorten_the_widest_text_but_no_number) {
    Screen out = screen();
    Table table({{"name", Table::Align::Left}, {"MiB", Table::Align::Right}});
    table.row({"short", "7"});
    table.row({std::string(100, 'x'), "1234567890"});
    table.draw(out, 0);
    std::string text = written();
    EXPECT_THAT(text, HasSubstr("1234567890"));
    EXPECT_THAT(text, HasSubstr("..."));
    for (const char* const line : {"name", "short"}) EXPECT_THAT(text, HasSubstr(line));
    std::size_t begin = 0;
    for (std::size_t end = text.find('\n'); end != std::string::npos;
         end = text.find('\n', begin)) {
        EXPECT_LE(columns_of(text.substr(begin, end - begin)), 80U);
        begin = end + 1;
    }
}

TEST_F(ScreenTest, bars_are_blocks_in_utf8_and_plain_elsewhere) {
    EXPECT_EQ(draw_bar(screen(), 0.5, 4), "##..");
    EXPECT_EQ(draw_bar(screen({{"LC_ALL", "de_DE.UTF-8"}}), 0.5, 4), "██░░");
    EXPECT_EQ(draw_bar(screen({{"LANG", "C"}}), 2.0, 4), "####");
    EXPECT_EQ(draw_bar(screen({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}}), -1.0, 4), "....");
    EXPECT_EQ(draw_bar(screen({{"LANG", "en_US.utf8"}}), 0.375, 4), "█▌░░");
}

TEST(Screen, a_full_disk_is_told_by_flush) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> full(std::fopen("/dev/full", "w"),
                                                               std::fclose);
    ASSERT_NE(full, nullptr);
    Screen out(full.get(), [](const std::string&) { return std::nullopt; });
    out.line("text");
    const auto flushed = out.flush();
    ASSERT_FALSE(flushed);
    EXPECT_THAT(flushed.error().message, HasSubstr("No space left"));
    EXPECT_TRUE(out.has_reader());
}

}  // namespace
}  // namespace plimsoll::cli
