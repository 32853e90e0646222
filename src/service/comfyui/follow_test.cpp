// SPDX-License-Identifier: Apache-2.0
//
// Goal: a job is followed to its true end whatever happens on the way. Method: a scripted ComfyUI
// and a clock that the test moves.
#include "service/comfyui/follow.h"

#include "service/comfyui/scripted_upstream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using Frame = ScriptedUpstream::Frame;

const ImageRef kImage{"ComfyUI_00001_.png", "", "output"};

class FollowTest : public testing::Test {
  protected:
    FollowTest() {
        options_.sleep = [this](milliseconds span) { clock_.advance(span); };
    }
    static JobRecord record(JobState state) {
        JobRecord record;
        record.state = state;
        if (state == JobState::Succeeded) record.images = {kImage};
        return record;
    }
    Result<JobReport> follow() { return run_job(upstream_, "{}", "P", "C", clock_, options_); }

    ManualClock clock_;
    ScriptedUpstream upstream_{clock_};
    FollowOptions options_;
};

TEST_F(FollowTest, a_job_that_goes_well_reports_images_and_seconds_by_node) {
    upstream_.sockets = {{{milliseconds(50), QueueRemaining{1}},
                          {milliseconds(150), Started{}},
                          {milliseconds(0), Cached{{"4"}}},
                          {milliseconds(0), NodeStarted{"3"}},
                          {milliseconds(2000), NodeProgress{"3", 1, 20}},
                          {milliseconds(10), Preview{5000}},
                          {milliseconds(990), NodeStarted{"8"}},
                          {milliseconds(500), NodeOutput{"9", {kImage}}},
                          {milliseconds(0), Succeeded{}},
                          {milliseconds(0), Ended{}}}};
    upstream_.job = [] { return record(JobState::Succeeded); };
    std::vector<JobProgress> shown;
    options_.on_progress = [&](const JobProgress& progress) { shown.push_back(progress); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Succeeded);
    EXPECT_EQ(report.images, std::vector{kImage});
    EXPECT_NEAR(report.nodes.at("3").seconds, 3.0, 0.001);
    EXPECT_NEAR(report.nodes.at("8").seconds, 0.5, 0.001);
    EXPECT_NEAR(report.seconds, 3.5, 0.001);
    EXPECT_NEAR(report.queued_seconds, 0.2, 0.001);
    EXPECT_EQ(report.previews, 1);
    EXPECT_EQ(report.cached_nodes, std::vector<std::string>{"4"});
    EXPECT_TRUE(std::ranges::any_of(shown, [](const JobProgress& p) {
        return p.node_id == "3" && p.value == 1 && p.max == 20;
    }));
}

TEST_F(FollowTest, success_is_not_believed_before_the_history_has_it) {
    // execution_success, then a long pause before the end marker: the history is asked only after
    // the latter.
    upstream_.sockets = {{{milliseconds(0), Started{}},
                          {milliseconds(0), Succeeded{}},
                          {milliseconds(300), Ended{}}}};
    upstream_.job = [&] {
        EXPECT_GE(clock_.steady(), milliseconds(300));
        return record(JobState::Succeeded);
    };
    EXPECT_EQ(follow()->images, std::vector{kImage});
}

TEST_F(FollowTest, a_dropped_websocket_is_opened_again_after_the_old_one_is_closed) {
    upstream_.sockets = {{{milliseconds(100), Started{}}, {milliseconds(100), Ignored{}, true}},
                         {{milliseconds(400), NodeStarted{"8"}}, {milliseconds(100), Ended{}}}};
    int looks = 0;
    upstream_.job = [&] { return record(++looks < 3 ? JobState::Running : JobState::Succeeded); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Succeeded);
    EXPECT_EQ(report.reconnects, 1);
    EXPECT_EQ(upstream_.most_open_sockets, 1);
    EXPECT_EQ(upstream_.open_sockets, 0);
}

TEST_F(FollowTest, without_any_websocket_the_job_is_polled_to_its_end) {
    int looks = 0;
    upstream_.job = [&] { return record(++looks < 5 ? JobState::Running : JobState::Succeeded); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Succeeded);
    EXPECT_EQ(report.images, std::vector{kImage});
}

