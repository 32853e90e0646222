// SPDX-License-Identifier: Apache-2.0
//
// Goal: what was accepted ends once, whoever of the gateway, ComfyUI, the disk and the client goes
// down meanwhile. Method: guard_fixture.h.
#include "guard/guard_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

using gateway::Forward;
using gateway::Hold;
using gateway::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Guarding, a_client_that_did_not_hear_the_answer_starts_no_second_run) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    const auto first = post(prompt_text(512, 512), "job-b");
    const auto again = post(prompt_text(512, 512), "job-b");
    EXPECT_EQ(std::get<Hold>(again).number, std::get<Hold>(first).number);
    EXPECT_TRUE(std::holds_alternative<Refusal>(post(prompt_text(640, 512), "job-b")));
    EXPECT_EQ(store_.list_held().value().size(), 2U);
}

TEST_F(Guarding, kill_nine_at_any_moment_loses_and_doubles_nothing) {
    // Killed while a runs and b waits: a ends meanwhile, c comes with the next process.
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.finish("job-a", JobState::Succeeded);
    open();
    (void)post(prompt_text(512, 512), "job-c");
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    // Killed again, with b in ComfyUI and not ended.
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    comfyui_.finish("job-b", JobState::Succeeded);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-c"));
    comfyui_.finish("job-c", JobState::Succeeded);
    turn();
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, killed_between_the_mark_and_the_answer_comfyui_is_asked) {
    (void)post(prompt_text(512, 512), "job-a");  // marked as sent; never arrives
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    // Once more, and this time it had arrived.
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, an_answer_that_is_lost_is_no_second_run) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.loses_answers = true;
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(20);
    comfyui_.finish("job-b", JobState::Succeeded);
    turn(10);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    EXPECT_EQ(guard_->counts().done, 2);
}

TEST_F(Guarding, a_comfyui_that_was_killed_gets_its_job_again) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.is_there = false;
    turn(10);
    EXPECT_EQ(guard_->counts().waiting, 2);
    EXPECT_THAT(queue(), testing::AllOf(HasSubstr("job-a"), HasSubstr("job-b")));
    EXPECT_EQ(restarts_, 0);
    turn(10, 1100);
    EXPECT_EQ(restarts_, 1);
    comfyui_.restart();
    comfyui_.is_there = true;
    turn(10, 1100);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a", "job-b"));
}

TEST_F(Guarding, a_client_that_was_told_of_a_dead_comfyui_may_ask_again) {
    // The prompt had arrived, the answer had not.
    (void)post(prompt_text(512, 512), "job-a");
    comfyui_.jobs["job-a"].state = JobState::Running;
    guard_->on_prompt_answered(requests_, 502, "bad gateway");
    EXPECT_TRUE(std::holds_alternative<Hold>(post(prompt_text(512, 512), "job-a")));
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    EXPECT_EQ(guard_->counts().done, 1);
    // And one that had not arrived is forgotten: its client knows.
    (void)post(prompt_text(512, 512), "job-b");
    guard_->on_prompt_answered(requests_, 502, "bad gateway");
    turn(3);
    EXPECT_TRUE(store_.list_held().value().empty());
    EXPECT_THAT(comfyui_.posted, IsEmpty());
}

TEST_F(Guarding, a_store_that_cannot_be_written_lets_prompts_through_and_says_so) {
    store_.fail_at(0);
    const auto decision = post(prompt_text(512, 512), "job-a");
    EXPECT_TRUE(std::holds_alternative<Forward>(decision));
    EXPECT_THAT(warnings_, testing::Contains(HasSubstr("gateway_open")));
    EXPECT_EQ(guard_->held_jobs(), 0);
}

}  // namespace
}  // namespace plimsoll::guard
