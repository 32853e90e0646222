// SPDX-License-Identifier: Apache-2.0
//
// Goal: a run is recorded as its workflow says. Method: workflows as text, no server.
#include "service/run_record.h"

#include "service/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using testing::ElementsAre;

TEST(RunRecord, settings_and_prompt_come_from_the_workflow_itself) {
    const std::string workflow = R"({
      "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["4", 1]}},
      "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
      "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 8}},
      "11": {"class_type": "LatentFromBatch", "inputs": {"samples": ["5", 0], "batch_index": 4, "length": 3}},
      "3": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "steps": 28, "cfg": 5.5,
            "sampler_name": "euler", "scheduler": "karras", "latent_image": ["11", 0], "positive": ["6", 0],
            "negative": ["7", 0], "model": ["4", 0]}}})";
    const history::Settings settings = settings_of_workflow(workflow);
    EXPECT_EQ(settings.width, 832);
    EXPECT_EQ(settings.height, 1216);
    EXPECT_EQ(settings.batch, 3);  // the part of this run
    EXPECT_EQ(settings.steps, 28);
    EXPECT_EQ(settings.cfg, 5.5);
    EXPECT_EQ(settings.sampler, "euler");
    EXPECT_EQ(settings.seed, "18446744073709551615");
    EXPECT_EQ(prompt_of_workflow(workflow), "a lighthouse");
}

TEST(RunRecord, what_a_workflow_does_not_say_stays_empty) {
    const history::Settings settings =
        settings_of_workflow(R"({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})");
    EXPECT_EQ(settings.width, 0);
    EXPECT_EQ(settings.seed, "");
    EXPECT_EQ(settings_of_workflow("no workflow"), history::Settings{});
    EXPECT_EQ(prompt_of_workflow("no workflow"), "");
}

TEST(RunRecord, of_a_card_that_slowed_itself_down_nothing_is_kept_to_learn_from) {
    history::RunRecord record;
    record.outcome = history::Outcome::Done;
    record.forecast_seconds = 30;
    record.observed_seconds = 55;
    record.observed_peak = Bytes::from_gib(3);
    record.observed_used = Bytes::from_gib(4);
    record.phases.push_back({});
    record.phases[0].observed_seconds = 50;
    record.phases[0].observed_peak = Bytes::from_gib(3);
    keep_out_of_learning(record);
    EXPECT_EQ(record.observed_seconds, std::nullopt);
    EXPECT_EQ(record.observed_peak, std::nullopt);
    EXPECT_EQ(record.observed_used, std::nullopt);
    EXPECT_EQ(record.phases[0].observed_seconds, std::nullopt);
    EXPECT_EQ(record.phases[0].observed_peak, std::nullopt);
    EXPECT_EQ(record.forecast_seconds, 30);
    EXPECT_THAT(record.error, testing::HasSubstr("slowed itself down"));
    record.error = "out of memory";
    keep_out_of_learning(record);
    EXPECT_EQ(record.error, "out of memory");
}

TEST(Launch, the_reserve_is_set_once_whatever_the_flags_said) {
    EXPECT_THAT(words_of("  --lowvram   --port 1 "), ElementsAre("--lowvram", "--port", "1"));
    const Bytes reserve = Bytes::from_gib(1.6);
    EXPECT_THAT(with_reserve({}, reserve), ElementsAre("--reserve-vram", "1.6"));
    EXPECT_THAT(with_reserve({"--reserve-vram", "0.4", "--lowvram"}, reserve),
                ElementsAre("--lowvram", "--reserve-vram", "1.6"));
    EXPECT_THAT(with_reserve({"--reserve-vram=0.4"}, reserve),
                ElementsAre("--reserve-vram", "1.6"));
}

}  // namespace
}  // namespace plimsoll::service
