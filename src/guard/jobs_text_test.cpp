// SPDX-License-Identifier: Apache-2.0
//
// Goal: ComfyUI's list of jobs has each job once, and the rest stays byte for byte. Method: lists
// as ComfyUI 0.3.70 and later spell them.
#include "guard/jobs_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plimsoll::guard {
namespace {

using service::JobState;
using testing::HasSubstr;

HeldEntry entry(const std::string& id, int attempts = 0) {
    HeldEntry made;
    made.kept.prompt_id = id;
    made.kept.accepted_ms = 5;
    made.kept.mark.attempts = attempts;
    made.facts.number = "7";
    if (attempts > 0) made.facts.events = {"out of memory: \"once\" more"};
    return made;
}

bool nothing_is_past(const ListedJob&) {
    return false;
}

const std::string kFailed =
    R"({"id": "a", "status": "failed", "execution_error": {"prompt_id": "a", "node_id": "8", )"
    R"("exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation"}})";

TEST(ParseListedJob, reads_state_and_error_of_one) {
    const auto job = parse_listed_job(kFailed);
    ASSERT_TRUE(job);
    EXPECT_EQ(job->state, JobState::Failed);
    EXPECT_EQ(job->error->exception_type, "torch.OutOfMemoryError");
    EXPECT_EQ(parse_listed_job(R"({"id": "a", "status": "in_progress"})")->state,
              JobState::Running);
    EXPECT_EQ(parse_listed_job(R"({"id": "a", "status": "of the future"})")->state,
              JobState::Unknown);
    EXPECT_FALSE(parse_listed_job(R"({"error": "Job not found"})"));
    EXPECT_FALSE(parse_listed_job("<html>"));
}

TEST(JobItem, tells_of_tries_only_where_there_were_some) {
    EXPECT_EQ(job_item(entry("a"), JobState::Pending),
              R"({"id": "a", "status": "pending", "priority": 7, "create_time": 5, )"
              R"("outputs_count": 0})");
    EXPECT_EQ(job_item(entry("a", 2), JobState::Running),
              R"({"id": "a", "status": "in_progress", "priority": 7, "create_time": 5, )"
              R"("outputs_count": 0, "plimsoll": {"tries": 2, )"
              R"("events": ["out of memory: \"once\" more"]}})");
}

TEST(WithJobs, ours_come_first_and_are_counted) {
    const HeldEntry one = entry("h");
    const std::string text = R"({"jobs": [{"id": "z", "status": "completed", "x": NaN}], )"
                             R"("pagination": {"offset": 0, "total": 1}})";
    const std::string ours = job_item(one, JobState::Pending);
    EXPECT_EQ(with_jobs(text, {&one}, nothing_is_past),
              R"({"jobs": [)" + ours +
                  R"(, {"id": "z", "status": "completed", "x": NaN}], )"
                  R"("pagination": {"offset": 0, "total": 2}})");
    EXPECT_EQ(with_jobs(R"({"pagination": {"total": 0}, "jobs": []})", {&one}, nothing_is_past),
              R"({"pagination": {"total": 1}, "jobs": [)" + ours + "]}");
    EXPECT_EQ(with_jobs(text, {}, nothing_is_past), text);
    EXPECT_EQ(with_jobs("no json", {&one}, nothing_is_past), std::nullopt);
    EXPECT_EQ(with_jobs(R"({"jobs": 7})", {&one}, nothing_is_past), std::nullopt);
    EXPECT_EQ(with_jobs(R"({"jobs": [)", {&one}, nothing_is_past), std::nullopt);
}

TEST(WithJobs, one_that_is_named_already_is_not_named_twice_though_its_id_is_in_another) {
    const HeldEntry one = entry("h");
    const std::string named = R"({"jobs": [{"id": "h", "status": "pending"}]})";
    EXPECT_EQ(with_jobs(named, {&one}, nothing_is_past), named);
    EXPECT_THAT(
        with_jobs(R"({"jobs": [{"id": "hh", "status": "pending"}]})", {&one}, nothing_is_past)
            .value(),
        HasSubstr(R"("id": "h")"));
}

TEST(WithJobs, a_try_that_failed_makes_room_for_its_job) {
    const HeldEntry one = entry("a", 1);
    const auto is_past = [](const ListedJob& job) {
        return job.id == "a" && job.state == JobState::Failed;
    };
    const std::string text = R"({"jobs": [{"id": "y", "status": "in_progress"}, )" + kFailed +
                             R"(, {"id": "z", "status": "failed"}], "pagination": {"total": 3}})";
    EXPECT_EQ(with_jobs(text, {&one}, is_past),
              R"({"jobs": [)" + job_item(one, JobState::Pending) +
                  R"(, {"id": "y", "status": "in_progress"}, {"id": "z", "status": "failed"}], )"
                  R"("pagination": {"total": 3}})");
    // While the next try runs, or where only failures were asked for.
    EXPECT_EQ(with_jobs(R"({"jobs": [{"id": "a", "status": "in_progress"}, )" + kFailed +
                            R"(], "pagination": {"total": 2}})",
                        {}, is_past),
              R"({"jobs": [{"id": "a", "status": "in_progress"}], "pagination": {"total": 1}})");
    EXPECT_EQ(
        with_jobs(R"({"jobs": [)" + kFailed + R"(], "pagination": {"total": 1}})", {}, is_past),
        R"({"jobs": [], "pagination": {"total": 0}})");
}

}  // namespace
}  // namespace plimsoll::guard
