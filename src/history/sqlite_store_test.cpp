// SPDX-License-Identifier: Apache-2.0
//
// Goal: hostile conditions give clear errors and lose nothing. Method: real files, a second
// process, a page limit for a full disk.
#include "history/sqlite_store.h"

#include "history/schema.h"
#include "history/sums.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace plimsoll::history {
namespace {

using testing::HasSubstr;

using Perms = std::filesystem::perms;
constexpr Perms kReadOnly = Perms::owner_read | Perms::owner_exec | Perms::group_read |
                            Perms::group_exec | Perms::others_read | Perms::others_exec;

class SqliteFile : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_history_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override {
        std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
        std::filesystem::remove_all(folder_);
    }
    [[nodiscard]] std::filesystem::path file() const { return folder_ / "history.db"; }
    std::filesystem::path folder_;
};

RunRecord numbered_run(int number) {
    RunRecord run;
    run.run_id = fmt::format("run-{:05}", number);
    run.started_ms = number;
    run.outcome = Outcome::Done;
    return run;
}

// Words have no summaries: what a common one finds is added up as far as it is bounded, the newest
// runs; a count is exact.
TEST_F(SqliteFile, adds_up_the_newest_runs_of_a_search_by_words_and_no_more) {
    auto store = SqliteStore::create(file()).value();
    std::vector<RunRecord> runs;
    const int all = kSummedByWordsMax + 100;
    for (int i = 0; i < all; ++i) {
        runs.push_back(numbered_run(i));
        runs.back().prompt = i % 1000 == 0 ? "a rare lighthouse" : "a lighthouse";
        runs.back().started_ms = i < 100 ? 0 : kDayMs;
    }
    ASSERT_TRUE(store->record_runs(runs));
    const RunFilter common{.text = "lighthouse"};
    EXPECT_EQ(store->count_runs(common).value(), all);
    EXPECT_EQ(store->stats_of(common, StatsBy::All).value().at(0).runs, kSummedByWordsMax);
    const auto days = store->stats_of(common, StatsBy::Day).value();
    ASSERT_EQ(days.size(), 1U);  // the oldest hundred are those that are left out
    EXPECT_EQ(days.at(0).key, "1970-01-02");
    EXPECT_EQ(store->stats_of({.text = "rare"}, StatsBy::All).value().at(0).runs,
              1 + (all - 1) / 1000);
    // Days narrow before the bound is reached.
    const RunFilter first_day{.before_ms = kDayMs, .text = "lighthouse"};
    EXPECT_EQ(store->stats_of(first_day, StatsBy::All).value().at(0).runs, 100);
}

