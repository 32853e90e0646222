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

class Unkept : public Guarding {
  protected:
    void SetUp() override {
        disk_is_full_ = true;
        Guarding::SetUp();
        (void)post(prompt_text(512, 512), "job-a");
        arrive("job-a");
    }
    void run(const std::string& id) {
        guard_->on_message(
            {.client_id = "krita",
             .bytes = fmt::format(R"({{"type": "execution_start", "data": {{"prompt_id": "{}"}}}})",
                                  id)});
        turn();
    }
    std::vector<std::string> kept() {
        std::vector<std::string> ids;
        const auto jobs = store_.list_held();
        for (const history::HeldJob& one : *jobs) ids.push_back(one.prompt_id);
        return ids;
    }
};

TEST_F(Unkept, a_store_that_cannot_be_written_lets_prompts_through_and_says_so) {
    // Also one that would wait its turn: ComfyUI keeps it where this process ends.
    const auto decision = post(prompt_text(512, 512), "job-b");
    ASSERT_TRUE(std::holds_alternative<Forward>(decision));
    EXPECT_THAT(std::get<Forward>(decision).body.value(), HasSubstr(prompt_text(512, 512)));
    turn();
    EXPECT_THAT(warnings_, testing::Contains(HasSubstr("gateway_open")));
    EXPECT_EQ(guard_->held_jobs(), 0);
    EXPECT_EQ(view("job-b").state, HeldState::Sent);
    EXPECT_THAT(view("job-b").facts.events, testing::Contains(HasSubstr("memory only")));
}

TEST_F(Unkept, is_sent_again_where_comfyui_goes_down_as_those_are_that_were_kept) {
    (void)post(prompt_text(512, 512), "job-b");
    arrive("job-b");
    run("job-a");
    comfyui_.is_there = false;
    turn(4);
    comfyui_.is_there = true;
    comfyui_.restart();
    turn(8);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-a", "job-b"));
    comfyui_.finish("job-b", JobState::Succeeded);
    turn(2);
    EXPECT_EQ(guard_->counts().done, 2);
}

TEST_F(Unkept, climbs_the_ladder_where_it_runs_out_of_memory) {
    run("job-a");
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    turn(6);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 1);
}

TEST_F(Unkept, is_written_as_soon_as_the_store_takes_it_and_then_survives_this_process) {
    run("job-a");
    EXPECT_THAT(kept(), IsEmpty());
    disk_is_full_ = false;
    turn(1, 2'000);
    EXPECT_THAT(kept(), ElementsAre("job-a"));
    open();
    comfyui_.restart();
    turn(8);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
}

TEST_F(Unkept, is_not_written_once_it_has_ended) {
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    disk_is_full_ = false;
    turn(1, 2'000);
    EXPECT_THAT(kept(), IsEmpty());
    open();
    EXPECT_EQ(guard_->held_jobs(), 0);
}

TEST_F(Unkept, what_its_client_clears_or_interrupts_at_comfyui_does_not_come_back) {
    (void)post(prompt_text(512, 512), "job-b");
    arrive("job-b");
    comfyui_.jobs["job-b"].state = JobState::Pending;
    run("job-a");
    ClientRequest clear;
    clear.route = Route::PostQueue;
    clear.body = R"({"clear": true})";
    EXPECT_FALSE(guard_->answer(clear));
    comfyui_.jobs.erase("job-b");
    turn(10);
    EXPECT_EQ(view("job-b").state, HeldState::Cancelled);
    EXPECT_EQ(view("job-a").state, HeldState::Running);
    // An interrupt means what runs, and not what waits behind it.
    (void)post(prompt_text(512, 512), "job-c");
    arrive("job-c");
    comfyui_.jobs["job-c"].state = JobState::Pending;
    ClientRequest interrupt;
    interrupt.route = Route::Interrupt;
    EXPECT_FALSE(guard_->answer(interrupt));
    comfyui_.finish("job-a", JobState::Interrupted);
    turn(2);
    EXPECT_EQ(view("job-a").state, HeldState::Cancelled);
    comfyui_.restart();
    turn(10);
    EXPECT_EQ(comfyui_.posted.back(), "job-c");
}

TEST_F(Unkept, one_that_its_client_was_refused_is_forgotten) {
    (void)post(prompt_text(512, 512), "job-b");
    guard_->on_prompt_answered(requests_, 400, "{}");
    disk_is_full_ = false;
    turn(1, 2'000);
    EXPECT_THAT(kept(), ElementsAre("job-a"));
}

}  // namespace
}  // namespace plimsoll::guard
