// SPDX-License-Identifier: Apache-2.0
//
// Goal: what is written to the disk has no keys in it, what is sent has them, and a change reaches
// both. Method: bodies as clients send them.
#include "guard/held_entry.h"

#include "guard/body_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace plimsoll::guard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kPrompt = R"({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}, )"
                            R"("9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}})";

std::string body(const std::string& more) {
    return R"({"prompt": )" + kPrompt + R"(, "client_id": "krita", "prompt_id": "a")" + more + "}";
}

TEST(HeldEntry, keys_are_sent_and_not_kept) {
    const auto entry =
        make_entry(body(R"(, "extra_data": {"api_key_comfy_org": "secret"})"), "a", {}, 7).value();
    EXPECT_THAT(entry.kept.body, Not(HasSubstr("secret")));
    EXPECT_THAT(entry.body_to_send(), HasSubstr("secret"));
    EXPECT_EQ(part(entry.kept.body, entry.prompt), kPrompt);
    EXPECT_EQ(entry.facts.client, "krita");
    EXPECT_EQ(entry.kept.accepted_ms, 7);
    EXPECT_THAT(entry.outputs, ElementsAre("9"));
}

TEST(HeldEntry, what_is_no_prompt_is_no_entry) {
    EXPECT_FALSE(make_entry("no json", "a", {}, 0));
    EXPECT_FALSE(make_entry(R"({"client_id": "krita"})", "a", {}, 0));
}

TEST(HeldEntry, one_that_was_sent_by_an_earlier_process_is_unclear) {
    history::HeldJob job;
    job.prompt_id = "a";
    job.body = body("");
    job.mark.sent = true;
    EXPECT_TRUE(read_entry(job).unclear);
    EXPECT_EQ(part(job.body, read_entry(job).prompt), kPrompt);
    job.mark.sent = false;
    job.body = "damaged";
    EXPECT_FALSE(read_entry(job).unclear);
    EXPECT_EQ(read_entry(job).prompt, workflow::Span{});
}

TEST(HeldEntry, a_change_reaches_both_bodies_or_none) {
    auto entry =
        make_entry(body(R"(, "extra_data": {"api_key_comfy_org": "secret"})"), "a", {}, 0).value();
    const HeldEntry before = entry;
    EXPECT_FALSE(exchange_prompt(entry, [](std::string_view) -> Result<std::string> {
        return fail(Errc::InvalidInput, "no");
    }));
    EXPECT_EQ(entry.kept.body, before.kept.body);
    ASSERT_TRUE(exchange_prompt(entry, [](std::string_view) -> Result<std::string> {
        return std::string(R"({"4": {}})");
    }));
    EXPECT_EQ(part(entry.kept.body, entry.prompt), R"({"4": {}})");
    EXPECT_THAT(entry.body_to_send(), HasSubstr(R"({"4": {}})"));
    EXPECT_THAT(entry.body_to_send(), HasSubstr("secret"));
    EXPECT_THAT(entry.kept.body, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace plimsoll::guard
