// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/session.h"

#include "base/json.h"
#include "base/say.h"
#include "quality/lab/session_json.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace plimsoll::quality {
namespace {

SessionPlan plan_of(TestKind kind = TestKind::Full, std::size_t prompts = 4) {
    SessionPlan plan;
    plan.session_id = "s";
    plan.kind = kind;
    plan.model = "sdxl-base";
    const Candidates made = make_candidates(kind, {});
    plan.reference = made.reference;
    plan.second_reference = made.second_reference;
    for (const Setting& setting : made.settings)
        plan.entrants.push_back({.setting = setting,
                                 .forecast = {.seconds = static_cast<double>(setting.steps),
                                              .peak = Bytes::from_gib(4)},
                                 .left_out = {}});
    for (std::size_t i = 0; i < prompts; ++i) plan.prompts.push_back("p" + std::to_string(i));
    plan.seed = 42;
    plan.rules.blocks_max = 8;
    plan.seconds_max = 1e6;
    return plan;
}

// A picture that loses by having too few steps.
Seen seen_of_steps(int steps) {
    Seen seen;
    seen.distance = steps >= 20 ? 0.01 : 0.3;
    seen.distance_to_other = 0.5;
    seen.measures[Measure::FlatNoise] = 1.3 + (steps >= 20 ? 0 : 3);
    return seen;
}

// Draws what the session asks for, until it ends or `most` pictures were drawn.
std::size_t run(Session& session, std::size_t most = 100'000) {
    std::size_t drawn = 0;
    while (drawn < most) {
        const auto task = session.next();
        if (!task) break;
        session.ask(*task, "id");
        session.draw(task->cell, task->setting.steps, Bytes::from_gib(3), "f.png",
                     seen_of_steps(task->setting.steps));
        ++drawn;
    }
    return drawn;
}

Session reread(const Session& session) {
    std::vector<Picture> pictures;
    for (const auto& [cell, picture] : session.pictures())
        pictures.push_back(parse_picture(encode_picture(picture)).value());
    return Session::restore(parse_plan(encode_plan(session.plan())).value(),
                            parse_progress(encode_progress(session.progress())).value(),
                            std::move(pictures))
        .value();
}

TEST(Session, ends_with_an_answer_within_its_bound) {
    Session session(plan_of());
    const Bound bound = bound_of(session.plan());
    const std::size_t drawn = run(session);
    EXPECT_EQ(session.progress().state, SessionState::Done);
    EXPECT_LE(drawn, bound.images);
    EXPECT_LE(session.count().seconds_spent, bound.seconds);
    EXPECT_EQ(session.count().at_most, drawn);
    const Answer answer = session.answer();
    ASSERT_TRUE(answer.chosen) << answer.words;
    const Setting& chosen = session.plan().entrants[*answer.chosen].setting;
    EXPECT_EQ(chosen.steps, 20) << answer.words;
}

TEST(Session, never_asks_for_more_than_it_said_would_be_left) {
    Session session(plan_of());
    std::size_t before = session.count().at_most;
    while (run(session, 1) == 1) {
        EXPECT_LE(session.count().at_most, before);
        before = session.count().at_most;
    }
}

// Goal: after any end of the program the session goes on and no picture is drawn twice. Method:
// written down and read back before, between and after each picture; every prompt is counted.
TEST(Session, goes_on_after_being_written_down_at_any_moment) {
    Session whole(plan_of());
    const std::size_t expected = run(whole);
    Session session(plan_of());
    std::map<Cell, int> asked;
    for (;;) {
        session = reread(session);
        const auto task = session.next();
        session = reread(session);
        if (!task) break;
        ++asked[task->cell];
        session.ask(*task, "prompt of " + std::to_string(asked.size()));
        session = reread(session);
        // It ended while ComfyUI was drawing: the same picture is looked for, not asked for anew.
        const auto again = session.next();
        ASSERT_TRUE(again);
        EXPECT_EQ(again->cell, task->cell);
        EXPECT_EQ(again->prompt_id, "prompt of " + std::to_string(asked.size()));
        session.draw(task->cell, task->setting.steps, Bytes::from_gib(3), "f.png",
                     seen_of_steps(task->setting.steps));
    }
    EXPECT_EQ(asked.size(), expected);
    for (const auto& [cell, times] : asked) EXPECT_EQ(times, 1);
    EXPECT_EQ(session.answer().chosen, whole.answer().chosen);
    EXPECT_EQ(session.answer().words, whole.answer().words);
}

TEST(Session, written_down_and_read_back_is_the_same) {
    Session session(plan_of());
    run(session, 30);
    const Session read = reread(session);
    EXPECT_EQ(read.plan(), session.plan());
    EXPECT_EQ(read.progress(), session.progress());
    EXPECT_EQ(read.pictures(), session.pictures());
}

TEST(Session, draws_the_reference_of_a_block_first_and_shares_its_seed) {
    Session session(plan_of());
    std::set<std::size_t> with_reference;
    std::map<std::size_t, std::uint64_t> seeds;
    while (const auto task = session.next()) {
        if (task->cell.candidate == session.plan().reference)
            with_reference.insert(task->cell.block);
        EXPECT_TRUE(with_reference.contains(task->cell.block));
        const std::uint64_t seed = seed_of(session.plan(), task->block);
        EXPECT_EQ(seeds.emplace(task->cell.block, seed).first->second, seed);
        session.ask(*task, "id");
        session.draw(task->cell, 1, {}, "", seen_of_steps(task->setting.steps));
    }
    std::set<std::uint64_t> distinct;
    for (const auto& [block, seed] : seeds) distinct.insert(seed);
    EXPECT_EQ(distinct.size(), 8U);
}

TEST(Session, pauses_resumes_and_cancels_only_where_that_makes_sense) {
    Session session(plan_of());
    EXPECT_FALSE(session.resume());
    ASSERT_TRUE(session.pause("the user asked"));
    EXPECT_FALSE(session.next());
    EXPECT_FALSE(session.pause("again"));
    ASSERT_TRUE(session.resume());
    EXPECT_TRUE(session.next());
    ASSERT_TRUE(session.cancel());
    EXPECT_FALSE(session.next());
    EXPECT_FALSE(session.cancel());
    EXPECT_FALSE(session.resume());
    EXPECT_EQ(session.progress().state, SessionState::Cancelled);
}

TEST(Session, goes_on_without_a_setting_that_fails_twice) {
    Session session(plan_of(TestKind::Quick));
    constexpr std::size_t kBroken = 2;
    int asked = 0;
    while (const auto task = session.next()) {
        session.ask(*task, "id");
        if (task->cell.candidate == kBroken) {
            ++asked;
            session.fail_picture(task->cell, "out of memory", Session::Failure::MayPass);
        } else {
            session.draw(task->cell, 1, {}, "", seen_of_steps(task->setting.steps));
        }
    }
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(session.progress().state, SessionState::Done);
    EXPECT_EQ(session.answer().verdicts[kBroken].why, "out of memory");
}

TEST(Session, fails_with_the_reason_when_the_reference_cannot_be_drawn) {
    Session session(plan_of());
    const auto task = session.next();
    ASSERT_TRUE(task);
    session.ask(*task, "id");
    session.fail_picture(task->cell, "the file has gone", Session::Failure::Final);
    EXPECT_FALSE(session.next());
    EXPECT_EQ(session.progress().state, SessionState::Failed);
    EXPECT_NE(session.progress().why.message().find("the file has gone"), std::string::npos);
}

TEST(Session, stops_when_its_time_is_up_and_answers_with_what_it_has) {
    SessionPlan plan = plan_of();
    plan.seconds_max = 200;
    Session session(plan);
    run(session);
    EXPECT_EQ(session.progress().state, SessionState::Done);
    EXPECT_NE(session.progress().why.message().find("time was up"), std::string::npos);
    EXPECT_LT(session.count().seconds_spent, 200 + 50);
}

TEST(Session, asks_again_for_what_was_never_submitted) {
    Session session(plan_of());
    const auto task = session.next();
    session.ask(*task, "lost");
    session.forget(task->cell);
    const auto again = session.next();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->cell, task->cell);
    EXPECT_TRUE(again->prompt_id.empty());
}

