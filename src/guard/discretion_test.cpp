// SPDX-License-Identifier: Apache-2.0
//
// Goal: a client hears of its job one end, and until then the job is pending somewhere. Method: the
// texts that ComfyUI sends, in the orders in which they come.
#include "guard/discretion.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace plimsoll::guard {
namespace {

class Discreet : public testing::Test {
  protected:
    void SetUp() override {
        HeldEntry entry;
        entry.kept.prompt_id = "a";
        entry.kept.body = R"({"prompt": {}})";
        ASSERT_TRUE(queue_.add(std::move(entry)));
        fly();
    }
    void fly() {
        Flight flight;
        flight.prompt_id = "a";
        flight.confirmed = true;
        flights_.add(std::move(flight));
    }
    bool withheld(std::string_view type, const std::string& more = "") {
        const std::string text =
            fmt::format(R"({{"type": "{}", "data": {{"prompt_id": "a"{}}}}})", type, more);
        return discretion_.withholds(parse_client_text(text).value());
    }
    static std::string error(std::string_view type) {
        return fmt::format(R"(, "node_id": "8", "exception_type": "{}", "exception_message": "")",
                           type);
    }
    Flight& flight() { return *flights_.find("a"); }
    const HeldEntry& entry() { return *queue_.find("a"); }

    HeldQueue queue_;
    Flights flights_;
    Discretion discretion_{queue_, flights_};
};

TEST_F(Discreet, texts_without_a_prompt_are_nobodys) {
    EXPECT_FALSE(parse_client_text("no json"));
    EXPECT_FALSE(parse_client_text(R"({"type": "status", "data": {"status": {}}})"));
    EXPECT_FALSE(parse_client_text(R"({"type": "executing", "data": {"prompt_id": 7}})"));
    EXPECT_EQ(
        parse_client_text(R"({"type": "executing", "data": {"prompt_id": "a", "node": null}})")
            ->node_id,
        std::nullopt);
}

TEST_F(Discreet, a_failure_that_is_seen_to_is_withheld_with_its_one_end) {
    EXPECT_EQ(discretion_.count_pending(), 0);
    EXPECT_TRUE(withheld("execution_error", error("torch.OutOfMemoryError")));
    EXPECT_TRUE(discretion_.awaits_ends());
    EXPECT_EQ(discretion_.count_pending(), 1);
    EXPECT_EQ(discretion_.pending().size(), 1U);
    EXPECT_TRUE(withheld("executing", R"(, "node": null)"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
    EXPECT_FALSE(discretion_.awaits_ends());
}

TEST_F(Discreet, a_failure_that_is_the_clients_passes_and_the_job_is_pending_no_more) {
    EXPECT_FALSE(withheld("execution_error", error("ValueError")));
    flight().error = service::NodeError{"8", "VAEDecode", "bad value", "ValueError"};
    EXPECT_TRUE(discretion_.is_over(entry(), flight()));
    const Flight ended = flight();
    flights_.erase("a");
    discretion_.begin_end(entry(), ended);
    EXPECT_EQ(discretion_.count_pending(), 0);
    EXPECT_TRUE(discretion_.pending().empty());
    EXPECT_FALSE(withheld("execution_interrupted"));
    // It turned out to be put back.
    discretion_.clear_end("a");
    EXPECT_EQ(discretion_.count_pending(), 1);
}

TEST_F(Discreet, an_interrupt_is_withheld_where_it_was_ours_and_the_job_comes_back) {
    EXPECT_FALSE(withheld("execution_interrupted"));
    flights_.stop("a", StopCause::Spilled, "slow", 0);
    flight().interrupted = true;
    EXPECT_FALSE(discretion_.is_over(entry(), flight()));
    EXPECT_TRUE(withheld("execution_interrupted"));
    EXPECT_TRUE(flight().withheld);
}

TEST_F(Discreet, an_end_that_comes_after_the_job_is_back_in_the_queue_is_withheld_too) {
    flights_.erase("a");
    EXPECT_TRUE(withheld("execution_error", error("torch.OutOfMemoryError")));
    EXPECT_TRUE(withheld("executing", R"(, "node": null)"));
}

TEST_F(Discreet, the_next_start_takes_back_what_was_withheld_of_the_end_before) {
    EXPECT_TRUE(withheld("execution_error", error("torch.OutOfMemoryError")));
    EXPECT_FALSE(withheld("execution_start"));
    EXPECT_FALSE(withheld("executing", R"(, "node": null)"));
}

TEST_F(Discreet, history_of_an_earlier_try_is_hidden_and_that_of_the_last_is_not) {
    const std::string failed =
        R"({"a": {"prompt": [], "outputs": {}, "status": {"status_str": "error", "completed": )"
        R"(false, "messages": [["execution_error", {"prompt_id": "a", "node_id": "8", )"
        R"("exception_type": "ValueError", "exception_message": "bad"}]]}}})";
    EXPECT_FALSE(discretion_.hides_history(entry(), failed));
    EXPECT_FALSE(discretion_.hides_history(entry(), "<html>"));
    history::HeldMark mark = entry().kept.mark;
    mark.attempts = 1;
    queue_.mark("a", mark);
    EXPECT_TRUE(discretion_.hides_history(entry(), failed));
    const std::string done =
        R"({"a": {"outputs": {}, "status": {"status_str": "success", "completed": true, )"
        R"("messages": []}}})";
    EXPECT_FALSE(discretion_.hides_history(entry(), done));
}

}  // namespace
}  // namespace plimsoll::guard
