// SPDX-License-Identifier: Apache-2.0
#include "history/renewing_store.h"

#include "base/log.h"
#include "history/schema_check.h"
#include "history/sqlite_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace plimsoll::history {

namespace {

constexpr std::string_view kAside = ".damaged-";

// One process at a time moves files; the lock goes with the process.
class RenewalLock {
  public:
    explicit RenewalLock(const std::filesystem::path& path)
        : descriptor_(
              ::open((path.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
        if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX) != 0) {
            ::close(descriptor_);
            descriptor_ = -1;
        }
    }
    ~RenewalLock() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    RenewalLock(const RenewalLock&) = delete;
    RenewalLock& operator=(const RenewalLock&) = delete;
    [[nodiscard]] bool is_held() const { return descriptor_ >= 0; }

  private:
    int descriptor_;
};

// "history.db.damaged-20261129-093011", with a number behind where that is taken.
std::filesystem::path aside_name(const std::filesystem::path& path, const Clock& clock) {
    const auto seconds = static_cast<std::time_t>(clock.unix_ms() / 1000);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    const std::string base = fmt::format("{}{}{:04}{:02}{:02}-{:02}{:02}{:02}", path.string(),
                                         kAside, utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                                         utc.tm_hour, utc.tm_min, utc.tm_sec);
    std::error_code error;
    std::string name = base;
    for (int number = 2; std::filesystem::exists(name, error); ++number)
        name = fmt::format("{}-{}", base, number);
    return name;
}

// The log first: were it left alone with a new file, it would be taken for the new file's.
Result<void> move_aside(const std::filesystem::path& path, const std::filesystem::path& to) {
    std::error_code error;
    for (const char* const end : {"-wal", "-shm", "-journal", ""}) {
        const std::string from = path.string() + end;
        if (!std::filesystem::exists(from, error)) continue;
        std::filesystem::rename(from, to.string() + end, error);
        if (error)
            return fail(Errc::Unavailable,
                        fmt::format("{}: is damaged and cannot be moved aside ({}): allow writing "
                                    "in its folder, or set PLIMSOLL_HOME to another one",
                                    from, error.message()));
    }
    return {};
}

// What is wrong with the file; empty: nothing that its own checks find.
Result<std::string> damage_of(const std::filesystem::path& path) {
    try {
        SQLite::Database database(path.string(), SQLite::OPEN_READWRITE, 5000);
        const std::string found = database.execAndGet("PRAGMA quick_check(1)").getString();
        return found == "ok" ? find_schema_damage(database) : one_line(found);
    } catch (const SQLite::Exception& thrown) {
        const int code = thrown.getErrorCode() & 0xff;
        // An error of the check's own statements: it cannot make sense of the tables.
        if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR)
            return one_line(thrown.what());
        return std::unexpected(explain(thrown, path.string()));
    }
}

}  // namespace

std::string Renewal::text() const {
    std::string kept =
        fmt::format("{} run{}, {} preset{} and {} waiting job{} were read from it", saved.runs,
                    saved.runs == 1 ? "" : "s", saved.presets, saved.presets == 1 ? "" : "s",
                    saved.jobs, saved.jobs == 1 ? "" : "s");
    if (!save_error.empty()) kept += fmt::format(" before that broke off ({})", save_error);
    return fmt::format(
        "the history file is damaged ({}); it was moved to {} and a new one was started; {}{}",
        reason, damaged.string(), kept,
        all_saved ? ": nothing is missing"
                  : fmt::format(": plimsoll history restore '{}' takes in what else can be read, "
                                "or restore a backup",
                                damaged.string()));
}

Result<std::optional<Renewal>> renew_if_damaged(const std::filesystem::path& path,
                                                const Clock& clock) {
    const RenewalLock lock(path);
    if (!lock.is_held())
        return fail(Errc::Unavailable,
                    fmt::format("{}: is damaged and its folder cannot be written to: allow it, or "
                                "set PLIMSOLL_HOME to a folder that you may write to",
                                path.string()));
    TRY_ASSIGN(std::string reason, damage_of(path));
    if (reason.empty()) return std::nullopt;
    Renewal renewal;
    renewal.damaged = aside_name(path, clock);
    renewal.reason = std::move(reason);
    TRY_DO(move_aside(path, renewal.damaged));
    TRY_ASSIGN(const auto fresh, SqliteStore::create(path));
    auto saved = take_in(*fresh, renewal.damaged, Taking::All, kRunsSavedAtOnce);
    if (saved)
        renewal.saved = *saved;
    else
        renewal.save_error = saved.error().message;
    renewal.all_saved = saved && saved->unreadable == 0 && saved->runs < kRunsSavedAtOnce;
    log::warning("{}", renewal.text());
    return renewal;
}

std::vector<std::filesystem::path> damaged_files(const std::filesystem::path& path) {
    std::vector<std::filesystem::path> found;
    std::error_code error;
    const std::string begin = path.filename().string() + std::string(kAside);
    for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(begin) && !name.ends_with("-wal") && !name.ends_with("-shm"))
            found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
}

Result<std::unique_ptr<RenewingStore>> RenewingStore::create(const std::filesystem::path& path,
                                                             const Clock& clock, OnRenewal told,
                                                             const SqliteOptions& options) {
    std::unique_ptr<RenewingStore> store(new RenewingStore(path, clock, std::move(told), options));
    TRY_DO(store->open());
    return store;
}

Result<void> RenewingStore::open() {
    auto opened = SqliteStore::create(path_, options_);
    // Internal: a statement that SQLite did not understand, so perhaps other tables.
    if (!opened &&
        (opened.error().code == Errc::Corrupt || opened.error().code == Errc::Internal)) {
        TRY_ASSIGN(const auto renewal, renew_if_damaged(path_, clock_));
        if (renewal && told_) told_(*renewal);
        opened = SqliteStore::create(path_, options_);
    }
    if (!opened) return std::unexpected(opened.error());
    store_ = std::move(*opened);
    return {};
}

