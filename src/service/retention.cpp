// SPDX-License-Identifier: Apache-2.0
#include "service/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

namespace plimsoll::service {

namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr int kAtOnce = 200;  // chosen: a transaction of some milliseconds

std::optional<std::int64_t> cut_of(int days, std::int64_t now_ms) {
    if (days == 0) return std::nullopt;
    return now_ms - days * kDayMs;
}

// Inside the folder when every link on the way is followed, and a file itself.
bool is_ours(const std::filesystem::path& picture, const std::filesystem::path& folder) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(picture, error)))
        return false;
    const auto real = std::filesystem::canonical(picture, error);
    if (error) return false;
    const auto inside = std::filesystem::canonical(folder, error);
    if (error) return false;
    const auto [end, unused] = std::ranges::mismatch(inside, real);
    return end == inside.end();
}

class Retention {
  public:
    Retention(history::Store& store, const Config& config) : store_(store), config_(config) {}

    Result<void> delete_pictures(std::int64_t before_ms, const std::atomic<bool>& stop) {
        while (!stop && report.problems.empty()) {
            TRY_ASSIGN(const auto old, store_.pictures_before(before_ms, kAtOnce));
            if (old.empty()) break;
            for (const history::OldPictures& run : old) {
                if (!std::ranges::all_of(run.images, [&](const std::string& image) {
                        return delete_picture(image);
                    }))
                    return {};
                TRY_DO(store_.forget_pictures(run.run_id));
            }
        }
        return {};
    }

    Result<void> retire(const history::Retirement& which, const std::atomic<bool>& stop) {
        while (!stop) {
            TRY_ASSIGN(const int gone, store_.retire_runs(which, kAtOnce));
            report.runs_retired += gone;
            if (gone < kAtOnce) break;
        }
        return {};
    }

    RetentionReport report;

  private:
    // False where it is still there and should not be. One that is gone already is no problem.
    bool delete_picture(const std::filesystem::path& picture) {
        std::error_code error;
        if (!std::filesystem::exists(std::filesystem::symlink_status(picture, error))) return true;
        if (!is_ours(picture, config_.output_dir.value)) {
            ++report.pictures_elsewhere;
            return true;
        }
        const auto bytes = std::filesystem::file_size(picture, error);
        if (!std::filesystem::remove(picture, error) && error) {
            report.problems.push_back(fmt::format("{}: {}", picture.string(), error.message()));
            return false;
        }
        ++report.pictures_deleted;
        report.picture_bytes += bytes;
        return true;
    }

    history::Store& store_;
    const Config& config_;
};

}  // namespace

bool has_retention(const Config& config) {
    return config.history_days.value > 0 || config.history_runs.value > 0 ||
           config.pictures_days.value > 0;
}

Result<RetentionReport> apply_retention(history::Store& store, const Config& config,
                                        std::int64_t now_ms, const std::atomic<bool>& stop) {
    Retention retention(store, config);
    const auto rows_cut = cut_of(config.history_days.value, now_ms);
    if (auto cut = cut_of(config.pictures_days.value, now_ms)) {
        // Pictures go before their runs, so not later than they.
        cut = std::max(*cut, rows_cut.value_or(*cut));
        TRY_DO(retention.delete_pictures(*cut, stop));
    }
    history::Retirement which{.before_ms = rows_cut};
    if (config.history_runs.value > 0) which.keep_newest = config.history_runs.value;
    const bool may_retire = retention.report.problems.empty();
    if (may_retire && (which.before_ms || which.keep_newest)) TRY_DO(retention.retire(which, stop));
    return std::move(retention.report);
}

}  // namespace plimsoll::service
