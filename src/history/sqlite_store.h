// SPDX-License-Identifier: Apache-2.0
//
// Store in one SQLite file (write-ahead log), which several processes may share. A file of an older
// Plimsoll is migrated when it is opened; one of a newer Plimsoll is refused untouched. Nothing is
// ever deleted or moved: a damaged file is named in the error together with the way out.
//
// Enters through: a file.   Leaves through: Store.   Threads: as Store.
#pragma once
#include "base/error.h"
#include "history/store.h"

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::history {

inline constexpr int kSchemaVersion = 8;

enum class Access : std::uint8_t { ReadWrite, ReadOnly };

// Whole: an acknowledged run survives a power cut. None: nothing does, for files that are made in
// one go and made again when that fails.
enum class Durability : std::uint8_t { Whole, None };

struct SqliteOptions {
    Access access = Access::ReadWrite;
    Durability durability = Durability::Whole;
    int cache_mib = 0;  // 0: SQLite's own, 2 MiB
    int busy_timeout_ms =
        5000;           // chosen: a write takes milliseconds, so five seconds mean a stuck process
    int pages_max = 0;  // 0: no limit of ours. Tests stage a full disk with it
};

class Connection;

class SqliteStore final : public Store {
  public:
    // Creates the file and its folder when absent (ReadWrite). Fails with Unavailable (cannot be
    // opened or written, busy, disk full), Corrupt (no database, damaged), InvalidInput (another
    // program's database, or of a newer Plimsoll).
    [[nodiscard]] static Result<std::unique_ptr<SqliteStore>> create(
        const std::filesystem::path& path, const SqliteOptions& options = {});
    ~SqliteStore() override;

    [[nodiscard]] Result<void> record_run(const RunRecord& run) override;
    // All or none, in one transaction.
    [[nodiscard]] Result<void> record_runs(std::span<const RunRecord> runs);
    [[nodiscard]] Result<RunRecord> read_run(std::string_view run_id) override;
    [[nodiscard]] Result<RunPage> list_runs(const RunFilter& filter, const Page& page) override;
    [[nodiscard]] Result<std::int64_t> count_runs(const RunFilter& filter) override;
    [[nodiscard]] Result<std::vector<RunStats>> stats_of(const RunFilter& filter,
                                                         StatsBy by) override;
    [[nodiscard]] Result<std::vector<SettingsStats>> fastest_settings(std::string_view model,
                                                                      int most) override;
    [[nodiscard]] Result<void> keep_job(const KeptJob& job) override;
    [[nodiscard]] Result<void> drop_job(std::string_view job_id) override;
    [[nodiscard]] Result<std::vector<KeptJob>> list_jobs() override;
    [[nodiscard]] Result<void> keep_held(const HeldJob& job) override;
    [[nodiscard]] Result<void> mark_held(std::span<const HeldChange> changes) override;
    [[nodiscard]] Result<void> drop_held(std::span<const std::string> prompt_ids) override;
    [[nodiscard]] Result<std::vector<HeldJob>> list_held() override;
    [[nodiscard]] Result<void> keep_wall(const Wall& wall) override;
    [[nodiscard]] Result<void> drop_wall(std::string_view shape) override;
    [[nodiscard]] Result<std::vector<Wall>> list_walls() override;
    [[nodiscard]] Result<void> keep_session(const QualitySession& session) override;
    [[nodiscard]] Result<std::vector<QualitySession>> list_sessions() override;
    [[nodiscard]] Result<void> keep_picture(const QualityPicture& picture) override;
    [[nodiscard]] Result<std::vector<QualityPicture>> list_pictures(
        std::string_view session_id) override;
    [[nodiscard]] Result<void> keep_vote(const QualityVote& vote) override;
    [[nodiscard]] Result<std::vector<QualityVote>> list_votes(std::string_view session_id) override;
    [[nodiscard]] Result<void> save_preset(const Preset& preset) override;
    [[nodiscard]] Result<Preset> load_preset(std::string_view name) override;
    [[nodiscard]] Result<std::vector<Preset>> list_presets() override;
    [[nodiscard]] Result<void> remove_preset(std::string_view name) override;

    [[nodiscard]] Result<std::vector<OldPictures>> pictures_before(std::int64_t before_ms,
                                                                   int most) override;
    [[nodiscard]] Result<void> forget_pictures(std::string_view run_id) override;
    [[nodiscard]] Result<int> retire_runs(const Retirement& which, int most) override;

    [[nodiscard]] Result<bool> has_run(const std::string& run_id);
    // Another file, or none, has its name now: what is written here would not be found again.
    [[nodiscard]] bool was_moved() const;
    // A call failed because of damage in the file.
    [[nodiscard]] bool met_damage() const;
    // For the other parts of this folder.
    [[nodiscard]] Connection& connection() { return *connection_; }

    // Reads every page of the file: for doctor. Corrupt when SQLite finds damage.
    [[nodiscard]] Result<void> check_integrity();

  private:
    explicit SqliteStore(std::unique_ptr<Connection> connection);

    std::unique_ptr<Connection> connection_;
};

}  // namespace plimsoll::history
