// SPDX-License-Identifier: Apache-2.0
// Goal: what is too old goes, pictures before runs, and nothing else on the disk. Method: a store
// in memory, files in a folder.
#include "service/retention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace plimsoll::service {
namespace {

constexpr std::int64_t kNowMs = 1'764'000'000'000;
constexpr std::int64_t kDayMs = 86'400'000;

class Retention : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = testing::TempDir() + fmt::format("plimsoll_retention_{}", ::getpid());
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_ / "output");
        config_.output_dir.value = folder_ / "output";
        for (int days = 0; days < 10; ++days) {
            history::RunRecord run;
            run.run_id = fmt::format("r{}", days);
            run.started_ms = kNowMs - days * kDayMs - 1;
            run.images = {file(fmt::format("output/{}.png", days))};
            ASSERT_TRUE(store_.record_run(run));
        }
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string file(const std::string& name) const {
        std::ofstream(folder_ / name) << "picture";
        return (folder_ / name).string();
    }
    RetentionReport apply() {
        return apply_retention(store_, config_, kNowMs, std::atomic<bool>(false)).value();
    }
    [[nodiscard]] bool has(int picture) const {
        return std::filesystem::exists(folder_ / fmt::format("output/{}.png", picture));
    }

    std::filesystem::path folder_;
    Config config_;
    history::MemoryStore store_;
};

TEST_F(Retention, keeps_everything_unless_it_is_told_otherwise) {
    EXPECT_FALSE(has_retention(config_));
    EXPECT_FALSE(apply().did_anything());
    EXPECT_EQ(store_.count_runs({}).value(), 10);
    EXPECT_TRUE(has(9));
}

TEST_F(Retention, deletes_old_pictures_and_keeps_their_runs) {
    config_.pictures_days.value = 3;
    const RetentionReport report = apply();
    EXPECT_EQ(report.pictures_deleted, 7);
    EXPECT_EQ(report.picture_bytes, 7 * 7U);
    EXPECT_TRUE(has(2));
    EXPECT_FALSE(has(3));
    EXPECT_EQ(store_.count_runs({}).value(), 10);
    EXPECT_TRUE(store_.read_run("r5").value().images.empty());
    EXPECT_FALSE(apply().did_anything());
}

TEST_F(Retention, takes_runs_by_age_and_number_and_their_statistics_stay) {
    config_.history_days.value = 8;
    EXPECT_EQ(apply().runs_retired, 2);
    config_.history_runs.value = 5;
    EXPECT_EQ(apply().runs_retired, 3);
    EXPECT_EQ(store_.count_runs({}).value(), 5);
    EXPECT_TRUE(store_.read_run("r4"));
    EXPECT_FALSE(store_.read_run("r5"));
    EXPECT_EQ(store_.stats_of({}, history::StatsBy::All).value().at(0).runs, 10);
    EXPECT_TRUE(has(9)) << "no rule is about pictures";
}

TEST_F(Retention, pictures_go_before_their_runs) {
    config_.history_days.value = 3;
    config_.pictures_days.value = 9;
    const RetentionReport report = apply();
    EXPECT_EQ(report.pictures_deleted, 7);
    EXPECT_EQ(report.runs_retired, 7);
}

TEST_F(Retention, leaves_files_outside_the_output_folder_alone) {
    history::RunRecord run;
    run.run_id = "far";
    run.started_ms = 1;
    std::filesystem::create_symlink(folder_ / "precious.png", folder_ / "output/link.png");
    run.images = {file("precious.png"), (folder_ / "output/link.png").string(),
                  (folder_ / "output/../precious.png").string(),
                  (folder_ / "output/gone.png").string()};
    ASSERT_TRUE(store_.record_run(run));
    config_.pictures_days.value = 100;
    const RetentionReport report = apply();
    EXPECT_EQ(report.pictures_deleted, 0);
    EXPECT_EQ(report.pictures_elsewhere, 3);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "precious.png"));
}

TEST_F(Retention, an_error_of_the_store_is_an_error_and_loses_no_run) {
    config_.pictures_days.value = 3;
    config_.history_days.value = 3;
    int calls = 0;
    for (;; ++calls) {
        store_.fail_at(calls);
        if (apply_retention(store_, config_, kNowMs, std::atomic<bool>(false))) break;
        ASSERT_LT(calls, 100);
    }
    store_.fail_at(-1);
    EXPECT_GT(calls, 3);
    EXPECT_EQ(store_.count_runs({}).value(), 3);
}

}  // namespace
}  // namespace plimsoll::service
