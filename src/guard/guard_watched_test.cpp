// SPDX-License-Identifier: Apache-2.0
//
// Goal: a job that goes wrong while it runs (spill, stall, creep, drift, heat) is said, and by
// policy interrupted, sent again once, or left alone. Method: guard_fixture.h; the card and
// ComfyUI's messages are told step by step.
#include "guard/guard_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::guard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A job in the sampler that goes wrong in one of the ways that are watched.
class Watched : public Telling {
  protected:
    void begin(GuardOptions options = {}, const std::string& prompt = prompt_text()) {
        open(std::move(options));
        guard_->on_client("krita", true);
        (void)post(prompt, "job-a");
        arrive("job-a");
        turn();
        say(R"({"type": "execution_start", "data": {"prompt_id": "job-a"}})");
        say(R"({"type": "executing", "data": {"node": "3", "prompt_id": "job-a"}})");
    }
    void say(const std::string& text) {
        guard_->on_message({.client_id = "krita", .bytes = text});
        turn(1, 0);
    }
    void sample(Bytes allocated, Bytes used) {
        service::CardSample sample;
        sample.at_ms = clock_.unix_ms();
        sample.total = Bytes::from_mib(5898);
        sample.allocated = allocated;
        sample.used = used;
        guard_->on_sample(sample);
        turn(1, 0);
    }
    void step(int value, int seconds) {
        clock_.advance(milliseconds(1'000 * seconds));
        say(fmt::format(R"({{"type": "progress_state", "data": {{"prompt_id": "job-a", "nodes": )"
                        R"({{"3": {{"value": {}, "max": 20, "state": "running"}}}}}}}})",
                        value));
        say(fmt::format(R"({{"type": "progress", "data": {{"prompt_id": "job-a", "node": "3", )"
                        R"("value": {}, "max": 20}}}})",
                        value));
    }
    [[nodiscard]] bool was_told(std::string_view code) const {
        return std::ranges::any_of(warnings_,
                                   [&](const std::string& one) { return one.starts_with(code); });
    }
};

TEST_F(Watched, a_spill_is_interrupted_and_sent_again_once) {
    begin();
    const Bytes full = Bytes::from_mib(5800);
    int value = 0;
    while (++value <= 4) step(value, 3);
    for (; value < 10 && comfyui_.cancels == 0; ++value) {
        sample(Bytes::from_mib(3000), full);
        step(value, 200);
    }
    EXPECT_LE(value, 4 + 5 + 1);
    EXPECT_TRUE(was_told("job_spill")) << testing::PrintToString(warnings_);
    ASSERT_EQ(comfyui_.cancels, 1);
    // Its client does not hear of the interrupt.
    EXPECT_TRUE(withheld("execution_interrupted"));
    turn(8);
    ASSERT_EQ(comfyui_.posted.size(), 2U);
    EXPECT_GE(comfyui_.unloads, 1);
    const HeldView view = guard_->find("job-a").value();
    EXPECT_THAT(comfyui_.bodies.back(), HasSubstr("12345678901234567890"));
    EXPECT_EQ(view.facts.tries.stops, 1);
    // Never twice.
    say(R"({"type": "execution_start", "data": {"prompt_id": "job-a"}})");
    for (int i = 1; i < 8; ++i) {
        sample(Bytes::from_mib(3000), full);
        step(i, i < 4 ? 3 : 300);
    }
    EXPECT_EQ(comfyui_.cancels, 1);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 1);
}

TEST_F(Watched, a_job_that_was_taken_before_the_card_was_known_is_interrupted_too) {
    const auto known = place_;
    auto unknown = std::make_shared<service::Place>(*known);
    unknown->config.card.value.clear();
    place_ = unknown;
    begin();
    EXPECT_FALSE(view("job-a").facts.peak);
    int value = 0;
    while (++value <= 4) step(value, 3);
    for (; value < 10 && comfyui_.cancels == 0; ++value) {
        sample(Bytes::from_mib(3000), Bytes::from_mib(5800));
        step(value, 200);
    }
    EXPECT_TRUE(was_told("job_spill")) << testing::PrintToString(warnings_);
    EXPECT_EQ(comfyui_.cancels, 1);
    turn(8);
    EXPECT_EQ(comfyui_.posted.size(), 2U);
}

TEST_F(Watched, the_line_of_a_job_without_a_forecast_is_the_users) {
    auto unknown = std::make_shared<service::Place>(*place_);
    unknown->config.card.value.clear();
    place_ = unknown;
    open();
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    guard_->on_message({.client_id = "krita",
                        .bytes = R"({"type": "execution_start", "data": {"prompt_id": "job-a"}})"});
    // The next client's prompt hears it before the guard's own thread has made a forecast.
    (void)post(prompt_text(512, 512), "job-b");
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    EXPECT_FALSE(was_told("job_over_line")) << testing::PrintToString(warnings_);
}

TEST_F(Watched, a_stall_is_interrupted_and_sent_again_also_where_nothing_smaller_helps) {
    begin();
    step(1, 3);
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    // An hour in which nothing moves.
    clock_.advance(milliseconds(3'600'000));
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    EXPECT_TRUE(was_told("job_stall"));
    ASSERT_EQ(comfyui_.cancels, 1);
    turn(8);
    EXPECT_EQ(comfyui_.posted.size(), 2U);
    EXPECT_EQ(guard_->counts().retried, 1);
}

TEST_F(Watched, silence_is_no_stall_where_the_jobs_owner_does_not_listen) {
    begin();
    step(1, 3);
    guard_->on_client("krita", false);
    clock_.advance(milliseconds(3'600'000));
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    EXPECT_FALSE(was_told("job_stall"));
    EXPECT_EQ(comfyui_.cancels, 0);
}

TEST_F(Watched, a_comfyui_that_does_not_let_go_of_a_stalled_job_is_started_anew) {
    begin();
    step(1, 3);
    comfyui_.obeys = false;
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    clock_.advance(milliseconds(3'600'000));
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    ASSERT_EQ(comfyui_.cancels, 1);
    EXPECT_EQ(restarts_, 0);
    turn(2, 200'000);
    EXPECT_EQ(restarts_, 1);
    turn(2);
    EXPECT_EQ(restarts_, 1);
    comfyui_.restart();
    comfyui_.obeys = true;
    turn(20);
    EXPECT_EQ(comfyui_.posted.size(), 2U);
    EXPECT_EQ(guard_->counts().failed, 0);
}

TEST_F(Watched, a_creep_is_interrupted_and_drawn_again_as_it_is_on_a_freed_card) {
    law_.unet_mib = 2'000;  // under the line also with all weights on the card
    begin();
    const auto creep_to_step = [&](int last) {
        for (int i = 1; i < last && comfyui_.cancels == 0; ++i) {
            sample(Bytes::from_mib(2'300 + 150 * i), Bytes::from_mib(4'500));
            step(i, 3);
        }
    };
    creep_to_step(7);
    EXPECT_TRUE(was_told("job_creep")) << testing::PrintToString(warnings_);
    ASSERT_EQ(comfyui_.cancels, 1);
    turn(8);
    EXPECT_EQ(comfyui_.frees, 1);
    ASSERT_EQ(comfyui_.posted.size(), 2U);
    const HeldView held = view("job-a");
    ASSERT_FALSE(held.facts.events.empty());
    EXPECT_THAT(held.facts.events, testing::Contains(HasSubstr("every step leaves more")));
    EXPECT_EQ(held.facts.tries.plan_level, 0);
    EXPECT_THAT(held.facts.edits, IsEmpty());
}

TEST_F(Watched, a_drift_is_planned_anew_with_room_for_what_it_took_more) {
    law_.unet_mib = 2'000;
    begin({}, prompt_text(1'792, 1'792));
    const Bytes line = place_->budget.load_line;
    // 2.9 GiB are forecast for the sampler, 4.0 for the decode.
    for (int i = 1; i < 6 && comfyui_.cancels == 0; ++i) {
        sample(Bytes::from_mib(3'600), Bytes::from_mib(4'500));
        step(i, 3);
    }
    EXPECT_TRUE(was_told("job_drift")) << testing::PrintToString(warnings_);
    ASSERT_EQ(comfyui_.cancels, 1);
    turn(8);
    ASSERT_EQ(comfyui_.bodies.size(), 1U);  // the first went with its client's own request
    EXPECT_THAT(comfyui_.bodies[0], HasSubstr("VAEDecodeTiled"));
    const HeldView held = view("job-a");
    EXPECT_GT(held.facts.drift, 1.5);
    const auto fields = gateway::parse_prompt_body(comfyui_.bodies[0]).value();
    const auto again = law_({.workflow = std::string(part(comfyui_.bodies[0], *fields.prompt)),
                             .reserve_vram = std::nullopt});
    for (const memory::Phase& phase : again.value().memory.phases)
        EXPECT_LE(phase.peak.mib() + (held.facts.drift - 1) * phase.activations.mib(), line.mib());
}

TEST_F(Watched, under_advise_heat_is_said_and_what_runs_goes_on) {
    GuardOptions options;
    options.policy = Policy::Advise;
    begin(std::move(options));
    for (int i = 0; i < 40; ++i) {
        clock_.advance(milliseconds(1000));
        service::CardSample sample;
        sample.at_ms = clock_.unix_ms();
        sample.look.heat.temperature_c = 99;
        sample.look.limits = {.max_operating_c = 89, .slowdown_c = 97};
        guard_->on_sample(sample);
    }
    turn();
    EXPECT_TRUE(was_told("heat_critical"));
    EXPECT_EQ(comfyui_.cancels, 0);
}

TEST_F(Watched, under_advise_it_is_said_and_nothing_else) {
    GuardOptions options;
    options.policy = Policy::Advise;
    begin(std::move(options));
    step(1, 3);
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    clock_.advance(milliseconds(3'600'000));
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    EXPECT_TRUE(was_told("job_stall"));
    EXPECT_EQ(comfyui_.cancels, 0);
}

TEST_F(Watched, a_gateway_that_dies_while_it_interrupts_does_not_take_it_for_its_clients_wish) {
    begin();
    step(1, 3);
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    clock_.advance(milliseconds(3'600'000));
    sample(Bytes::from_mib(3000), Bytes::from_mib(4000));
    ASSERT_EQ(comfyui_.cancels, 1);
    open();  // killed before it saw the end
    turn(8);
    EXPECT_EQ(comfyui_.posted.size(), 2U);
    EXPECT_EQ(guard_->counts().cancelled, 0);
}

TEST_F(Watched, a_run_on_a_card_that_slowed_itself_down_teaches_nothing) {
    begin();
    service::CardSample sample;
    sample.at_ms = clock_.unix_ms();
    sample.allocated = Bytes::from_mib(3000);
    sample.look.heat.temperature_c = 85;
    sample.look.heat.throttled = true;
    sample.look.limits = {.max_operating_c = 83, .slowdown_c = 93};
    guard_->on_sample(sample);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    const auto runs = store_.list_runs({}, {}).value().runs;
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].outcome, history::Outcome::Done);
    EXPECT_EQ(runs[0].observed_seconds, std::nullopt);
    EXPECT_EQ(runs[0].observed_peak, std::nullopt);
    EXPECT_THAT(runs[0].error, HasSubstr("slowed itself down"));
}

}  // namespace
}  // namespace plimsoll::guard
