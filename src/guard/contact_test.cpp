// SPDX-License-Identifier: Apache-2.0
//
// Goal: a ComfyUI that is gone is neither pestered nor forgotten. Method: time passed in.
#include "guard/contact.h"

#include "guard/waits.h"

#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

constexpr std::int64_t kNow = 1'000'000;

TEST(Contact, a_comfyui_that_is_gone_is_news_once_and_asked_once_a_second) {
    Contact contact;
    EXPECT_FALSE(contact.note(true, kNow));
    EXPECT_TRUE(contact.note(false, kNow));
    EXPECT_FALSE(contact.is_reachable());
    EXPECT_FALSE(contact.may_ask(kNow + kContactMs - 1));
    EXPECT_TRUE(contact.may_ask(kNow + kContactMs));
    EXPECT_FALSE(contact.note(false, kNow + kContactMs));
    EXPECT_FALSE(contact.may_ask(kNow + kContactMs + 1));
    EXPECT_TRUE(contact.note(true, kNow + kContactMs + 1));
    EXPECT_TRUE(contact.may_ask(kNow + kContactMs + 1));
}

TEST(Contact, a_hint_that_it_is_gone_does_not_keep_us_from_asking) {
    Contact contact;
    contact.hint(false);
    EXPECT_FALSE(contact.is_reachable());
    EXPECT_TRUE(contact.may_ask(kNow));
    EXPECT_FALSE(contact.is_gone(kNow + kGoneMs));
}

TEST(Contact, it_is_started_anew_once_it_is_gone_for_long_and_not_twice_while_it_starts) {
    Contact contact;
    contact.note(false, kNow);
    EXPECT_FALSE(contact.take_restart(kNow + kGoneMs - 1, false));
    EXPECT_TRUE(contact.take_restart(kNow + kGoneMs, false));
    EXPECT_FALSE(contact.take_restart(kNow + kGoneMs + 1, false));
    contact.note(false, kNow + kGoneMs + kRestartMs);
    EXPECT_TRUE(contact.take_restart(kNow + kGoneMs + kRestartMs, false));
}

TEST(Contact, one_that_was_back_may_be_started_again_at_once) {
    Contact contact;
    contact.note(false, kNow);
    EXPECT_TRUE(contact.take_restart(kNow + kGoneMs, false));
    contact.note(true, kNow + kGoneMs + 1);
    contact.note(false, kNow + kGoneMs + 2);
    EXPECT_TRUE(contact.take_restart(kNow + 2 * kGoneMs + 2, false));
}

TEST(Contact, one_that_hangs_is_started_anew_though_it_answers) {
    Contact contact;
    EXPECT_TRUE(contact.take_restart(kNow, true));
    EXPECT_FALSE(contact.take_restart(kNow + 1, true));
}

}  // namespace
}  // namespace plimsoll::guard