TEST_F(FollowTest, messages_that_never_come_are_made_up_for_by_polling) {
    upstream_.sockets = {{{milliseconds(10), Started{}}}};  // then silence
    upstream_.job = [] { return record(JobState::Succeeded); };
    EXPECT_EQ(follow()->end, JobEnd::Succeeded);
    EXPECT_LE(clock_.steady(), std::chrono::seconds(12));
}

TEST_F(FollowTest, a_restart_that_forgets_the_job_is_a_loss_with_the_way_out) {
    upstream_.sockets = {{{milliseconds(100), Started{}}, {milliseconds(100), Ignored{}, true}}};
    int looks = 0;
    upstream_.job = [&]() -> Result<JobRecord> {
        if (++looks < 4) return fail(Errc::Unavailable, "connection refused");
        return record(JobState::Unknown);
    };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Lost);
    EXPECT_THAT(report.why, HasSubstr("run the job again"));
}

TEST_F(FollowTest, one_look_that_misses_the_job_is_not_a_loss) {
    int looks = 0;
    upstream_.job = [&] { return record(++looks == 1 ? JobState::Unknown : JobState::Succeeded); };
    EXPECT_EQ(follow()->end, JobEnd::Succeeded);
}

TEST_F(FollowTest, a_server_that_stays_away_is_given_up_after_a_minute) {
    upstream_.job = []() -> Result<JobRecord> {
        return fail(Errc::Unavailable, "connection refused");
    };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Lost);
    EXPECT_THAT(report.why, HasSubstr("has not answered for 60 s (connection refused)"));
    EXPECT_LT(clock_.steady(), std::chrono::seconds(70));
}

TEST_F(FollowTest, out_of_memory_is_told_apart_from_other_errors) {
    const NodeError oom{"3", "KSampler", "Allocation on device", "torch.OutOfMemoryError"};
    upstream_.sockets = {{{milliseconds(10), Started{}}, {milliseconds(10), Failed{oom}}}};
    JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::OutOfMemory);
    EXPECT_EQ(report.why, "the card ran out of memory in node 3 (KSampler): Allocation on device");
    upstream_.sockets = {{{milliseconds(10),
                           Failed{{"4", "CheckpointLoaderSimple", "no such file", "ValueError"}}}}};
    report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Failed);
    EXPECT_THAT(report.why, HasSubstr("in node 4 (CheckpointLoaderSimple): no such file"));
}

TEST_F(FollowTest, a_timeout_interrupts_the_job_and_keeps_what_was_made) {
    options_.timeout = milliseconds(2000);
    upstream_.sockets = {
        {{milliseconds(10), Started{}}, {milliseconds(10), NodeOutput{"9", {kImage}}}}};
    upstream_.job = [&] {
        return record(upstream_.cancels > 0 ? JobState::Interrupted : JobState::Running);
    };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::TimedOut);
    EXPECT_EQ(upstream_.cancels, 1);
    EXPECT_EQ(report.why, "the job took more than 2 s (COMFYUI_TIMEOUT): the job was interrupted");
    EXPECT_EQ(report.images, std::vector{kImage});
}

TEST_F(FollowTest, a_cancel_interrupts_the_job_and_says_when_comfyui_does_not_follow) {
    std::atomic<bool> cancelled = true;
    options_.cancelled = &cancelled;
    upstream_.sockets = {{}};
    upstream_.job = [] { return record(JobState::Running); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.end, JobEnd::Cancelled);
    EXPECT_GE(upstream_.cancels, 1);
    EXPECT_THAT(report.why, HasSubstr("did not confirm"));
}

TEST_F(FollowTest, a_job_interrupted_by_somebody_else_ends_as_cancelled) {
    upstream_.sockets = {{{milliseconds(10), Started{}}, {milliseconds(10), WasInterrupted{}}}};
    EXPECT_EQ(follow()->end, JobEnd::Cancelled);
    EXPECT_EQ(upstream_.cancels, 0);
}

TEST_F(FollowTest, a_refused_workflow_is_an_error_and_leaves_no_socket_open) {
    upstream_.sockets = {{}};
    upstream_.submitted = fail(Errc::InvalidInput, "ComfyUI refused the workflow");
    EXPECT_EQ(follow().error().code, Errc::InvalidInput);
    EXPECT_EQ(upstream_.open_sockets, 0);
}

