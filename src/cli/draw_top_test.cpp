// SPDX-License-Identifier: Apache-2.0
//
// Goal: a frame fits its window whatever comes in, and tells without colours how the card stands.
// Method: events as a daemon sends them, drawn at given sizes on what is no terminal.
#include "cli/draw_top.h"

#include "cli/terminal.h"
#include "cli/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace plimsoll::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kNow = 1'764'000'000'000;
constexpr std::int64_t kMib = 1LL << 20U;

service::DaemonEvent event(std::string type, const std::string& data) {
    return {std::move(type), parse_json(data).value()};
}

service::DaemonEvent telemetry(std::int64_t allocated_mib, const std::string& more = "") {
    return event("telemetry",
                 fmt::format(R"({{"atMs":{},"name":"cuda:0 RTX 3050 : cudaMallocAsync",)"
                             R"("totalBytes":{},"usedBytes":{},"allocatedBytes":{},)"
                             R"("loadLineBytes":{}{}}})",
                             kNow, 6000 * kMib, (allocated_mib + 400) * kMib, allocated_mib * kMib,
                             4352 * kMib, more));
}

service::DaemonEvent job(const std::string& id, const std::string& state, double progress = 0) {
    return event("job", fmt::format(R"({{"jobId":"{}","state":"{}","prompt":"a dragon",)"
                                    R"("model":"sdxl-base","submittedMs":5,"phase":"sample",)"
                                    R"("progress":{},"step":12,"steps":30,"secondsLeft":18.3}})",
                                    id, state, progress));
}

service::DaemonEvent forecast(const std::string& id, std::int64_t peak_mib) {
    return event(
        "forecast",
        fmt::format(R"({{"jobId":"{}","forecast":{{"verdict":"fits","peakBytes":{},)"
                    R"("seconds":40,"phases":[{{"kind":"load","peakBytes":0,"seconds":10}},)"
                    R"({{"kind":"sample","peakBytes":{},"seconds":30}}]}}}})",
                    id, peak_mib * kMib, peak_mib * kMib));
}

class TopTest : public testing::Test {
  protected:
    void take(const service::DaemonEvent& one) { state_.take(one, kNow); }
    std::vector<std::string> rows(FrameSize size = kTopSizeMin, bool utf8 = true) {
        const Screen ink(stdout, [utf8](const std::string& name) -> std::optional<std::string> {
            if (name == "LC_ALL") return utf8 ? "C.UTF-8" : "C";
            return name == "NO_COLOR" ? "1" : "";
        });
        return draw_top(state_, view_, ink, size, kNow);
    }
    std::string text(FrameSize size = kTopSizeMin, bool utf8 = true) {
        return fmt::format("{}", fmt::join(rows(size, utf8), "\n"));
    }

    TopState state_{"http://127.0.0.1:8190"};
    TopView view_;
};

std::size_t count(const std::string& in, std::string_view what) {
    std::size_t found = 0;
    for (std::size_t at = in.find(what); at != std::string::npos; at = in.find(what, at + 1))
        ++found;
    return found;
}

TEST_F(TopTest, every_frame_has_the_windows_size_whatever_comes_in) {
    const std::string wide(300, 'x');
    for (int i = 0; i < 30; ++i) take(job(fmt::format("job-{}-{}", i, wide), "queued"));
    take(job("城の上の竜", "running", 0.4));
    take(forecast("城の上の竜", 4100));
    take(telemetry(4000, R"(,"temperatureC":61,"holdings":[{"model":"城","bytes":1}])"));
    take(event("warning", R"({"atMs":1,"message":")" + wide + R"("})"));
    for (const FrameSize size :
         {FrameSize{80, 24}, {81, 25}, {120, 40}, {300, 90}, {40, 10}, {20, 3}, {1, 1}}) {
        for (const bool utf8 : {true, false}) {
            const auto drawn = rows(size, utf8);
            EXPECT_EQ(drawn.size(), size.rows);
            for (const std::string& row : drawn)
                EXPECT_LE(columns_of(row), size.columns) << size.columns << ": " << row;
        }
    }
    view_.help = true;
    for (const std::string& row : rows()) EXPECT_LE(columns_of(row), 80U);
}

TEST_F(TopTest, says_in_words_and_by_texture_whether_the_card_is_under_the_line) {
    take(telemetry(4000));
    EXPECT_THAT(text(), HasSubstr("under the load line, 352 MiB of room"));
    EXPECT_THAT(text(), Not(HasSubstr("▓")));
    take(telemetry(4852));
    EXPECT_THAT(text(), HasSubstr("OVER THE LOAD LINE by 500 MiB"));
    EXPECT_THAT(text(), HasSubstr("▓"));
    EXPECT_THAT(text(), HasSubstr("4.25 GiB"));  // the line's own label
    const std::string plain = text(kTopSizeMin, false);
    EXPECT_THAT(plain, HasSubstr("%%"));
    for (const char c : plain) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << plain;
}

// The water never reaches the line before the bytes do, and never stays below once they are over.
TEST_F(TopTest, the_water_passes_the_line_when_the_bytes_do) {
    for (const std::int64_t mib : {4351, 4352, 4353, 4700}) {
        state_ = TopState("http://x");
        take(telemetry(mib));
        const auto drawn = rows({80, 40});
        std::size_t line = 0;
        for (std::size_t i = 0; i < drawn.size(); ++i)
            if (drawn[i].contains("P─⊖─L")) line = i;
        ASSERT_GT(line, 2U);
        // Just above the line: anything but the empty hull. A MiB is less than an eighth of a row.
        const bool wet = drawn[line - 1].contains("▓") || drawn[line - 1].contains("▅") ||
                         drawn[line - 1].contains("▂") || drawn[line - 1].contains("▁");
        EXPECT_EQ(wet, mib == 4700) << drawn[line - 1];
        EXPECT_TRUE(drawn[line + 1].contains("█") || drawn[line + 1].contains("▇"))
            << drawn[line + 1];
    }
}

