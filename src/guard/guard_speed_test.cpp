// SPDX-License-Identifier: Apache-2.0
//
// Goal: thousands of held jobs cost milliseconds. Method: guard_fixture.h, and the real forecaster
// with a file, as the daemon has it.
#include "guard/guard_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace plimsoll::guard {
namespace {

using gateway::Refusal;
using testing::HasSubstr;

TEST_F(Guarding, five_hundred_held_jobs_are_listed_within_five_milliseconds) {
    guard_->pause();
    for (int i = 0; i < 500; ++i) (void)post(prompt_text(512, 512), fmt::format("job-{}", i));
    const auto began = std::chrono::steady_clock::now();
    const std::string text = queue();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    std::cout << fmt::format("/queue with 500 held jobs: {:.2f} ms, {} bytes\n", took.count(),
                             text.size());
    EXPECT_THAT(text, HasSubstr("job-499"));
    EXPECT_LT(took.count(), 100);  // chosen: the goal is 5; a debug build on a busy machine
}

// With a file, as the daemon has it.
class GuardingOnDisk : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_guard_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        config_.card.value = "rtx3050-6gb";
        config_.home.value = folder_;
        lookout_ = service::Lookout::create(config_, at_hand_, system_clock(), {}, {}).value();
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::unique_ptr<Guard> open() {
        return std::make_unique<Guard>(
            Guard::Parts{.place = [this] { return lookout_->place(); },
                         .comfyui = at_hand_,
                         .open_store = [this]() -> Result<std::shared_ptr<history::Store>> {
                             return history::SqliteStore::create(folder_ / "history.db");
                         },
                         .clock = system_clock(),
                         .seed = 1},
            Guard::Callbacks{});
    }
    std::filesystem::path folder_;
    service::Config config_;
    FakeComfyUi comfyui_;
    FakeAtHand at_hand_{comfyui_};
    std::unique_ptr<service::Lookout> lookout_;
};

gateway::PromptDecision post(Guard& guard, std::uint64_t number, const std::string& prompt) {
    ClientRequest request;
    request.number = number;
    request.route = Route::PostPrompt;
    request.body = fmt::format(R"({{"prompt": {}, "prompt_id": "job-{}"}})", prompt, number);
    gateway::PromptCall call(std::move(request));
    return guard.decide(call);
}

TEST_F(GuardingOnDisk, a_prompt_is_forecast_kept_and_decided_within_milliseconds) {
    const auto guard = open();
    guard->restore();
    std::vector<double> took;
    for (std::uint64_t i = 0; i < 20; ++i) {
        const auto began = std::chrono::steady_clock::now();
        const auto decision = post(*guard, i + 1, prompt_text(768, 768, 1, i));
        took.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
                .count());
        EXPECT_FALSE(std::holds_alternative<Refusal>(decision));
    }
    std::ranges::sort(took);
    std::cout << fmt::format("checked, kept and decided: median {:.1f} ms, most {:.1f} ms\n",
                             took[took.size() / 2], took.back());
    EXPECT_LT(took[took.size() / 2], 500);  // chosen: the goal is 15; a debug build, a busy disk
    EXPECT_EQ(guard->list().size(), 20U);
}

TEST_F(GuardingOnDisk, ten_thousand_held_jobs_are_there_after_a_kill) {
    constexpr int kJobs = 10'000;
    {
        // Written as fast as can be; how single ones are written is the store's own test.
        const auto store = history::SqliteStore::create(folder_ / "history.db",
                                                        {.durability = history::Durability::None})
                               .value();
        for (int i = 0; i < kJobs; ++i)
            ASSERT_TRUE(
                store->keep_held({.prompt_id = fmt::format("job-{}", i),
                                  .accepted_ms = i,
                                  .mark = {.turn = HeldQueue::turn_of(i)},
                                  .body = fmt::format(R"({{"prompt": {}, "prompt_id": "job-{}"}})",
                                                      prompt_text(), i),
                                  .facts_json = "{}"}));
    }
    const auto began = std::chrono::steady_clock::now();
    const auto guard = open();
    guard->restore();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    std::cout << fmt::format("10,000 held jobs taken up again: {:.0f} ms\n", took.count());
    EXPECT_EQ(guard->held_jobs(), kJobs);
    // Known ones are the same, not second ones.
    EXPECT_TRUE(std::holds_alternative<Refusal>(post(*guard, 17, prompt_text(512, 512))));
    EXPECT_EQ(guard->held_jobs(), kJobs);
}

}  // namespace
}  // namespace plimsoll::guard
