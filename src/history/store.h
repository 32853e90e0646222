// SPDX-License-Identifier: Apache-2.0
//
// Seam: what Plimsoll remembers passes Store. SqliteStore keeps it in a file, MemoryStore (the test
// double) forgets.
//
// Threads: one Store may be used from one thread at a time; several Stores, in any processes, may
// share one file.
#pragma once
#include "base/error.h"
#include "history/held_job.h"
#include "history/quality_session.h"
#include "history/run.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace plimsoll::history {

class Store {
  public:
    virtual ~Store() = default;

    // Writes the run, or replaces the one with the same run_id. After an error the earlier state is
    // still there.
    [[nodiscard]] virtual Result<void> record_run(const RunRecord& run) = 0;
    // NotFound names the way to list runs. A unique prefix of the id will do.
    [[nodiscard]] virtual Result<RunRecord> read_run(std::string_view run_id) = 0;
    // By start, newest first or oldest first; of equal starts in the order of recording.
    [[nodiscard]] virtual Result<RunPage> list_runs(const RunFilter& filter, const Page& page) = 0;
    [[nodiscard]] virtual Result<std::int64_t> count_runs(const RunFilter& filter) = 0;
    // One group for each key, at most kStatsGroupsMax: days newest first, others by the number of
    // their runs. All: exactly one. Words have no running summaries: with `text` the newest
    // kSummedByWordsMax runs that are found are added up, and no others.
    [[nodiscard]] virtual Result<std::vector<RunStats>> stats_of(const RunFilter& filter,
                                                                 StatsBy by) = 0;

    // Settings with which runs of the model came to their end, for each number of steps the `most`
    // (1 to kFastestMax) that were fastest on the mean, the fastest first.
    [[nodiscard]] virtual Result<std::vector<SettingsStats>> fastest_settings(
        std::string_view model, int most) = 0;

    // Runs with pictures that began before, oldest first, at most `most` (1 to kRetiredAtOnceMax).
    [[nodiscard]] virtual Result<std::vector<OldPictures>> pictures_before(std::int64_t before_ms,
                                                                           int most) = 0;
    // The run has no pictures any more. NotFound as read_run.
    [[nodiscard]] virtual Result<void> forget_pictures(std::string_view run_id) = 0;
    // Takes away runs, oldest first, at most `most` (1 to kRetiredAtOnceMax) in one transaction,
    // and says how many. Statistics go on counting them.
    [[nodiscard]] virtual Result<int> retire_runs(const Retirement& which, int most) = 0;

    // Writes the job, or replaces the one with the same id.
    [[nodiscard]] virtual Result<void> keep_job(const KeptJob& job) = 0;
    // Nothing happens where there is none.
    [[nodiscard]] virtual Result<void> drop_job(std::string_view job_id) = 0;
    [[nodiscard]] virtual Result<std::vector<KeptJob>> list_jobs() = 0;  // oldest first

    // The gateway's queue. Writes the job, or replaces the one with the same id.
    [[nodiscard]] virtual Result<void> keep_held(const HeldJob& job) = 0;
    // All or none; an id that is not there is passed over.
    [[nodiscard]] virtual Result<void> mark_held(std::span<const HeldChange> changes) = 0;
    [[nodiscard]] virtual Result<void> drop_held(std::span<const std::string> prompt_ids) = 0;
    // By priority, the greatest first, then by turn.
    [[nodiscard]] virtual Result<std::vector<HeldJob>> list_held() = 0;
    // Beyond kWallsMax the oldest go.
    [[nodiscard]] virtual Result<void> keep_wall(const Wall& wall) = 0;
    [[nodiscard]] virtual Result<void> drop_wall(std::string_view shape) = 0;
    [[nodiscard]] virtual Result<std::vector<Wall>> list_walls() = 0;  // oldest first

    // Quality sessions. Writes it, or replaces the one with the same id.
    [[nodiscard]] virtual Result<void> keep_session(const QualitySession& session) = 0;
    // The newest kSessionsListedMax, newest first.
    [[nodiscard]] virtual Result<std::vector<QualitySession>> list_sessions() = 0;
    [[nodiscard]] virtual Result<void> keep_picture(const QualityPicture& picture) = 0;
    [[nodiscard]] virtual Result<std::vector<QualityPicture>> list_pictures(
        std::string_view session_id) = 0;
    [[nodiscard]] virtual Result<void> keep_vote(const QualityVote& vote) = 0;
    [[nodiscard]] virtual Result<std::vector<QualityVote>> list_votes(
        std::string_view session_id) = 0;  // oldest first

    // Replaces a preset of the same name.
    [[nodiscard]] virtual Result<void> save_preset(const Preset& preset) = 0;
    // NotFound lists the nearest names.
    [[nodiscard]] virtual Result<Preset> load_preset(std::string_view name) = 0;
    [[nodiscard]] virtual Result<std::vector<Preset>> list_presets() = 0;  // by name
    [[nodiscard]] virtual Result<void> remove_preset(std::string_view name) = 0;
};

// The error of load and remove: names what there is.
[[nodiscard]] std::unexpected<Error> preset_not_found(std::string_view name,
                                                      const std::vector<std::string>& known);
inline constexpr int kFastestMax = 100;  // chosen: of one number of steps
// InvalidInput unless 1 <= limit <= kPageRunsMax.
[[nodiscard]] Result<void> check_page(const Page& page);
[[nodiscard]] Result<void> check_fastest(int most);
[[nodiscard]] Result<void> check_at_once(int most);

// The order that the doors promise, and no more than kStatsGroupsMax groups.
void sort_stats(std::vector<RunStats>& stats, StatsBy by);
void sort_settings(std::vector<SettingsStats>& settings);

// Holds everything in memory; `fail_at` makes the Nth call from now (0: the next) answer
// Unavailable, for the seam sweep.
class MemoryStore final : public Store {
  public:
    void fail_at(int call) { calls_until_failure_ = call; }

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
    [[nodiscard]] Result<void> take_call();

    std::vector<RunRecord> runs_;  // in order of first recording
    std::vector<RunRecord> retired_;
    std::vector<KeptJob> jobs_;  // in order of first keeping
    std::map<std::string, HeldJob, std::less<>> held_;
    std::map<std::string, Wall, std::less<>> walls_;
    std::map<std::string, QualitySession, std::less<>> sessions_;
    std::map<std::tuple<std::string, std::int64_t, std::int64_t>, QualityPicture> pictures_;
    std::map<std::string, QualityVote, std::less<>> votes_;
    std::map<std::string, Preset, std::less<>> presets_;
    int calls_until_failure_ = -1;
};

}  // namespace plimsoll::history
