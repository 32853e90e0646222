// SPDX-License-Identifier: Apache-2.0
//
// Goal: what is deleted is a latent of ours and nothing else, whatever lies in the folder. Method:
// a folder of the test's own with files, links and folders of near names.
#include "guard/latent_files.h"

#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace plimsoll::guard {
namespace {

namespace fs = std::filesystem;
using testing::UnorderedElementsAre;

const std::string kStem = "0d4c9d2e-51b4-4f3c-9a76-2f1d9a3c7b10";
const std::string kOther = "7e0f2c11-9b7a-4b6e-8a55-1c2d3e4f5a6b";

class LatentFiles : public testing::Test {
  protected:
    void SetUp() override {
        Random random(os_seed());
        output_ = fs::path(testing::TempDir()) / random.next_uuid();
        fs::create_directories(output_ / "plimsoll");
    }
    void TearDown() override { fs::remove_all(output_); }
    void write(const fs::path& path) const { std::ofstream(output_ / path) << "x"; }
    void make_old(const fs::path& path) const {
        fs::last_write_time(output_ / path,
                            fs::file_time_type::clock::now() - std::chrono::hours(25));
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& one : fs::recursive_directory_iterator(output_))
            if (!one.is_directory()) all.push_back(one.path().filename().string());
        return all;
    }
    [[nodiscard]] static std::int64_t now_ms() {
        return std::chrono::duration_cast<std::chrono::milliseconds>(
                   std::chrono::system_clock::now().time_since_epoch())
            .count();
    }
    [[nodiscard]] std::vector<std::string> guesses() const {
        return {"/nowhere/at/all", output_.string()};
    }
    fs::path output_;
};

TEST_F(LatentFiles, all_of_a_stem_goes_and_nothing_else) {
    write("plimsoll/" + kStem + "_00001_.latent");
    write("plimsoll/" + kStem + "_00002_.latent");
    write("plimsoll/" + kOther + "_00001_.latent");
    write("plimsoll/" + kStem + "_00001_.png");
    write("plimsoll/" + kStem + "_x_.latent");
    write(kStem + "_00001_.latent");  // the user's own place
    EXPECT_EQ(delete_latents(guesses(), kStem), 2U);
    EXPECT_THAT(names(), UnorderedElementsAre(kOther + "_00001_.latent", kStem + "_00001_.png",
                                              kStem + "_x_.latent", kStem + "_00001_.latent"));
    EXPECT_EQ(delete_latents(guesses(), kStem), 0U);
}

TEST_F(LatentFiles, no_link_is_followed) {
    const fs::path elsewhere = output_ / "elsewhere";
    fs::create_directories(elsewhere);
    write("elsewhere/" + kStem + "_00001_.latent");
    fs::create_symlink(elsewhere / (kStem + "_00001_.latent"),
                       output_ / "plimsoll" / (kStem + "_00002_.latent"));
    EXPECT_EQ(delete_latents(guesses(), kStem), 0U);
    fs::remove_all(output_ / "plimsoll");
    fs::create_directory_symlink(elsewhere, output_ / "plimsoll");
    EXPECT_EQ(delete_latents(guesses(), kStem), 0U);
    EXPECT_TRUE(fs::exists(elsewhere / (kStem + "_00001_.latent")));
}

TEST_F(LatentFiles, a_sweep_takes_what_is_old_and_no_held_job_s) {
    const std::string held = "11111111-2222-4333-8444-555555555555";
    for (const std::string& stem : {kStem, kOther, held})
        write("plimsoll/" + stem + "_00001_.latent");
    make_old("plimsoll/" + kStem + "_00001_.latent");
    make_old("plimsoll/" + held + "_00001_.latent");
    EXPECT_EQ(sweep_latents(guesses(), {held}, now_ms()), 1U);
    EXPECT_THAT(names(), UnorderedElementsAre(kOther + "_00001_.latent", held + "_00001_.latent"));
}

TEST(StemOfLatent, is_a_uuid_and_a_number_or_nothing) {
    EXPECT_EQ(stem_of_latent(kStem + "_00001_.latent"), kStem);
    EXPECT_EQ(stem_of_latent(kStem + "_123456_.latent"), kStem);
    for (const std::string& none :
         {std::string(), std::string("_.latent"), kStem, kStem + "_.latent", kStem + "__.latent",
          kStem + "_-1_.latent", "x" + kStem + "_00001_.latent", kStem + "_00001_.latent.png",
          "../" + kStem + "_00001_.latent", std::string("ComfyUI_00001_.latent")})
        EXPECT_FALSE(stem_of_latent(none)) << none;
}

}  // namespace
}  // namespace plimsoll::guard
