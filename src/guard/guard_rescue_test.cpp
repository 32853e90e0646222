// SPDX-License-Identifier: Apache-2.0
//
// Goal: what goes wrong with a job is seen to: tried again, changed, put aside, or told as it is.
// Method: guard_fixture.h.
#include "guard/guard_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::guard {
namespace {

using gateway::Hold;
using gateway::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Guarding, out_of_memory_frees_waits_and_tries_once_more_as_it_is) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    turn();
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_EQ(comfyui_.frees, 0);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_THAT(queue(), HasSubstr("job-a"));
    turn(5);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 1);
    EXPECT_EQ(guard_->counts().retried, 1);
}

TEST_F(Guarding, then_the_next_plan_then_quarantine_and_the_queue_goes_on) {
    (void)post(prompt_text(), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    int fails = 0;
    for (; fails < 20 && guard_->counts().quarantined == 0; ++fails) {
        turn();
        comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
        turn(6);
    }
    EXPECT_EQ(guard_->counts().quarantined, 1);
    EXPECT_LT(fails, 10);
    const HeldView ended = view("job-a");
    EXPECT_EQ(ended.state, HeldState::Failed);
    EXPECT_THAT(ended.why.message(), HasSubstr("out of memory"));
    // The client hears it, and /history tells it.
    const auto& told = door_.sent["krita"];
    ASSERT_GT(told.size(), 3U);
    EXPECT_THAT(told.front(), HasSubstr(R"("type": "plimsoll_retry")"));
    EXPECT_THAT(told[told.size() - 2], HasSubstr(R"("type": "execution_error")"));
    ClientRequest request;
    request.route = Route::HistoryItem;
    request.argument = "job-a";
    EXPECT_TRUE(guard_->wants(Route::HistoryItem));
    EXPECT_THAT(guard_->answer(request)->body, HasSubstr(R"("status_str": "error")"));
    turn(3);
    EXPECT_EQ(comfyui_.posted.back(), "job-b");
    // Not the same form twice into the wall: each form was sent twice at most.
    std::map<std::string, int> forms;
    for (const std::string& body : comfyui_.bodies) EXPECT_LE(++forms[body], 2);
    EXPECT_FALSE(store_.list_walls().value().empty());
    // And a second job of that shape is not sent into it, also not by the next process.
    open();
    const std::size_t before = comfyui_.posted.size();
    const auto second = post(prompt_text(1024, 1024, 1, 7), "job-c");
    if (const auto* const hold = std::get_if<Hold>(&second)) {
        // Changed, then.
        EXPECT_FALSE(hold->answer_headers.empty());
    } else {
        EXPECT_TRUE(std::holds_alternative<Refusal>(second));
    }
    EXPECT_EQ(comfyui_.posted.size(), before);
}

TEST_F(Guarding, another_error_is_the_clients_and_nothing_is_tried_again) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    comfyui_.fail("job-a", "ValueError", "bad value");
    turn(5);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(guard_->counts().failed, 1);
    EXPECT_TRUE(door_.sent.empty());
}

TEST_F(Guarding, what_comfyui_refuses_late_is_told_as_a_failure) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.refuse_with = 400;
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_EQ(view("job-b").state, HeldState::Failed);
    ASSERT_EQ(door_.sent["krita"].size(), 3U);
    EXPECT_THAT(door_.sent["krita"][1], HasSubstr(R"("node_id": "4")"));
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, what_others_left_on_the_card_is_cleared_once_where_the_forecast_says_so) {
    guard_->pause();
    (void)post(prompt_text(1024, 1024), "job-a");
    comfyui_.allocated = Bytes::from_gib(3);
    guard_->resume();
    turn();
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    // It does not get away, but nobody waits for ever.
    comfyui_.allocated = Bytes::from_gib(3);
    turn(6);
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    // On an empty card nothing is freed.
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    EXPECT_EQ(comfyui_.unloads, 1);
}

TEST_F(Guarding, heat_holds_jobs_and_stops_one_only_at_the_last) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    guard_->on_message({.client_id = "krita",
                        .bytes = R"({"type": "execution_start", "data": {"prompt_id": "job-a"}})"});
    turn();
    const auto heat = [&](double celsius, int seconds) {
        for (int i = 0; i < seconds; ++i) {
            clock_.advance(milliseconds(1000));
            service::CardSample sample;
            sample.at_ms = clock_.unix_ms();
            sample.look.heat.temperature_c = celsius;
            sample.look.limits = {.max_operating_c = 89, .slowdown_c = 97};
            guard_->on_sample(sample);
        }
    };
    heat(91, 40);
    (void)post(prompt_text(512, 512), "job-b");
    turn();
    EXPECT_EQ(view("job-b").waits_for, WaitsFor::Heat);
    EXPECT_EQ(comfyui_.cancels, 0);
    heat(99, 40);
    turn();
    EXPECT_EQ(comfyui_.cancels, 1);
    turn(2);
    EXPECT_EQ(view("job-a").state, HeldState::Waiting);
    heat(60, 60);
    turn(3);
    EXPECT_THAT(comfyui_.posted.size(), 2U);
}

