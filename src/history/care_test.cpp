// SPDX-License-Identifier: Apache-2.0
//
// Goal: a backup is whole or is not there, a check finds what is wrong, a restore loses nothing.
// Method: real files, damaged by hand.
#include "history/care.h"

#include "history/sqlite_connection.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace plimsoll::history {
namespace {

using testing::HasSubstr;

RunRecord run_number(int number) {
    RunRecord run;
    run.run_id = fmt::format("run-{:05}", number);
    run.started_ms = 1'700'000'000'000 + number * 60'000LL;
    run.model = "sdxl-base";
    run.settings.width = 512;
    run.settings.height = 512;
    run.settings.steps = 20;
    run.prompt = fmt::format("a lighthouse number {}", number);
    run.outcome = Outcome::Done;
    run.observed_seconds = 10;
    return run;
}

class Care : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_care_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::filesystem::path file() const { return folder_ / "history.db"; }
    [[nodiscard]] std::filesystem::path copy() const { return folder_ / "copy.db"; }

    [[nodiscard]] std::unique_ptr<SqliteStore> filled(int runs) const {
        auto store = SqliteStore::create(file()).value();
        for (int i = 0; i < runs; ++i) EXPECT_TRUE(store->record_run(run_number(i)));
        EXPECT_TRUE(store->save_preset({"portrait", R"({"steps":30})", 7}));
        return store;
    }
    std::filesystem::path folder_;
};

TEST_F(Care, a_backup_holds_what_was_there_while_others_go_on_writing) {
    const auto store = filled(30);
    const auto report = back_up(file(), copy());
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->runs, 30);
    EXPECT_EQ(report->presets, 1);
    ASSERT_TRUE(store->record_run(run_number(30)));
    const auto kept = SqliteStore::create(copy(), {.access = Access::ReadOnly}).value();
    EXPECT_EQ(kept->count_runs({}).value(), 30);
    EXPECT_EQ(kept->read_run("run-00007").value(), run_number(7));
    EXPECT_FALSE(std::filesystem::exists(copy().string() + "-wal"));
    EXPECT_FALSE(std::filesystem::exists(copy().string() + ".partial"));
    // An older backup is replaced.
    EXPECT_EQ(back_up(file(), copy()).value().runs, 31);
}

TEST_F(Care, a_backup_replaces_no_other_file_and_not_the_history) {
    const auto store = filled(1);
    std::ofstream(folder_ / "photo.png") << "a photo";
    for (const auto& to : {folder_ / "photo.png", file(), folder_ / "." / "history.db"})
        EXPECT_EQ(back_up(file(), to).error().code, Errc::InvalidInput) << to;
    std::ifstream photo(folder_ / "photo.png");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(photo), {}), "a photo");
    EXPECT_EQ(back_up(folder_ / "none.db", copy()).error().code, Errc::NotFound);
    EXPECT_EQ(back_up(file(), folder_ / "no folder" / "copy.db").error().code, Errc::Unavailable);
}

TEST_F(Care, a_backup_of_a_damaged_file_is_refused_and_leaves_nothing) {
    filled(300).reset();
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(5 * 4096);
    stream << std::string(20 * 4096, '\x5a');
    stream.close();
    EXPECT_EQ(back_up(file(), copy()).error().code, Errc::Corrupt);
    EXPECT_FALSE(std::filesystem::exists(copy()));
    EXPECT_FALSE(std::filesystem::exists(copy().string() + ".partial"));
}

TEST_F(Care, a_check_says_what_is_there_and_finds_damage) {
    filled(300).reset();
    const CheckReport sound = check_file(file()).value();
    EXPECT_TRUE(sound.is_sound()) << fmt::format("{}", sound.differences.size());
    EXPECT_EQ(sound.runs, 300);
    EXPECT_EQ(sound.presets, 1);
    EXPECT_EQ(sound.schema, kSchemaVersion);
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(30 * 4096);
    stream << std::string(4096, '\x5a');
    stream.close();
    EXPECT_FALSE(check_file(file()).value().damage.empty());
    EXPECT_EQ(check_file(folder_ / "none.db").error().code, Errc::NotFound);
}

TEST_F(Care, summaries_that_are_wrong_are_found_and_made_anew_from_the_runs) {
    const auto store = filled(20);
    store->connection().database.exec(
        "UPDATE day_sums SET seconds_sum = seconds_sum + 5; DELETE FROM run_facets WHERE run = 3");
    const CheckReport report = check_file(file()).value();
    EXPECT_TRUE(report.damage.empty());
    EXPECT_GE(report.differences.size(), 2U);
    ASSERT_TRUE(rebuild_summaries(file()));
    EXPECT_TRUE(check_file(file()).value().is_sound());
    EXPECT_EQ(store->list_runs({.text = "lighthouse 3"}, {}).value().runs.size(), 1U);
}

TEST_F(Care, a_check_knows_that_retention_takes_rows_and_leaves_sums) {
    const auto store = filled(20);
    ASSERT_EQ(store->retire_runs({.keep_newest = 5}, 100).value(), 15);
    EXPECT_TRUE(check_file(file()).value().is_sound());
    EXPECT_EQ(store->count_runs({}).value(), 5);
    EXPECT_EQ(store->stats_of({}, StatsBy::All).value().at(0).runs, 20);
    EXPECT_EQ(store->list_runs({.text = "lighthouse"}, {}).value().runs.size(), 5U);
}