// Calls, and once more on a renewed file where the call met damage. A file that somebody has moved
// away is left for the one that has its name now.
template <class Call>
auto RenewingStore::on_store(Call&& call) -> std::invoke_result_t<Call, SqliteStore&> {
    if (!store_ || store_->was_moved()) {
        store_.reset();
        TRY_DO(open());
    }
    auto result = call(*store_);
    if (result || !store_->met_damage()) return result;
    store_.reset();
    TRY_ASSIGN(const auto renewal, renew_if_damaged(path_, clock_));
    if (renewal && told_) told_(*renewal);
    TRY_DO(open());
    if (!renewal) return result;
    return call(*store_);
}

Result<void> RenewingStore::record_run(const RunRecord& run) {
    return on_store([&](SqliteStore& store) { return store.record_run(run); });
}
Result<RunRecord> RenewingStore::read_run(std::string_view run_id) {
    return on_store([&](SqliteStore& store) { return store.read_run(run_id); });
}
Result<RunPage> RenewingStore::list_runs(const RunFilter& filter, const Page& page) {
    return on_store([&](SqliteStore& store) { return store.list_runs(filter, page); });
}
Result<std::int64_t> RenewingStore::count_runs(const RunFilter& filter) {
    return on_store([&](SqliteStore& store) { return store.count_runs(filter); });
}
Result<std::vector<RunStats>> RenewingStore::stats_of(const RunFilter& filter, StatsBy by) {
    return on_store([&](SqliteStore& store) { return store.stats_of(filter, by); });
}
Result<std::vector<SettingsStats>> RenewingStore::fastest_settings(std::string_view model,
                                                                   int most) {
    return on_store([&](SqliteStore& store) { return store.fastest_settings(model, most); });
}
Result<void> RenewingStore::keep_job(const KeptJob& job) {
    return on_store([&](SqliteStore& store) { return store.keep_job(job); });
}
Result<void> RenewingStore::drop_job(std::string_view job_id) {
    return on_store([&](SqliteStore& store) { return store.drop_job(job_id); });
}
Result<std::vector<KeptJob>> RenewingStore::list_jobs() {
    return on_store([](SqliteStore& store) { return store.list_jobs(); });
}
Result<void> RenewingStore::keep_held(const HeldJob& job) {
    return on_store([&](SqliteStore& store) { return store.keep_held(job); });
}
Result<void> RenewingStore::mark_held(std::span<const HeldChange> changes) {
    return on_store([&](SqliteStore& store) { return store.mark_held(changes); });
}
Result<void> RenewingStore::drop_held(std::span<const std::string> prompt_ids) {
    return on_store([&](SqliteStore& store) { return store.drop_held(prompt_ids); });
}
Result<std::vector<HeldJob>> RenewingStore::list_held() {
    return on_store([](SqliteStore& store) { return store.list_held(); });
}
Result<void> RenewingStore::keep_wall(const Wall& wall) {
    return on_store([&](SqliteStore& store) { return store.keep_wall(wall); });
}
Result<void> RenewingStore::drop_wall(std::string_view shape) {
    return on_store([&](SqliteStore& store) { return store.drop_wall(shape); });
}
Result<std::vector<Wall>> RenewingStore::list_walls() {
    return on_store([](SqliteStore& store) { return store.list_walls(); });
}
Result<void> RenewingStore::keep_session(const QualitySession& session) {
    return on_store([&](SqliteStore& store) { return store.keep_session(session); });
}
Result<std::vector<QualitySession>> RenewingStore::list_sessions() {
    return on_store([](SqliteStore& store) { return store.list_sessions(); });
}
Result<void> RenewingStore::keep_picture(const QualityPicture& picture) {
    return on_store([&](SqliteStore& store) { return store.keep_picture(picture); });
}
Result<std::vector<QualityPicture>> RenewingStore::list_pictures(std::string_view session_id) {
    return on_store([&](SqliteStore& store) { return store.list_pictures(session_id); });
}
Result<void> RenewingStore::keep_vote(const QualityVote& vote) {
    return on_store([&](SqliteStore& store) { return store.keep_vote(vote); });
}
Result<std::vector<QualityVote>> RenewingStore::list_votes(std::string_view session_id) {
    return on_store([&](SqliteStore& store) { return store.list_votes(session_id); });
}
Result<void> RenewingStore::save_preset(const Preset& preset) {
    return on_store([&](SqliteStore& store) { return store.save_preset(preset); });
}
Result<Preset> RenewingStore::load_preset(std::string_view name) {
    return on_store([&](SqliteStore& store) { return store.load_preset(name); });
}
Result<std::vector<Preset>> RenewingStore::list_presets() {
    return on_store([](SqliteStore& store) { return store.list_presets(); });
}
Result<void> RenewingStore::remove_preset(std::string_view name) {
    return on_store([&](SqliteStore& store) { return store.remove_preset(name); });
}
Result<std::vector<OldPictures>> RenewingStore::pictures_before(std::int64_t before_ms, int most) {
    return on_store([&](SqliteStore& store) { return store.pictures_before(before_ms, most); });
}
Result<void> RenewingStore::forget_pictures(std::string_view run_id) {
    return on_store([&](SqliteStore& store) { return store.forget_pictures(run_id); });
}
Result<int> RenewingStore::retire_runs(const Retirement& which, int most) {
    return on_store([&](SqliteStore& store) { return store.retire_runs(which, most); });
}

}  // namespace plimsoll::history
