// SPDX-License-Identifier: Apache-2.0
//
// Goal: what has ended, and what was refused, is remembered for a while and not for ever. Method:
// jobs by number, bodies of a size.
#include "guard/ended_jobs.h"
#include "guard/refused_prompts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace plimsoll::guard {
namespace {

HeldView view(const std::string& id, HeldState state) {
    HeldView made;
    made.prompt_id = id;
    made.state = state;
    return made;
}

HeldEntry prompt(const std::string& id, std::size_t bytes) {
    HeldEntry made;
    made.kept.prompt_id = id;
    made.kept.body = std::string(bytes, 'x');
    return made;
}

TEST(EndedJobs, the_newest_comes_first_and_the_oldest_goes) {
    EndedJobs jobs;
    for (std::size_t i = 0; i <= kEndedMax; ++i)
        jobs.add(view(fmt::format("{}", i), HeldState::Done));
    EXPECT_EQ(jobs.newest_first().size(), kEndedMax);
    EXPECT_EQ(jobs.newest_first().front().view.prompt_id, fmt::format("{}", kEndedMax));
    EXPECT_EQ(jobs.newest_first().back().view.prompt_id, "1");
}

TEST(EndedJobs, history_is_told_until_its_client_deletes_it) {
    EndedJobs jobs;
    jobs.add(view("a", HeldState::Done));
    EXPECT_FALSE(jobs.has_history());
    jobs.add(view("b", HeldState::Failed), R"({"outputs": {}})");
    ASSERT_NE(jobs.find_history("b"), nullptr);
    EXPECT_EQ(jobs.find_history("a"), nullptr);
    jobs.forget_history([](const std::string& id) { return id == "a"; });
    EXPECT_TRUE(jobs.has_history());
    jobs.forget_history([](const std::string& id) { return id == "b"; });
    EXPECT_FALSE(jobs.has_history());
    EXPECT_EQ(jobs.newest_first().size(), 2U);
}

TEST(EndedJobs, a_refusal_is_erased_and_an_end_is_not) {
    EndedJobs jobs;
    jobs.add(view("a", HeldState::Done));
    jobs.add(view("a", HeldState::Refused));
    jobs.erase_refused("a");
    ASSERT_EQ(jobs.newest_first().size(), 1U);
    EXPECT_EQ(jobs.newest_first().front().view.state, HeldState::Done);
}

TEST(RefusedPrompts, a_later_try_takes_the_place_of_the_one_before) {
    RefusedPrompts prompts;
    EXPECT_TRUE(prompts.keep(prompt("a", 10)));
    EXPECT_TRUE(prompts.keep(prompt("a", 20)));
    EXPECT_EQ(prompts.find("a")->kept.body.size(), 20U);
    EXPECT_TRUE(prompts.erase("a"));
    EXPECT_FALSE(prompts.erase("a"));
    EXPECT_EQ(prompts.find("a"), nullptr);
}

TEST(RefusedPrompts, are_bounded_in_number_and_in_bytes) {
    RefusedPrompts prompts;
    for (std::size_t i = 0; i <= kRefusedMax; ++i)
        EXPECT_TRUE(prompts.keep(prompt(fmt::format("{}", i), 10)));
    EXPECT_EQ(prompts.find("0"), nullptr);
    EXPECT_NE(prompts.find("1"), nullptr);
    EXPECT_FALSE(prompts.keep(prompt("huge", kRefusedBytesMax + 1)));
    EXPECT_EQ(prompts.find("huge"), nullptr);
    EXPECT_TRUE(prompts.keep(prompt("large", kRefusedBytesMax - 5)));
    EXPECT_NE(prompts.find("large"), nullptr);
    EXPECT_EQ(prompts.find("1"), nullptr);
}

}  // namespace
}  // namespace plimsoll::guard
