// SPDX-License-Identifier: Apache-2.0
//
// Goal: what the store does not take is neither forgotten nor written when it is over. Method: a
// store that fails at a call, or cannot be opened for a while.
#include "guard/ledger.h"

#include "guard/waits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace plimsoll::guard {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Writing : public testing::Test {
  protected:
    history::HeldJob job(const std::string& id) {
        history::HeldJob made;
        made.prompt_id = id;
        made.body = "{}";
        held_[id] = made;
        return made;
    }
    std::vector<std::string> written() {
        std::vector<std::string> ids;
        const auto jobs = store_.list_held();
        for (const history::HeldJob& one : *jobs) ids.push_back(one.prompt_id);
        return ids;
    }
    bool pay() {
        return ledger_.pay(now_, [&](const std::string& id) -> std::optional<history::HeldJob> {
            const auto found = held_.find(id);
            return found == held_.end() ? std::nullopt : std::optional(found->second);
        });
    }
    Result<void> drop(const std::string& id) {
        held_.erase(id);
        return ledger_.drop(std::vector<std::string>{id});
    }

    std::int64_t now_ = 1'000'000;
    bool is_full_ = false;
    history::MemoryStore store_;
    std::map<std::string, history::HeldJob> held_;
    Ledger ledger_{[this]() -> Result<std::shared_ptr<history::Store>> {
        if (is_full_) return fail(Errc::Unavailable, "no space left");
        return std::shared_ptr<history::Store>(&store_, [](history::Store*) {});
    }};
};

TEST_F(Writing, what_is_written_is_not_owed) {
    EXPECT_TRUE(ledger_.add(job("a")));
    EXPECT_TRUE(ledger_.keep(job("a")));
    EXPECT_EQ(ledger_.owed(), 0U);
    EXPECT_FALSE(pay());
    EXPECT_THAT(written(), ElementsAre("a"));
}

TEST_F(Writing, a_new_job_is_owed_once_it_is_held_and_written_as_it_is_by_then) {
    is_full_ = true;
    EXPECT_FALSE(ledger_.add(job("a")));
    EXPECT_EQ(ledger_.owed(), 0U);
    ledger_.owe("a");
    held_["a"].mark.attempts = 3;
    EXPECT_FALSE(pay());
    is_full_ = false;
    EXPECT_FALSE(pay());  // not at every turn
    now_ += kPayMs;
    EXPECT_TRUE(pay());
    EXPECT_EQ(ledger_.owed(), 0U);
    EXPECT_EQ(store_.list_held().value().at(0).mark.attempts, 3);
}

TEST_F(Writing, nothing_is_owed_of_a_job_that_the_store_never_had_once_it_has_ended) {
    is_full_ = true;
    (void)ledger_.add(job("a"));
    ledger_.owe("a");
    EXPECT_FALSE(ledger_.keep(held_["a"]));
    EXPECT_TRUE(drop("a"));
    EXPECT_EQ(ledger_.owed(), 0U);
}

TEST_F(Writing, a_change_that_failed_is_owed_and_so_is_an_end) {
    EXPECT_TRUE(ledger_.add(job("a")));
    store_.fail_at(0);
    held_["a"].mark.sent = true;
    const std::vector<history::HeldChange> changes{{"a", held_["a"].mark}};
    EXPECT_FALSE(ledger_.mark(changes));
    EXPECT_EQ(ledger_.owed(), 1U);
    EXPECT_TRUE(pay());
    EXPECT_TRUE(store_.list_held().value().at(0).mark.sent);
    store_.fail_at(0);
    EXPECT_FALSE(drop("a"));
    EXPECT_THAT(written(), ElementsAre("a"));
    EXPECT_TRUE(pay());
    EXPECT_THAT(written(), IsEmpty());
}

TEST_F(Writing, ends_that_failed_go_with_the_next_one) {
    for (const char* const id : {"a", "b"}) EXPECT_TRUE(ledger_.add(job(id)));
    store_.fail_at(0);
    EXPECT_FALSE(drop("a"));
    EXPECT_TRUE(drop("b"));
    EXPECT_THAT(written(), IsEmpty());
    EXPECT_EQ(ledger_.owed(), 0U);
}

TEST_F(Writing, a_long_debt_is_paid_in_parts_and_one_that_ended_meanwhile_is_not_written) {
    is_full_ = true;
    for (int i = 0; i < 25; ++i) {
        const std::string id = "job-" + std::to_string(100 + i);
        (void)ledger_.add(job(id));
        ledger_.owe(id);
    }
    held_.erase("job-103");
    is_full_ = false;
    EXPECT_FALSE(pay());
    EXPECT_EQ(ledger_.owed(), 15U);
    EXPECT_FALSE(pay());
    EXPECT_TRUE(pay());
    EXPECT_EQ(written().size(), 24U);
}

}  // namespace
}  // namespace plimsoll::guard
