// SPDX-License-Identifier: Apache-2.0
//
// Care for a history file: a copy of it while it is in use, a look at whether everything in it is
// as it should be, runs of another file taken in.
//
// Enters through: files.   Leaves through: files.   Threads: no shared state; other processes may
// use the file meanwhile.
#pragma once
#include "base/error.h"
#include "history/sqlite_store.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace plimsoll::history {

struct BackupReport {
    std::int64_t runs = 0;
    std::int64_t presets = 0;
    std::uint64_t bytes = 0;
};
// Copies the file as it is at one moment, reads the copy through, then gives it its name: under
// that name there is never half a copy. An older backup is replaced; any other file of that name is
// refused. After a failure nothing is left behind.
[[nodiscard]] Result<BackupReport> back_up(const std::filesystem::path& file,
                                           const std::filesystem::path& to);

struct CheckReport {
    int schema = 0;
    std::int64_t runs = 0;
    std::int64_t presets = 0;
    std::uint64_t bytes = 0;
    // Pages that cannot be right: what is lost is not known. At most 20 lines.
    std::vector<std::string> damage;
    // Summaries and lists that do not say what the runs say; rebuild_summaries mends that.
    std::vector<std::string> differences;
    [[nodiscard]] bool is_sound() const { return damage.empty() && differences.empty(); }
};
// Reads everything. Changes nothing. Fails where the file cannot be opened.
[[nodiscard]] Result<CheckReport> check_file(const std::filesystem::path& file);
// What is kept beside the runs is made anew from them.
[[nodiscard]] Result<void> rebuild_summaries(const std::filesystem::path& file);

struct RestoreReport {
    std::int64_t runs = 0;        // taken in
    std::int64_t runs_known = 0;  // were there already and stay as they are
    std::int64_t presets = 0;
    std::int64_t presets_known = 0;
    std::int64_t jobs = 0;
    std::int64_t unreadable = 0;  // gaps: rows or stretches of rows that could not be read
};
// Presets: what a restore takes. All: the queue's jobs, too, as after damage.
enum class Taking : std::uint8_t { RunsAndPresets, All };
inline constexpr std::int64_t kTakeAll = -1;
// Runs (the newest first, at most `runs_max`) and presets of a backup, or what can still be read of
// a damaged file. `from` is not changed; it may be of any older schema.
[[nodiscard]] Result<RestoreReport> take_in(SqliteStore& into, const std::filesystem::path& from,
                                            Taking taking, std::int64_t runs_max = kTakeAll);

}  // namespace plimsoll::history
