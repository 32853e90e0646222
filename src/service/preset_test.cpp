// SPDX-License-Identifier: Apache-2.0
//
// Goal: wishes survive a preset, flags beat it, odd presets are told. Method: plain values.
#include "service/preset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;

history::Preset preset_of(std::string settings) {
    return {.name = "mine", .settings_json = std::move(settings), .saved_ms = 0};
}

TEST(Preset, wishes_come_back_as_they_were_saved) {
    JobRequest wishes;
    wishes.model = "sdxl-base";
    wishes.width = 832;
    wishes.cfg = 6.5;
    wishes.seed = 18446744073709551615ULL;
    wishes.quality = advisor::Quality::High;
    wishes.vae_tiling = true;
    const std::string settings = encode_wishes(wishes).value();
    EXPECT_EQ(settings, R"({"model":"sdxl-base","width":832,"cfg":6.5E0,"quality":"high",)"
                        R"("seed":18446744073709551615,"vaeTiling":true})");
    JobRequest read;
    EXPECT_TRUE(apply_preset(preset_of(settings), read)->empty());
    EXPECT_EQ(read.model, wishes.model);
    EXPECT_EQ(read.width, wishes.width);
    EXPECT_EQ(read.height, std::nullopt);
    EXPECT_EQ(read.cfg, wishes.cfg);
    EXPECT_EQ(read.seed, wishes.seed);
    EXPECT_EQ(read.quality, wishes.quality);
    EXPECT_TRUE(read.vae_tiling);
}

TEST(Preset, what_the_request_says_stays) {
    JobRequest request;
    request.family = "sd15";
    request.width = 640;
    ASSERT_TRUE(
        apply_preset(preset_of(R"({"model":"sdxl-base","width":832,"height":512})"), request));
    EXPECT_EQ(request.model, std::nullopt);  // a family was named instead
    EXPECT_EQ(request.width, 640);
    EXPECT_EQ(request.height, 512);
}

TEST(Preset, a_field_of_a_wrong_type_is_named_and_an_unknown_one_left_out) {
    JobRequest request;
    EXPECT_THAT(apply_preset(preset_of(R"({"width":"wide"})"), request).error().message,
                HasSubstr("width must be a whole number"));
    EXPECT_THAT(apply_preset(preset_of(R"({"quality":"best"})"), request).error().message,
                HasSubstr("draft, optimized, high, ultra"));
    EXPECT_THAT(apply_preset(preset_of(R"({"seed":-1})"), request).error().message,
                HasSubstr("seed must be"));
    EXPECT_THAT(apply_preset(preset_of(R"({"dpi":300})"), request).value(),
                testing::ElementsAre(HasSubstr("dpi is not known")));
}

TEST(Preset, nothing_to_save_is_an_error_that_lists_what_can_be_saved) {
    EXPECT_THAT(encode_wishes({}).error().message, HasSubstr("--sampler"));
    JobRequest file;
    file.file = "workflow.json";
    EXPECT_EQ(encode_wishes(file).error().code, Errc::InvalidInput);
}

}  // namespace
}  // namespace plimsoll::service