TEST_F(TopTest, draws_what_was_observed_over_what_is_forecast_for_the_rest) {
    take(job("a", "running", 0.3));
    take(forecast("a", 4100));
    take(telemetry(4100));
    take(job("a", "running", 0.5));
    const std::string half = text();
    take(telemetry(4100));
    take(job("a", "running", 0.9));
    const std::string most = text();
    EXPECT_GT(count(half, "∙"), count(most, "∙"));
    EXPECT_LT(count(half, "█"), count(most, "█"));
    for (const char* const words : {"sample 12/30", "50 %", "18.3 s left", "a dragon", "╵load",
                                    "╵sample", "forecast fits, peak 4100 MiB"})
        EXPECT_THAT(half, HasSubstr(words));
}

TEST_F(TopTest, keeps_the_queue_in_order_and_tells_each_change_of_a_job_once) {
    take(job("first", "running"));
    take(job("second", "queued"));
    take(job("second", "queued"));
    take(job("third", "queued"));
    ASSERT_EQ(state_.waiting().size(), 2U);
    EXPECT_EQ(state_.waiting()[0]->job_id, "second");
    EXPECT_EQ(state_.running()->job_id, "first");
    take(event("job", R"({"jobId":"first","state":"out_of_memory","model":"m","endedMs":9,)"
                      R"("why":"the card was full"})"));
    EXPECT_EQ(state_.running(), nullptr);
    EXPECT_EQ(state_.notes().size(), 4U);
    EXPECT_THAT(state_.notes().front().text, HasSubstr("out of memory (m): the card was full"));
    EXPECT_THAT(text({100, 40}), HasSubstr("none runs"));
}

TEST_F(TopTest, a_lost_connection_is_said_once_and_the_picture_stays) {
    take(telemetry(1000));
    state_.lose("http://x: connection refused", kNow);
    state_.lose("http://x: connection refused", kNow);
    EXPECT_THAT(text(), HasSubstr("no connection"));
    EXPECT_THAT(text(), HasSubstr("trying again: http://x: connection refused"));
    EXPECT_THAT(text(), HasSubstr("P─⊖─L"));
    EXPECT_EQ(state_.notes().size(), 1U);
    take(telemetry(1000));
    EXPECT_THAT(state_.notes().front().text, HasSubstr("connected again"));
}

TEST_F(TopTest, what_makes_no_sense_is_left_out_and_moves_no_cursor) {
    for (const char* const type :
         {"telemetry", "job", "jobs", "forecast", "health", "warning", "reset", "new"})
        for (const char* const data :
             {"null", "[]", "{}", "7", R"({"jobId":5,"state":[]})", R"({"jobs":{"a":1}})",
              R"({"totalBytes":-1,"loadLineBytes":1e300})",
              R"({"totalBytes":1,"loadLineBytes":0,"allocatedBytes":9000000000000000000})",
              R"({"jobId":"j","forecast":{"phases":[{"seconds":-1e308},{"seconds":1e308},3]}})",
              R"({"jobId":"j","state":"running","progress":1e9,"runs":0,"step":-1,"steps":0})"})
            take(event(type, data));
    take(event(
        "job",
        R"({"jobId":"j2","state":"queued","model":"\u001b[2J","prompt":"\u001b]0;x\u0007"})"));
    EXPECT_THAT(text(), Not(HasSubstr("\x1b")));
    EXPECT_THAT(text(), Not(HasSubstr("\x07")));
}

TEST_F(TopTest, remembers_no_more_than_its_limits) {
    for (std::size_t i = 0; i < kTopJobsMax + 50; ++i)
        take(event("job", fmt::format(R"({{"jobId":"{}","state":"done"}})", i)));
    for (std::size_t i = 0; i < kTopSamplesMax + 50; ++i) take(telemetry(100));
    EXPECT_EQ(state_.notes().size(), kTopNotesMax);
    EXPECT_EQ(state_.samples().size(), kTopSamplesMax);
    EXPECT_EQ(state_.encode().at("jobs").as_array().size(), kTopJobsMax);
}

TEST_F(TopTest, scrolls_to_older_events_and_no_further_than_the_oldest) {
    for (int i = 0; i < 100; ++i)
        take(event("warning", fmt::format(R"({{"atMs":1,"message":"note {}."}})", i)));
    EXPECT_THAT(text(), HasSubstr("note 99."));
    view_.scrolled = 20;
    EXPECT_THAT(text(), HasSubstr("20 newer above"));
    EXPECT_THAT(text(), HasSubstr("note 79."));
    view_.scrolled = 10'000;
    EXPECT_THAT(text(), HasSubstr("note 0."));
}

TEST(TakeKey, finds_keys_in_pieces_and_swallows_sequences_that_nobody_knows) {
    std::string bytes = "q\x1b[A\x1b[5~\x1bOB\x1b[1;5Cx?\x03\x1a";
    std::vector<Key> keys;
    while (const auto key = take_key(bytes)) keys.push_back(*key);
    EXPECT_EQ(keys, (std::vector{Key::Quit, Key::Up, Key::PageUp, Key::Down, Key::Other, Key::Other,
                                 Key::Help, Key::Quit, Key::Stop}));
    std::string half = "\x1b[";
    EXPECT_EQ(take_key(half), std::nullopt);
    half += "B";
    EXPECT_EQ(take_key(half), Key::Down);
    EXPECT_TRUE(half.empty());
}

}  // namespace
}  // namespace plimsoll::cli
