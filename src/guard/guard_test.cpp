// SPDX-License-Identifier: Apache-2.0
//
// Goal: a prompt is checked, kept and answered by its policy, and ComfyUI's own calls reach what is
// held. Method: guard_fixture.h.
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

TEST_F(Guarding, the_first_job_is_carried_by_its_own_request_and_kept_before) {
    const auto decision = post(prompt_text(512, 512), "job-a");
    const auto* const forward = std::get_if<Forward>(&decision);
    ASSERT_NE(forward, nullptr);
    // Byte for byte: the 20 digits of the seed.
    EXPECT_THAT(*forward->body, HasSubstr("12345678901234567890"));
    ASSERT_EQ(store_.list_held().value().size(), 1U);
    EXPECT_TRUE(store_.list_held().value()[0].mark.sent);
    arrive("job-a");
    turn();
    EXPECT_TRUE(busy_);
    EXPECT_EQ(guard_->held_jobs(), 0);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_TRUE(store_.list_held().value().empty());
    EXPECT_EQ(guard_->counts().done, 1);
    EXPECT_FALSE(busy_);
    const auto runs = store_.list_runs({}, {}).value().runs;
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].outcome, history::Outcome::Done);
}

TEST_F(Guarding, an_id_is_given_to_a_prompt_that_has_none) {
    const auto decision = post(prompt_text(512, 512));
    const auto fields = gateway::parse_prompt_body(*std::get<Forward>(decision).body).value();
    ASSERT_TRUE(fields.prompt_id);
    EXPECT_EQ(fields.prompt_id->size(), 36U);
}

TEST_F(Guarding, the_next_job_waits_visibly_and_goes_when_the_first_has_ended) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    const auto decision = post(prompt_text(512, 512), "job-b");
    const auto* const hold = std::get_if<Hold>(&decision);
    ASSERT_NE(hold, nullptr);
    EXPECT_EQ(hold->prompt_id, "job-b");
    EXPECT_EQ(guard_->held_jobs(), 1);
    EXPECT_THAT(queue(), HasSubstr(R"(, "job-b", {)"));
    EXPECT_THAT(queue(), HasSubstr(R"({"client_id": "krita"}, ["9"]])"));
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(view("job-b").waits_for, WaitsFor::Turn);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    EXPECT_EQ(guard_->held_jobs(), 0);
    EXPECT_EQ(view("job-b").state, HeldState::Sent);
    comfyui_.finish("job-b", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 2);
    EXPECT_THAT(door_.broadcasts, testing::Contains(HasSubstr(R"("queue_remaining": 1)")));
}

TEST_F(Guarding, comfyuis_own_calls_take_held_jobs_back) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    for (const char* const id : {"job-b", "job-c", "job-d"}) (void)post(prompt_text(512, 512), id);
    ClientRequest request;
    request.route = Route::PostQueue;
    request.body = R"({"delete": ["job-c", "unknown"]})";
    EXPECT_TRUE(guard_->wants(Route::PostQueue));
    EXPECT_EQ(guard_->answer(request), std::nullopt);  // ComfyUI hears it, too
    EXPECT_THAT(queue(), testing::Not(HasSubstr("job-c")));
    request.body = R"({"clear": true})";
    (void)guard_->answer(request);
    EXPECT_EQ(guard_->held_jobs(), 0);
    EXPECT_EQ(store_.list_held().value().size(), 1U);
    EXPECT_EQ(guard_->counts().cancelled, 3);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, pause_holds_and_resume_lets_go) {
    guard_->pause();
    EXPECT_TRUE(std::holds_alternative<Hold>(post(prompt_text(512, 512), "job-a")));
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    EXPECT_EQ(view("job-a").waits_for, WaitsFor::Pause);
    guard_->resume();
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, priority_and_place_are_kept) {
    guard_->pause();
    for (const char* const id : {"job-a", "job-b", "job-c"}) (void)post(prompt_text(512, 512), id);
    ASSERT_TRUE(guard_->move("job-c", "job-a"));
    ASSERT_TRUE(guard_->set_priority("job-b", 5));
    EXPECT_EQ(guard_->set_priority("job-b", 500).error().code, Errc::InvalidInput);
    open();
    std::vector<std::string> order;
    for (const HeldView& one : guard_->list()) order.push_back(one.prompt_id);
    EXPECT_THAT(order, ElementsAre("job-b", "job-c", "job-a"));
}

TEST_F(Guarding, nobody_is_held_to_the_line_of_a_card_that_is_guessed) {
    auto place = std::make_shared<service::Place>(*place_);
    place->config.card.value.clear();
    place_ = place;
    const auto decision =
        post(prompt_text(2048, 2048, 4), "job-a", {{std::string(kPolicyHeader), "enforce"}});
    ASSERT_TRUE(std::holds_alternative<Forward>(decision));
    EXPECT_EQ(view("job-a").facts.peak, std::nullopt);
}

TEST_F(Guarding, secrets_go_to_comfyui_and_never_to_the_disk) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b", {},
               R"(, "extra_data": {"api_key_comfy_org": "sk-secret", "x": 1})");
    for (const history::HeldJob& job : store_.list_held().value())
        EXPECT_THAT(job.body, testing::Not(HasSubstr("sk-secret")));
    EXPECT_THAT(queue(), testing::Not(HasSubstr("sk-secret")));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    ASSERT_EQ(comfyui_.bodies.size(), 1U);
    EXPECT_THAT(comfyui_.bodies[0], HasSubstr("sk-secret"));
}