TEST_F(Care, a_restore_takes_in_what_is_missing_and_changes_nothing_that_is_there) {
    filled(30).reset();
    ASSERT_TRUE(back_up(file(), copy()));
    const auto fresh = SqliteStore::create(folder_ / "fresh.db").value();
    RunRecord other = run_number(7);
    other.prompt = "the newer one";
    ASSERT_TRUE(fresh->record_run(other));
    const RestoreReport report = take_in(*fresh, copy(), Taking::RunsAndPresets).value();
    EXPECT_EQ(report.runs, 29);
    EXPECT_EQ(report.runs_known, 1);
    EXPECT_EQ(report.presets, 1);
    EXPECT_EQ(report.unreadable, 0);
    EXPECT_EQ(fresh->read_run("run-00007").value().prompt, "the newer one");
    EXPECT_EQ(fresh->count_runs({}).value(), 30);
    EXPECT_TRUE(check_file(folder_ / "fresh.db").value().is_sound());
    EXPECT_EQ(take_in(*fresh, copy(), Taking::RunsAndPresets).value().runs, 0);
}

TEST_F(Care, a_restore_reads_every_older_schema) {
    for (int version = 1; version < kSchemaVersion; ++version) {
        SCOPED_TRACE(version);
        std::filesystem::remove(copy());
        {
            SQLite::Database old(copy().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            std::ifstream sql(fmt::format("{}/history/schema{}.sql", PLIMSOLL_TEST_DATA, version));
            old.exec(std::string(std::istreambuf_iterator<char>(sql), {}));
        }
        std::filesystem::remove(file());
        const auto fresh = SqliteStore::create(file()).value();
        const auto report = take_in(*fresh, copy(), Taking::All);
        ASSERT_TRUE(report) << report.error().message;
        EXPECT_EQ(report->runs, 1);
        EXPECT_EQ(report->presets, 1);
        EXPECT_EQ(report->jobs, (version >= 4 ? 1 : 0) + (version >= 7 ? 1 : 0));
        EXPECT_EQ(fresh->read_run("old-run").value().prompt, "cute dragon character");
    }
}

TEST_F(Care, quality_sessions_come_along_with_their_pictures_and_votes) {
    const QualitySession session{.session_id = "s",
                                 .model = "sdxl-base",
                                 .created_ms = 5,
                                 .plan_json = "{}",
                                 .progress_json = "{}",
                                 .findings_json = "[]"};
    const QualityPicture picture{
        .session_id = "s", .candidate = 1, .block = 2, .picture_json = "{}"};
    const QualityVote vote{.vote_id = "v", .session_id = "s", .voted_ms = 6, .vote_json = "{}"};
    {
        const auto store = filled(1);
        ASSERT_TRUE(store->keep_session(session));
        ASSERT_TRUE(store->keep_picture(picture));
        ASSERT_TRUE(store->keep_vote(vote));
    }
    const auto fresh = SqliteStore::create(folder_ / "fresh.db").value();
    QualitySession newer = session;
    newer.progress_json = R"({"state":"done"})";
    ASSERT_TRUE(fresh->keep_session(newer));
    ASSERT_TRUE(take_in(*fresh, file(), Taking::RunsAndPresets));
    EXPECT_EQ(fresh->list_sessions().value(), std::vector<QualitySession>{newer});
    EXPECT_TRUE(fresh->list_pictures("s").value().empty());
    const auto empty = SqliteStore::create(folder_ / "empty.db").value();
    ASSERT_TRUE(take_in(*empty, file(), Taking::RunsAndPresets));
    EXPECT_EQ(empty->list_sessions().value(), std::vector<QualitySession>{session});
    EXPECT_EQ(empty->list_pictures("s").value(), std::vector<QualityPicture>{picture});
    EXPECT_EQ(empty->list_votes("s").value(), std::vector<QualityVote>{vote});
}

TEST_F(Care, after_damage_the_gateways_queue_is_taken_along_and_a_restore_leaves_it) {
    const HeldJob job{.prompt_id = "held",
                      .accepted_ms = 7,
                      .mark = {.turn = 3, .priority = 1, .sent = true, .attempts = 2},
                      .body = R"({"prompt": {}})",
                      .facts_json = "{}"};
    const Wall wall{"shape", 9, "too large"};
    {
        const auto store = filled(1);
        ASSERT_TRUE(store->keep_held(job));
        ASSERT_TRUE(store->keep_wall(wall));
    }
    const auto fresh = SqliteStore::create(folder_ / "fresh.db").value();
    ASSERT_TRUE(take_in(*fresh, file(), Taking::RunsAndPresets));
    EXPECT_TRUE(fresh->list_held().value().empty());
    EXPECT_EQ(take_in(*fresh, file(), Taking::All).value().jobs, 1);
    EXPECT_EQ(fresh->list_held().value(), std::vector<HeldJob>{job});
    EXPECT_EQ(fresh->list_walls().value(), std::vector<Wall>{wall});
}

TEST_F(Care, a_restore_of_a_damaged_file_saves_what_can_be_read) {
    filled(2000).reset();
    const auto pages = std::filesystem::file_size(file()) / 4096;
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(pages / 2 * 4096));
    stream << std::string(3 * 4096, '\x5a');
    stream.close();
    const auto fresh = SqliteStore::create(folder_ / "fresh.db").value();
    const auto report = take_in(*fresh, file(), Taking::RunsAndPresets);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_GT(report->runs, 1500);
    EXPECT_EQ(fresh->count_runs({}).value(), report->runs);
    EXPECT_TRUE(fresh->load_preset("portrait"));
    EXPECT_EQ(take_in(*fresh, folder_ / "none.db", Taking::All).error().code, Errc::NotFound);
}

}  // namespace
}  // namespace plimsoll::history