std::string bytes_of(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// Root may write anywhere, so the test gives up root for as long as it needs a read-only folder.
class WithoutRoot {
  public:
    WithoutRoot() {
        if (::geteuid() == 0) changed_ = ::seteuid(65534) == 0;  // nobody
    }
    ~WithoutRoot() {
        if (changed_ && ::seteuid(0) != 0) std::abort();
    }
    WithoutRoot(const WithoutRoot&) = delete;
    WithoutRoot& operator=(const WithoutRoot&) = delete;

  private:
    bool changed_ = false;
};

TEST_F(SqliteFile, keeps_runs_when_it_is_opened_again) {
    ASSERT_TRUE(SqliteStore::create(folder_ / "new" / "folder" / "h.db")
                    .value()
                    ->record_run(numbered_run(1)));
    EXPECT_EQ(SqliteStore::create(folder_ / "new" / "folder" / "h.db")
                  .value()
                  ->read_run("run-00001")
                  .value(),
              numbered_run(1));
}

TEST_F(SqliteFile, every_older_schema_is_migrated_and_keeps_its_rows) {
    // Method: a file as each older Plimsoll left it (tests/data/history), opened by this one.
    for (int version = 1; version < kSchemaVersion; ++version) {
        SCOPED_TRACE(fmt::format("schema {}", version));
        std::filesystem::remove(file());
        {
            SQLite::Database old(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            std::ifstream sql(fmt::format("{}/history/schema{}.sql", PLIMSOLL_TEST_DATA, version));
            ASSERT_TRUE(sql) << "a schema without a fixture";
            old.exec(std::string(std::istreambuf_iterator<char>(sql), {}));
        }
        auto opened = SqliteStore::create(file());
        ASSERT_TRUE(opened) << opened.error().message;
        const auto store = std::move(*opened);
        const RunRecord run = store->read_run("old-run").value();
        EXPECT_EQ(run.model, "sdxl-base");
        EXPECT_EQ(run.settings.seed, "18446744073709551615");
        EXPECT_EQ(run.observed_peak, std::nullopt);
        EXPECT_EQ(run.observed_used.has_value(), version >= 3);
        EXPECT_EQ(run.card_total.has_value(), version >= 3);
        ASSERT_EQ(run.phases.size(), 1U);
        EXPECT_EQ(run.phases[0].observed_peak, Bytes(4000000000));
        EXPECT_EQ(run.images, std::vector<std::string>{"/pictures/dragon.png"});
        EXPECT_EQ(store->load_preset("portrait").value().settings_json, R"({"steps": 30})");
        EXPECT_EQ(store->list_jobs().value().size(), version >= 4 ? 1U : 0U);
        // What is kept beside the runs knows the run, too.
        EXPECT_EQ(store->count_runs({.model = "sdxl-base", .verdict = "fits_slowly"}), 1);
        EXPECT_EQ(store->list_runs({.text = "DRAGON"}, {}).value().runs.size(), 1U);
        EXPECT_EQ(store->list_runs({.card = run.card}, {}).value().runs.size(), 1U);
        const auto stats =
            store->stats_of({.before_ms = run.started_ms + 100 * kDayMs}, StatsBy::Model).value();
        ASSERT_EQ(stats.size(), 1U);
        // Schema 5 knows of runs that retention took; older ones kept all.
        EXPECT_EQ(stats[0].runs, version >= 5 ? 3 : 1);
        EXPECT_NEAR(stats[0].seconds_mean.value(), 60.25, 1e-9);
        EXPECT_EQ(store->fastest_settings("sdxl-base", 1).value().size(), 1U);
        EXPECT_TRUE(store->check_integrity());
        SQLite::Database raw(file().string());
        EXPECT_EQ(raw.execAndGet("PRAGMA user_version").getInt(), kSchemaVersion);
    }
}

TEST_F(SqliteFile, leaves_a_file_of_a_newer_plimsoll_untouched) {
    {
        SQLite::Database newer(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        newer.exec("CREATE TABLE runs (x)");
        newer.exec("PRAGMA user_version = 999");
    }
    const std::string before = bytes_of(file());
    const auto store = SqliteStore::create(file());
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::InvalidInput);
    EXPECT_THAT(store.error().message, HasSubstr("newer Plimsoll (schema 999"));
    EXPECT_EQ(bytes_of(file()), before);
}

TEST_F(SqliteFile, leaves_a_database_of_another_program_untouched) {
    {
        SQLite::Database other(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        other.exec("CREATE TABLE bookmarks (x)");
    }
    const std::string before = bytes_of(file());
    EXPECT_THAT(SqliteStore::create(file()).error().message, HasSubstr("another program"));
    EXPECT_EQ(bytes_of(file()), before);
}

TEST_F(SqliteFile, names_a_damaged_file_and_the_way_out_and_keeps_it) {
    const std::string garbage(9000, 'x');
    std::ofstream(file()) << garbage;
    const auto store = SqliteStore::create(file());
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::Corrupt);
    EXPECT_THAT(store.error().message, HasSubstr(file().string()));
    EXPECT_THAT(store.error().message, HasSubstr("moves it aside"));
    EXPECT_EQ(bytes_of(file()), garbage);
}

TEST_F(SqliteFile, damage_inside_the_file_is_an_error_not_wrong_rows) {
    // Overwrites every page but the first: headers look fine, rows are gone.
    {
        const auto store = SqliteStore::create(file()).value();
        for (int i = 0; i < 300; ++i) ASSERT_TRUE(store->record_run(numbered_run(i)));
    }
    {
        std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
        const auto size = std::filesystem::file_size(file());
        stream.seekp(4096);
        stream << std::string(size - 4096, '\x5a');
    }
    auto store = SqliteStore::create(file());
    const auto error = store ? (*store)->check_integrity().error() : store.error();
    EXPECT_EQ(error.code, Errc::Corrupt);
    if (store) {
        EXPECT_EQ((*store)->list_runs({}, {}).error().code, Errc::Corrupt);
    }
}

TEST_F(SqliteFile, a_full_disk_is_named_and_what_was_saved_stays) {
    // 40 pages of 4 KiB hold the schema and a few runs with a long prompt.
    const auto store = SqliteStore::create(file(), {.pages_max = 40}).value();
    int saved = 0;
    Error full;
    for (int i = 0; i < 200 && full.message.empty(); ++i) {
        RunRecord run = numbered_run(i);
        run.prompt = std::string(3000, 'p');
        if (const auto recorded = store->record_run(run); recorded)
            ++saved;
        else
            full = recorded.error();
    }
    EXPECT_GT(saved, 0);
    EXPECT_EQ(full.code, Errc::Unavailable);
    EXPECT_THAT(full.message, HasSubstr("the disk is full, nothing was changed"));
    EXPECT_EQ(store->count_runs({}).value(), saved);
    EXPECT_TRUE(store->check_integrity());
    // Space is there again: the same file goes on.
    const auto again = SqliteStore::create(file()).value();
    EXPECT_TRUE(again->record_run(numbered_run(500)));
    EXPECT_EQ(again->count_runs({}).value(), saved + 1);
}

TEST_F(SqliteFile, a_disk_that_fills_during_migration_leaves_the_old_schema_whole) {
    {
        SQLite::Database old(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        old.exec(kMigrations[0]);
        old.exec("PRAGMA user_version = 1");
    }
    const auto pages = static_cast<int>(std::filesystem::file_size(file()) / 4096);
    const auto store = SqliteStore::create(file(), {.pages_max = pages});
    ASSERT_FALSE(store);
    EXPECT_THAT(store.error().message, HasSubstr("disk is full"));
    EXPECT_TRUE(SqliteStore::create(file()));
}

TEST_F(SqliteFile, a_read_only_home_is_named_with_the_way_out) {
    std::filesystem::permissions(folder_, kReadOnly);
    const WithoutRoot dropped;
    for (const auto& path : {file(), folder_ / "sub" / "history.db"}) {
        const auto store = SqliteStore::create(path);
        ASSERT_FALSE(store);
        EXPECT_EQ(store.error().code, Errc::Unavailable);
        EXPECT_THAT(store.error().message, HasSubstr("PLIMSOLL_HOME"));
    }
}

TEST_F(SqliteFile, history_in_a_read_only_home_can_still_be_read) {
    ASSERT_TRUE(SqliteStore::create(file()).value()->record_run(numbered_run(7)));
    std::filesystem::permissions(folder_, kReadOnly);
    const WithoutRoot dropped;
    const auto store = SqliteStore::create(file(), {.access = Access::ReadOnly});
    ASSERT_TRUE(store) << store.error().message;
    EXPECT_EQ((*store)->read_run("run-00007").value(), numbered_run(7));
    EXPECT_EQ((*store)->record_run(numbered_run(8)).error().code, Errc::Unavailable);
}

TEST_F(SqliteFile, two_processes_write_one_file_and_lose_nothing) {
    // Both create the file, migrate it and write at the same time.
    constexpr int kEach = 60;
    std::vector<pid_t> children;
    for (int child = 0; child < 2; ++child) {
        const pid_t pid = ::fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
            auto store = SqliteStore::create(file(), {.busy_timeout_ms = 30'000});
            Result<void> recorded;
            if (!store) recorded = std::unexpected(store.error());
            for (int i = 0; recorded && i < kEach; ++i)
                recorded = (*store)->record_run(numbered_run(child * 1000 + i));
            if (!recorded) std::fprintf(stderr, "%s\n", recorded.error().message.c_str());
            ::_exit(recorded ? 0 : 1);
        }
        children.push_back(pid);
    }
    for (const pid_t pid : children) {
        int status = 0;
        ASSERT_EQ(::waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(SqliteStore::create(file()).value()->count_runs({}).value(), 2 * kEach);
}

TEST_F(SqliteFile, a_process_that_keeps_the_file_locked_is_an_error_after_the_timeout) {
    const auto store = SqliteStore::create(file(), {.busy_timeout_ms = 20}).value();
    SQLite::Database other(file().string(), SQLite::OPEN_READWRITE);
    other.exec("BEGIN IMMEDIATE");
    const auto recorded = store->record_run(numbered_run(1));
    ASSERT_FALSE(recorded);
    EXPECT_EQ(recorded.error().code, Errc::Unavailable);
    EXPECT_THAT(recorded.error().message, HasSubstr("another process"));
    other.exec("ROLLBACK");
    EXPECT_TRUE(store->record_run(numbered_run(1)));
}

}  // namespace
}  // namespace plimsoll::history
