// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever happens to the file, work goes on, the damaged file stays, and it is said what was
// kept. Method: files cut off, overwritten, with a torn log, damaged while they are open.
#include "history/renewing_store.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace plimsoll::history {
namespace {

using testing::HasSubstr;

RunRecord run_number(int number) {
    RunRecord run;
    run.run_id = fmt::format("run-{:05}", number);
    run.started_ms = 1'700'000'000'000 + number * 60'000LL;
    run.model = "sdxl-base";
    run.prompt = fmt::format("a lighthouse number {}", number);
    run.outcome = Outcome::Done;
    return run;
}

class Renewing : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_renew_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::filesystem::path file() const { return folder_ / "history.db"; }

    void fill(int runs) const {
        const auto store = SqliteStore::create(file()).value();
        std::vector<RunRecord> all;
        for (int i = 0; i < runs; ++i) all.push_back(run_number(i));
        ASSERT_TRUE(store->record_runs(all));
        ASSERT_TRUE(store->save_preset({"portrait", R"({"steps":30})", 7}));
        ASSERT_TRUE(store->keep_job({"job", 1, false, "{}"}));
    }
    [[nodiscard]] std::string bytes(const std::filesystem::path& path) const {
        std::ifstream stream(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    void overwrite(std::uintmax_t at, const std::string& with) const {
        std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
        stream.seekp(static_cast<std::streamoff>(at));
        stream << with;
    }
    [[nodiscard]] Result<std::unique_ptr<RenewingStore>> open() {
        return RenewingStore::create(file(), system_clock(),
                                     [this](const Renewal& renewal) { told_.push_back(renewal); });
    }
    std::filesystem::path folder_;
    std::vector<Renewal> told_;
};

TEST_F(Renewing, a_sound_file_is_left_alone) {
    fill(10);
    const auto store = open().value();
    EXPECT_EQ(store->count_runs({}).value(), 10);
    EXPECT_TRUE(told_.empty());
    EXPECT_TRUE(damaged_files(file()).empty());
}

TEST_F(Renewing, what_is_no_database_is_moved_aside_whole_and_work_goes_on) {
    const std::string garbage(9000, 'x');
    std::ofstream(file()) << garbage;
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE((*opened)->record_run(run_number(1)));
    ASSERT_EQ(told_.size(), 1U);
    EXPECT_THAT(told_[0].text(), HasSubstr("was moved to " + told_[0].damaged.string()));
    EXPECT_THAT(told_[0].text(), HasSubstr("0 runs"));
    EXPECT_EQ(bytes(told_[0].damaged), garbage);
    EXPECT_EQ(damaged_files(file()), std::vector{told_[0].damaged});
}

TEST_F(Renewing, a_file_that_was_cut_off_gives_what_is_left_of_it) {
    fill(3000);
    const auto size = std::filesystem::file_size(file());
    std::filesystem::resize_file(file(), size / 2 / 4096 * 4096);
    const std::string before = bytes(file());
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    // SQLite opens a file that is too short and notices when it reads; a list does.
    const auto page = (*opened)->list_runs({}, {.limit = 1000});
    ASSERT_TRUE(page) << page.error().message;
    EXPECT_TRUE((*opened)->record_run(run_number(5000)));
    if (!told_.empty()) {
        EXPECT_EQ(bytes(told_[0].damaged), before);
        EXPECT_FALSE(told_[0].all_saved);
    }
}

TEST_F(Renewing, flipped_bytes_anywhere_never_lose_the_file_nor_stop_the_work) {
    // Goal: after any damage every call ends with an answer or an Error, and recording works again.
    const auto seed = static_cast<unsigned>(std::random_device()());
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    fill(400);
    const std::string sound = bytes(file());
    for (int round = 0; round < 12; ++round) {
        SCOPED_TRACE(fmt::format("round {}", round));
        std::string damaged = sound;
        for (int i = 0; i < 40 * (round + 1); ++i)
            damaged[random() % damaged.size()] ^= static_cast<char>(1U << (random() % 8));
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            std::filesystem::remove(entry.path());
        std::ofstream(file(), std::ios::binary) << damaged;
        told_.clear();
        auto opened = open();
        if (!opened) {
            // The version number was hit: that of a newer Plimsoll, or of another program.
            EXPECT_EQ(opened.error().code, Errc::InvalidInput) << opened.error().message;
            EXPECT_EQ(bytes(file()), damaged);
            continue;
        }
        (void)(*opened)->list_runs({}, {.limit = 1000});
        (void)(*opened)->list_runs({.text = "lighthouse"}, {.limit = 1000});
        (void)(*opened)->stats_of({}, StatsBy::Day);
        (void)(*opened)->list_presets();
        const auto recorded = (*opened)->record_run(run_number(9000));
        EXPECT_TRUE(recorded) << recorded.error().message;
        for (const Renewal& renewal : told_) EXPECT_TRUE(std::filesystem::exists(renewal.damaged));
    }
}

// A definition is text to SQLite: a flipped bit in it is another valid one, which its check passes.
TEST_F(Renewing, a_flipped_bit_in_a_definition_is_damage) {
    for (const char* const word : {"ascii", "run_words", "started_ms"}) {
        fill(40);
        std::string damaged = bytes(file());
        std::size_t at = damaged.find(word);
        ASSERT_NE(at, std::string::npos) << word;
        for (; at != std::string::npos; at = damaged.find(word, at + 1)) damaged[at] ^= '\x02';
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            std::filesystem::remove(entry.path());
        std::ofstream(file(), std::ios::binary) << damaged;
        told_.clear();
        auto opened = open();
        ASSERT_TRUE(opened) << word << ": " << opened.error().message;
        const auto recorded = (*opened)->record_run(run_number(9000));
        EXPECT_TRUE(recorded) << word << ": " << recorded.error().message;
        ASSERT_EQ(told_.size(), 1U) << word;
        EXPECT_TRUE(std::filesystem::exists(told_[0].damaged));
    }
}

TEST_F(Renewing, damage_while_it_is_open_is_met_and_the_call_is_answered_all_the_same) {
    fill(500);
    const auto store = open().value();
    ASSERT_EQ(store->count_runs({}).value(), 500);
    // All but the first two pages: no reader can have them all in memory.
    overwrite(2 * 4096, std::string(std::filesystem::file_size(file()) - 2 * 4096, '\x5a'));
    const auto recorded = store->record_run(run_number(900));
    ASSERT_TRUE(recorded) << recorded.error().message;
    EXPECT_EQ(store->read_run("run-00900").value(), run_number(900));
    EXPECT_EQ(told_.size(), 1U);
}

TEST_F(Renewing, a_torn_log_loses_only_what_was_not_yet_acknowledged) {
    // Method: a process that is killed leaves its log; the log's end is overwritten.
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
        auto store = SqliteStore::create(file());
        bool good = store.has_value();
        for (int i = 0; good && i < 50; ++i) good = (*store)->record_run(run_number(i)).has_value();
        ::_exit(good ? 0 : 1);  // without closing the file
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_EQ(status, 0);
    const std::string log = file().string() + "-wal";
    ASSERT_TRUE(std::filesystem::exists(log));
    std::filesystem::resize_file(log, std::filesystem::file_size(log) - 2000);
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ((*opened)->count_runs({}).value(), 49);  // the last one's log is torn
    EXPECT_TRUE((*opened)->read_run("run-00048"));
    EXPECT_TRUE((*opened)->record_run(run_number(49)));
    EXPECT_TRUE(told_.empty());
    EXPECT_TRUE(check_file(file()).value().is_sound());
}

TEST_F(Renewing, a_file_that_somebody_moved_is_left_for_the_new_one) {
    fill(3);
    const auto store = open().value();
    ASSERT_EQ(store->count_runs({}).value(), 3);
    for (const char* const end : {"", "-wal", "-shm"})
        if (std::filesystem::exists(file().string() + end))
            std::filesystem::rename(file().string() + end, folder_ / fmt::format("moved{}", end));
    ASSERT_TRUE(store->record_run(run_number(7)));
    EXPECT_EQ(SqliteStore::create(file()).value()->count_runs({}).value(), 1);
}

TEST_F(Renewing, two_processes_that_meet_damage_renew_once) {
    std::ofstream(file()) << std::string(9000, 'x');
    std::vector<pid_t> children;
    for (int child = 0; child < 3; ++child) {
        const pid_t pid = ::fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
            auto store = RenewingStore::create(file(), system_clock(), {});
            const bool good = store && (*store)->record_run(run_number(child));
            ::_exit(good ? 0 : 1);
        }
        children.push_back(pid);
    }
    for (const pid_t pid : children) {
        int status = 0;
        ASSERT_EQ(::waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(damaged_files(file()).size(), 1U);
    EXPECT_EQ(open().value()->count_runs({}).value(), 3);
}

TEST_F(Renewing, a_read_only_folder_is_named_with_the_way_out) {
    std::ofstream(file()) << std::string(9000, 'x');
    std::filesystem::permissions(
        folder_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec |
                     std::filesystem::perms::others_read | std::filesystem::perms::others_exec);
    const bool was_root = ::geteuid() == 0;
    if (was_root) ASSERT_EQ(::seteuid(65534), 0);  // root may write anywhere
    const auto opened = open();
    if (was_root) ASSERT_EQ(::seteuid(0), 0);
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().message, HasSubstr("PLIMSOLL_HOME"));
    EXPECT_EQ(bytes(file()).size(), 9000U);
}

}  // namespace
}  // namespace plimsoll::history
