// SPDX-License-Identifier: Apache-2.0
//
// A Store that goes on after damage. A file that turns out to be damaged, when it is opened or
// while it is used, is moved aside with everything that belongs to it and never deleted; a new one
// is started and gets what can still be read: all presets and waiting jobs, and the newest runs.
// The rest is for `plimsoll history restore`. What happened is logged as a warning and told to
// whoever asked.
//
// Enters through: a file.   Leaves through: Store.   Threads: as Store; processes renew one at a
// time.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "history/care.h"
#include "history/sqlite_store.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace plimsoll::history {

// Chosen: read and written again in about two seconds, while something waits for the history.
inline constexpr std::int64_t kRunsSavedAtOnce = 20'000;

struct Renewal {
    std::filesystem::path damaged;  // where the damaged file is now
    std::string reason;             // what SQLite found
    RestoreReport saved;
    std::string save_error;                  // why saving broke off; empty: it did not
    bool all_saved = false;                  // nothing was unreadable and no run was left for later
    [[nodiscard]] std::string text() const;  // for people: what happened, what was kept, what to do
};

class RenewingStore final : public Store {
  public:
    using OnRenewal = std::function<void(const Renewal&)>;

    // `told` is called when the file had to be renewed, now or later; may be empty.
    [[nodiscard]] static Result<std::unique_ptr<RenewingStore>> create(
        const std::filesystem::path& path, const Clock& clock, OnRenewal told,
        const SqliteOptions& options = {});

    [[nodiscard]] Result<void> record_run(const RunRecord& run) override;
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

  private:
    RenewingStore(std::filesystem::path path, const Clock& clock, OnRenewal told,
                  const SqliteOptions& options)
        : path_(std::move(path)), clock_(clock), told_(std::move(told)), options_(options) {}
    [[nodiscard]] Result<void> open();
    template <class Call>
    auto on_store(Call&& call) -> std::invoke_result_t<Call, SqliteStore&>;

    std::filesystem::path path_;
    const Clock& clock_;
    OnRenewal told_;
    SqliteOptions options_;
    std::unique_ptr<SqliteStore> store_;
};

// Moves the file aside if it is damaged indeed, and starts a new one. nullopt: it is sound, or
// another process has renewed it meanwhile.
[[nodiscard]] Result<std::optional<Renewal>> renew_if_damaged(const std::filesystem::path& path,
                                                              const Clock& clock);

// Files that were moved aside from beside `path`, by name.
[[nodiscard]] std::vector<std::filesystem::path> damaged_files(const std::filesystem::path& path);

}  // namespace plimsoll::history