TEST_F(FollowTest, a_job_whose_acceptance_got_lost_is_followed_when_the_queue_knows_it) {
    upstream_.sockets = {{}};
    upstream_.submitted = fail(Errc::Unavailable, "the connection was cut off");
    upstream_.job = [] { return record(JobState::Succeeded); };
    EXPECT_EQ(follow()->end, JobEnd::Succeeded);
    upstream_.job = [] { return record(JobState::Unknown); };
    EXPECT_EQ(follow().error().message, "the connection was cut off");
}

TEST_F(FollowTest, a_sample_during_which_the_node_changed_belongs_to_neither) {
    // When the second sample is answered, node 3 is over already.
    int looks = 0;
    upstream_.stats = [&] {
        ServerStats stats;
        stats.devices.push_back({.name = "card",
                                 .type = "cuda",
                                 .vram_total = Bytes(10'000),
                                 .vram_free = Bytes(1000),
                                 .torch_total = Bytes(++looks == 2 ? 9000 : 5000),
                                 .torch_free = Bytes(0)});
        return stats;
    };
    upstream_.sockets = {{{milliseconds(0), Started{}},
                          {milliseconds(10), NodeStarted{"3"}},
                          {milliseconds(0), NodeStarted{"8"}},
                          {milliseconds(300), Ended{}}}};
    upstream_.job = [] { return record(JobState::Succeeded); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.allocated_peak, Bytes(9000));
    EXPECT_EQ(report.nodes.at("3").samples, 0);
    EXPECT_EQ(report.nodes.at("8").allocated_peak, Bytes(5000));
}

TEST_F(FollowTest, a_cancel_is_shown_before_comfyui_has_let_go) {
    std::atomic<bool> cancelled = true;
    options_.cancelled = &cancelled;
    upstream_.sockets = {{}};
    upstream_.job = [&] {
        return record(upstream_.cancels > 0 ? JobState::Interrupted : JobState::Running);
    };
    int cancels_when_shown = -1;
    options_.on_progress = [&](const JobProgress& progress) {
        if (progress.stopping && cancels_when_shown < 0) cancels_when_shown = upstream_.cancels;
    };
    EXPECT_EQ(follow()->end, JobEnd::Cancelled);
    EXPECT_EQ(cancels_when_shown, 0);
}

TEST_F(FollowTest, a_server_without_a_card_has_no_samples) {
    upstream_.stats = [] {
        ServerStats stats;
        stats.devices.push_back({.name = "cpu",
                                 .type = "cpu",
                                 .vram_total = Bytes(1000),
                                 .vram_free = Bytes(400),
                                 .torch_total = Bytes(1000),
                                 .torch_free = Bytes(400)});
        return stats;
    };
    upstream_.sockets = {{{milliseconds(0), Started{}},
                          {milliseconds(0), NodeStarted{"3"}},
                          {milliseconds(2000), Ended{}}}};
    upstream_.job = [] { return record(JobState::Succeeded); };
    EXPECT_EQ(follow()->samples, 0);
}

TEST_F(FollowTest, samples_belong_to_the_node_that_ran) {
    upstream_.stats = [&] {
        ServerStats stats;
        const bool decoding = clock_.steady() > milliseconds(2100);
        stats.devices.push_back({.name = "card",
                                 .type = "cuda",
                                 .vram_total = Bytes(10'000),
                                 .vram_free = Bytes(decoding ? 1500 : 4000),
                                 .torch_total = Bytes(8000),
                                 .torch_free = Bytes(decoding ? 500 : 3000)});
        return stats;
    };
    upstream_.sockets = {{{milliseconds(0), Started{}},
                          {milliseconds(0), NodeStarted{"3"}},
                          {milliseconds(2000), NodeStarted{"8"}},
                          {milliseconds(1000), Ended{}}}};
    upstream_.job = [] { return record(JobState::Succeeded); };
    const JobReport report = follow().value();
    EXPECT_EQ(report.nodes.at("3").allocated_peak, Bytes(5000));
    EXPECT_EQ(report.nodes.at("8").allocated_peak, Bytes(7500));
    EXPECT_EQ(report.used_peak, Bytes(9000));
    EXPECT_EQ(report.card_total, Bytes(10'000));
    EXPECT_GT(report.nodes.at("3").samples, 5);
}

}  // namespace
}  // namespace plimsoll::service