TEST(SessionPlan, takes_fewer_blocks_to_keep_within_the_time) {
    SessionPlan plan = plan_of();
    plan.rules.blocks_max = 32;
    const double full = bound_of(plan).seconds;
    plan.seconds_max = full * 0.7;
    ASSERT_TRUE(fit_blocks(plan));
    EXPECT_LT(plan.rules.blocks_max, 32U);
    EXPECT_LE(bound_of(plan).seconds, plan.seconds_max);
    plan.seconds_max = 10;
    EXPECT_EQ(fit_blocks(plan).error().code, Errc::LimitExceeded);
}

TEST(SessionPlan, keeps_why_a_setting_is_left_out_with_its_values) {
    SessionPlan plan = plan_of();
    plan.entrants[1].left_out =
        say<"lab.over_line">(say<"judge.under">(Bytes::from_mib(1), Bytes::from_mib(2)));
    const std::string text = encode_plan(plan);
    EXPECT_EQ(parse_plan(text).value(), plan);
    // Earlier versions kept the sentence alone.
    json::value earlier = parse_json(text).value();
    earlier.as_object()["entrants"].as_array()[1].as_object().erase("leftOutPhrase");
    const Phrase plain = parse_plan(json::serialize(earlier)).value().entrants[1].left_out;
    EXPECT_EQ(plain.code(), "");
    EXPECT_EQ(plain, plan.entrants[1].left_out.message());
}