TEST_F(Guarding, what_is_no_prompt_is_comfyuis_to_refuse) {
    for (const char* const body : {"", "no json", "[]", R"({"prompt": []})", R"({"prompt": "x"})",
                                   R"({"prompt": {}})", R"({"prompt": {"1": {"inputs": {}}}})"}) {
        ClientRequest request;
        request.route = Route::PostPrompt;
        request.body = body;
        gateway::PromptCall call(std::move(request));
        const auto decision = guard_->decide(call);
        ASSERT_TRUE(std::holds_alternative<Forward>(decision)) << body;
        EXPECT_EQ(std::get<Forward>(decision).body, std::nullopt);
    }
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, policies_change_warn_refuse_or_leave_alone) {
    const std::string large = prompt_text(2048, 2048, 4);
    const auto with = [&](const char* policy) {
        return post(large, "", {{std::string(kPolicyHeader), policy}});
    };
    const auto observed = with("observe");
    EXPECT_EQ(std::get<Forward>(observed).body, std::nullopt);
    guard_->pause();
    const auto advised = with("advise");
    EXPECT_THAT(std::get<Hold>(advised).node_errors, HasSubstr("plimsoll_warning"));
    const auto fitted = with("fit");
    const auto enforced = with("enforce");
    // Where a plan fits, both change; where none does, one warns and the other refuses.
    if (std::holds_alternative<Refusal>(enforced)) {
        EXPECT_THAT(std::get<Refusal>(enforced).node_errors, HasSubstr(R"("input_name": "width")"));
        EXPECT_THAT(std::get<Refusal>(enforced).details, HasSubstr("[run anyway]"));
        EXPECT_TRUE(std::holds_alternative<Hold>(fitted));
    } else {
        EXPECT_GT(std::get<Hold>(enforced).answer_headers.size(), 1U);
        EXPECT_GT(std::get<Hold>(fitted).answer_headers.size(), 1U);
    }
    EXPECT_TRUE(std::holds_alternative<Refusal>(with("obey")));
    EXPECT_TRUE(std::holds_alternative<Hold>(
        post(large, "",
             {{std::string(kPolicyHeader), "enforce"}, {std::string(kRunAnywayHeader), "1"}})));
}

TEST_F(Guarding, what_was_refused_goes_when_its_user_says_so) {
    const std::string large = prompt_text(2048, 2048, 4);
    const net::Headers strict{{std::string(kPolicyHeader), "enforce"},
                              {std::string(kPinHeader), "size,batch,vae"}};
    ASSERT_TRUE(std::holds_alternative<Refusal>(post(large, "job-a", strict)));
    ASSERT_EQ(guard_->list().size(), 1U);
    const HeldView refused = guard_->list().front();
    EXPECT_EQ(refused.state, HeldState::Refused);
    EXPECT_TRUE(refused.may_run_anyway);
    EXPECT_FALSE(refused.why.empty());
    EXPECT_TRUE(store_.list_held().value().empty());
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());

    const auto sent = guard_->run_anyway(refused.prompt_id);
    ASSERT_TRUE(sent) << sent.error().message;
    EXPECT_EQ(sent->state, HeldState::Waiting);
    ASSERT_EQ(store_.list_held().value().size(), 1U);  // before it is sent
    turn();
    ASSERT_THAT(comfyui_.posted, ElementsAre(refused.prompt_id));
    // As it came: no plan has touched it, nor its seed.
    EXPECT_THAT(comfyui_.bodies.front(), HasSubstr("2048"));
    EXPECT_THAT(comfyui_.bodies.front(), HasSubstr("12345678901234567890"));
    comfyui_.finish(refused.prompt_id, JobState::Succeeded);
    turn(2);
    EXPECT_EQ(view(refused.prompt_id).state, HeldState::Done);
    EXPECT_EQ(guard_->run_anyway(refused.prompt_id).error().code, Errc::InvalidInput);
    EXPECT_EQ(guard_->run_anyway("nobody").error().code, Errc::NotFound);
}

TEST_F(Guarding, only_the_latest_refused_can_still_be_sent) {
    const net::Headers strict{{std::string(kPolicyHeader), "enforce"},
                              {std::string(kPinHeader), "size,batch,vae"}};
    for (std::size_t i = 0; i < kRefusedMax + 3; ++i)
        (void)post(prompt_text(2048, 2048, 4, i + 1), "", strict);
    const std::vector<HeldView> all = guard_->list();
    ASSERT_EQ(all.size(), kRefusedMax + 3);
    EXPECT_EQ(std::ranges::count_if(all, &HeldView::may_run_anyway),
              static_cast<std::ptrdiff_t>(kRefusedMax));
    EXPECT_FALSE(all.back().may_run_anyway);  // the oldest
    EXPECT_EQ(guard_->run_anyway(all.back().prompt_id).error().code, Errc::NotFound);
}

TEST_F(Guarding, what_is_held_goes_next_when_its_user_says_so_also_after_a_kill) {
    guard_->pause();
    for (const char* const id : {"job-a", "job-b"}) (void)post(prompt_text(512, 512), id);
    EXPECT_TRUE(view("job-b").may_run_anyway);
    ASSERT_TRUE(guard_->run_anyway("job-b"));
    EXPECT_FALSE(view("job-b").may_run_anyway);
    EXPECT_TRUE(view("job-a").may_run_anyway);
    open();
    guard_->pause();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-b"));
}

TEST_F(Guarding, seeds_and_pins_never_change) {
    guard_->pause();
    (void)post(prompt_text(1536, 1536, 2), "job-a", {{std::string(kPinHeader), "size,steps"}});
    const auto kept = store_.list_held().value();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_THAT(kept[0].body, HasSubstr("12345678901234567890"));
    EXPECT_THAT(kept[0].body, HasSubstr("1536"));
}

}  // namespace
}  // namespace plimsoll::guard
