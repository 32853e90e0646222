// SPDX-License-Identifier: Apache-2.0
//
// Goal: the queue keeps its order through every change, and what it says is to be written is what
// it holds. Method: a twin that knows only what was written.
#include "guard/held_queue.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <iostream>

namespace plimsoll::guard {
namespace {

HeldEntry entry(const std::string& id, double number, std::int64_t priority = 0) {
    HeldEntry made;
    made.kept.prompt_id = id;
    made.kept.mark = {.turn = HeldQueue::turn_of(number), .priority = priority};
    made.kept.body = R"({"prompt": {}})";
    return made;
}

std::string ids(const HeldQueue& queue) {
    std::string text;
    for (const HeldEntry* const one : queue.in_order()) text += one->kept.prompt_id;
    return text;
}

TEST(HeldQueue, orders_by_priority_then_by_comfyuis_numbers) {
    HeldQueue queue;
    for (HeldEntry one : {entry("a", 3), entry("b", 4), entry("c", -5), entry("d", 9, 1)})
        ASSERT_TRUE(queue.add(std::move(one)));
    EXPECT_EQ(ids(queue), "dcab");
    EXPECT_EQ(queue.choose({}), "d");
    queue.take("d");
    EXPECT_EQ(queue.choose({}), "c");
    EXPECT_FALSE(queue.take("d"));
}

TEST(HeldQueue, does_not_take_the_same_id_twice) {
    HeldQueue queue;
    ASSERT_TRUE(queue.add(entry("a", 1)));
    EXPECT_EQ(queue.add(entry("a", 2)).error().code, Errc::InvalidInput);
    EXPECT_EQ(queue.size(), 1U);
}

TEST(HeldQueue, is_full_by_bytes_too_and_counts_them_back) {
    HeldQueue queue;
    HeldEntry large = entry("a", 1);
    large.kept.body.assign(kHeldBytesMax - 10, ' ');
    ASSERT_TRUE(queue.add(std::move(large)));
    EXPECT_EQ(queue.add(entry("b", 2)).error().code, Errc::LimitExceeded);
    queue.take("a");
    EXPECT_EQ(queue.bytes(), 0U);
    EXPECT_TRUE(queue.add(entry("b", 2)));
}

TEST(HeldQueue, what_was_sent_or_may_have_been_is_not_sent_again) {
    HeldQueue queue;
    for (HeldEntry one : {entry("a", 1), entry("b", 2), entry("c", 3)})
        ASSERT_TRUE(queue.add(std::move(one)));
    history::HeldMark sent = queue.find("a")->kept.mark;
    sent.sent = true;
    queue.mark("a", sent);
    queue.find("b")->unclear = true;
    EXPECT_EQ(queue.choose({}), "c");
    EXPECT_EQ(queue.candidates().size(), 1U);
}

TEST(HeldQueue, every_move_ends_where_it_was_asked_for_and_says_what_to_write) {
    HeldQueue queue;
    std::map<std::string, history::HeldMark> written;
    for (const char* const id : {"a", "b", "c", "d"}) {
        HeldEntry one = entry(id, id[0]);
        written[id] = one.kept.mark;
        ASSERT_TRUE(queue.add(std::move(one)));
    }
    const auto move = [&](const std::string& id, const std::string& before) {
        const auto changes = queue.move_before(id, before);
        ASSERT_TRUE(changes);
        for (const auto& change : *changes) written[change.prompt_id] = change.mark;
    };
    move("d", "b");
    EXPECT_EQ(ids(queue), "adbc");
    move("a", "");
    EXPECT_EQ(ids(queue), "dbca");
    move("a", "d");
    EXPECT_EQ(ids(queue), "adbc");
    // Two change places so often that no number is left between their neighbours.
    for (int i = 0; i < 60; ++i) {
        move("b", "d");
        EXPECT_EQ(ids(queue), "abdc");
        move("d", "b");
        EXPECT_EQ(ids(queue), "adbc");
    }
    for (const HeldEntry* const one : queue.in_order())
        EXPECT_EQ(written[one->kept.prompt_id], one->kept.mark);
    EXPECT_EQ(queue.move_before("a", "gone").error().code, Errc::NotFound);
    history::HeldMark urgent = queue.find("c")->kept.mark;
    urgent.priority = 1;
    queue.mark("c", urgent);
    EXPECT_EQ(ids(queue), "cadb");
    EXPECT_EQ(queue.move_before("c", "a").error().code, Errc::InvalidInput);
}

TEST(HeldQueue, numbers_of_any_size_have_a_turn) {
    EXPECT_LT(HeldQueue::turn_of(-1e300), HeldQueue::turn_of(-1));
    EXPECT_LT(HeldQueue::turn_of(2.25), HeldQueue::turn_of(2.5));
    EXPECT_LT(HeldQueue::turn_of(7), HeldQueue::turn_of(1e300));
    EXPECT_EQ(HeldQueue::turn_of(std::nan("")), 0);
}

TEST(HeldQueue, ten_thousand_jobs_choose_within_milliseconds) {
    HeldQueue queue;
    for (int i = 0; i < 10'000; ++i) {
        HeldEntry one = entry(fmt::format("{}", i), i);
        one.facts.model = i % 2 == 0 ? "a" : "b";
        ASSERT_TRUE(queue.add(std::move(one)));
    }
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(queue.choose({.loaded = "b"}), "1");
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    std::cout << fmt::format("choosing among 10,000: {:.2f} ms\n", took.count());
    EXPECT_LT(took.count(), 500);  // chosen: a debug build on a busy machine
}

TEST(Facts, come_back_from_their_json) {
    Facts facts;
    facts.client = "c";
    facts.number = "-3";
    facts.model = "m";
    facts.strict = true;
    facts.may_change = true;
    facts.pins = {"seed"};
    facts.peak = Bytes(5);
    facts.seconds = 2.5;
    facts.edits = {{"tile_vae", "8", "class_type", "VAEDecode", "VAEDecodeTiled", "tiles"}};
    facts.tries = {.as_it_is = 1, .plan_level = 2, .servers_lost = 3};
    facts.events = {Phrase("freed")};
    const Facts back = decode_facts(encode_facts(facts));
    EXPECT_EQ(encode_facts(back), encode_facts(facts));
    EXPECT_EQ(back.edits, facts.edits);
    EXPECT_EQ(back.floor, std::nullopt);
    EXPECT_EQ(decode_facts("no json").number, "0");
    EXPECT_EQ(decode_facts("[1]").tries.plan_level, 0);
}

}  // namespace
}  // namespace plimsoll::guard