TEST_F(Telling, a_try_that_failed_for_want_of_memory_is_not_told_nor_is_its_end) {
    EXPECT_FALSE(guard_->may_withhold());
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    EXPECT_TRUE(guard_->may_withhold());
    EXPECT_FALSE(withheld("execution_start"));
    EXPECT_FALSE(withheld("executing", R"(, "node": "3")"));
    EXPECT_TRUE(withheld("execution_error", out_of_memory()));
    // At once it is pending again, in every list.
    EXPECT_EQ(guard_->held_jobs(), 1);
    EXPECT_THAT(queue(), HasSubstr(R"("job-a")"));
    EXPECT_EQ(history(failed_), "{}");
    // Another try's or another job's end passes.
    EXPECT_FALSE(guard_->withholds(
        R"({"type": "executing", "data": {"node": null, "prompt_id": "job-z"}})"));
    EXPECT_TRUE(withheld("executing", R"(, "node": null)"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    turn(6);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    EXPECT_EQ(history(failed_), "{}");
    EXPECT_THAT(door_.sent["krita"][0], HasSubstr("plimsoll_retry"));
    // The second try ends well, and its end is the client's.
    EXPECT_FALSE(withheld("execution_start"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
}

TEST_F(Telling, a_job_that_is_tried_again_is_one_job_in_comfyuis_list_and_its_failed_try_none) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)withheld("execution_start");
    const std::string failed_try = R"({"id": "job-a", "status": "failed", "execution_error": {)"
                                   R"("node_id": "8", "node_type": "VAEDecode", )"
                                   R"("exception_type": "torch.OutOfMemoryError", )"
                                   R"("exception_message": "Allocation on device "}})";
    const std::string other = R"({"id": "job-z", "status": "failed"})";
    const auto ask = [&](Route route, const std::string& target, const std::string& upstream) {
        ClientRequest request;
        request.route = route;
        request.target = target;
        if (route == Route::Job) request.argument = "job-a";
        EXPECT_TRUE(guard_->wants(route));
        if (const auto own = guard_->answer(request)) return own->body;
        const auto amended =
            guard_->amend(request, {.status = 200, .headers = {}, .body = upstream});
        return amended ? amended->body : upstream;
    };
    const auto list = [&](const std::string& items, const std::string& query = "") {
        return ask(Route::Jobs, "/api/jobs" + query,
                   R"({"jobs": [)" + items + R"(], "pagination": {"total": 2}})");
    };
    const auto says = [](const std::string& state) {
        return HasSubstr(R"("id": "job-a", "status": ")" + state + R"(")");
    };
    // Before anything is heard of it here, and once it is back in the queue.
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    EXPECT_THAT(list(failed_try + ", " + other), testing::Not(says("failed")));
    turn(2, 0);
    EXPECT_THAT(
        list(failed_try + ", " + other),
        testing::AllOf(testing::Not(says("failed")), says("pending"), HasSubstr(R"("tries": 1)"),
                       HasSubstr("out of memory"), HasSubstr(other), HasSubstr(R"("total": 2)")));
    EXPECT_EQ(list(failed_try, "?status=failed"), R"({"jobs": [], "pagination": {"total": 1}})");
    EXPECT_THAT(ask(Route::Job, "/api/jobs/job-a", failed_try), says("pending"));
    // And while the second try runs.
    turn(6);
    ASSERT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    EXPECT_EQ(
        list(R"({"id": "job-a", "status": "in_progress"}, )" + failed_try),
        R"({"jobs": [{"id": "job-a", "status": "in_progress"}], "pagination": {"total": 1}})");
    EXPECT_THAT(ask(Route::Job, "/api/jobs/job-a", failed_try), says("in_progress"));
    // A failure of its own is its client's.
    comfyui_.fail("job-a", "ValueError", "bad value");
    turn();
    EXPECT_FALSE(guard_->wants(Route::Jobs));  // ComfyUI's answer passes as it is
}

TEST_F(Telling, the_end_of_a_try_is_withheld_also_when_the_job_is_back_in_the_queue) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    EXPECT_TRUE(withheld("execution_error", out_of_memory()));
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    turn();
    ASSERT_THAT(comfyui_.posted, ElementsAre("job-a"));
    ASSERT_TRUE(guard_->may_withhold());
    EXPECT_TRUE(withheld("executing", R"(, "node": null)"));
}

TEST_F(Telling, another_failure_passes_and_so_does_its_end) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    EXPECT_FALSE(withheld("execution_error", R"(, "node_id": "8", "exception_type": "ValueError", )"
                                             R"("exception_message": "width must be a number")"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
    EXPECT_FALSE(withheld("execution_interrupted"));
    EXPECT_FALSE(guard_->withholds("no json"));
    EXPECT_FALSE(guard_->withholds(R"({"type": "execution_error"})"));
}

TEST_F(Telling, an_end_that_never_came_is_not_taken_from_the_next_try) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    EXPECT_TRUE(withheld("execution_error", out_of_memory()));
    EXPECT_FALSE(withheld("execution_start"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
}

TEST_F(Telling, what_comfyui_has_just_put_down_is_still_listed) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    // Neither running nor pending there, and nothing has been heard of its end yet.
    EXPECT_THAT(queue(), HasSubstr(R"("job-a")"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_EQ(queue().find("job-a"), std::string::npos);
}

}  // namespace
}  // namespace plimsoll::guard