TEST(SessionPlan, is_refused_when_nothing_can_be_compared) {
    SessionPlan plan = plan_of();
    for (Entrant& entrant : plan.entrants) entrant.left_out = "over the line";
    EXPECT_EQ(fit_blocks(plan).error().code, Errc::InvalidInput);
    plan.entrants[plan.reference].left_out = {};
    EXPECT_EQ(fit_blocks(plan).error().code, Errc::InvalidInput);
}

TEST(SessionJson, refuses_what_is_no_session) {
    EXPECT_EQ(parse_plan("{}").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_plan("[1").error().code, Errc::Corrupt);
    EXPECT_EQ(
        parse_progress(R"({"state":"running","why":"","stage":0,"racing":[-1]})").error().code,
        Errc::Corrupt);
    EXPECT_EQ(parse_picture(R"({"candidate":99})").error().code, Errc::Corrupt);
    std::string text = encode_plan(plan_of());
    text.replace(text.find("\"full\""), 6, "\"fast\"");
    EXPECT_EQ(parse_plan(text).error().code, Errc::Corrupt);
    SessionProgress progress;
    progress.racing = {31};
    EXPECT_FALSE(Session::restore(plan_of(), progress, {}));
    Picture stray;
    stray.cell = {.candidate = 0, .block = 60};
    EXPECT_FALSE(Session::restore(plan_of(), {}, {stray}));
}

TEST(Session, goes_on_by_itself_a_few_times_when_its_server_goes_away) {
    Session session(plan_of(TestKind::Quick));
    for (int i = 1; i <= kTimesGoneMax; ++i) {
        ASSERT_TRUE(session.pause("connection reset", PauseCause::ServerGone));
        EXPECT_TRUE(reread(session).progress().resumes_itself());
        ASSERT_TRUE(session.resume());
    }
    ASSERT_TRUE(session.pause("connection reset", PauseCause::ServerGone));
    EXPECT_FALSE(reread(session).progress().resumes_itself());
    // A person may try again, and a picture that is drawn shows that it was not the picture.
    ASSERT_TRUE(session.resume());
    run(session, 1);
    ASSERT_TRUE(session.pause("connection reset", PauseCause::ServerGone));
    EXPECT_TRUE(session.progress().resumes_itself());
    // Who pauses it means it.
    ASSERT_TRUE(session.pause("paused"));
    EXPECT_FALSE(session.progress().resumes_itself());
    EXPECT_FALSE(session.pause("paused"));
}

TEST(SessionWithScorers, keeps_scores_and_reasons_and_leaves_out_one_that_keeps_failing) {
    SessionPlan plan = plan_of(TestKind::Quick);
    plan.scorers = {{.name = "pick", .higher_is_better = true, .margin = 0.1},
                    {.name = "broken", .higher_is_better = false, .margin = std::nullopt}};
    Session session(plan);
    for (int i = 0; i < 20; ++i) {
        const auto task = session.next();
        ASSERT_TRUE(task);
        session.ask(*task, "id");
        Seen seen = seen_of_steps(task->setting.steps);
        seen.scores["pick"] = 20 + i / 100.0;
        seen.unscored["broken"] = i < 3 ? "no weights" : "left out after 3 failures";
        session.draw(task->cell, 1, Bytes(), "f.png", seen);
        EXPECT_EQ(session.count_scores("broken").is_out(), i >= 2);
    }
    const Session again = reread(session);
    EXPECT_EQ(again.plan().scorers, plan.scorers);
    EXPECT_EQ(again.pictures(), session.pictures());
    EXPECT_EQ(again.count_scores("pick").scored, 20U);
    EXPECT_FALSE(again.count_scores("pick").is_out());
    const Answer answer = again.answer();
    ASSERT_EQ(answer.scorers.size(), 2U);
    EXPECT_EQ(answer.scorers[0].scored, 20U);
    EXPECT_TRUE(answer.scorers[0].why_failed.empty());
    EXPECT_EQ(answer.scorers[1].why_failed, "it failed on 20 of 20 pictures: no weights");
}

}  // namespace
}  // namespace plimsoll::quality
