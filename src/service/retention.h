// SPDX-License-Identifier: Apache-2.0
//
// What is too old to be kept goes, pictures before runs. Statistics stay. Only pictures inside the
// output folder are deleted: what else a run names belongs to somebody.
//
// Enters through: Store, Config.   Leaves through: Store, the output folder.   Threads: as the
// Store.
#pragma once
#include "base/error.h"
#include "history/store.h"
#include "service/config.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::service {

struct RetentionReport {
    int pictures_deleted = 0;
    std::uint64_t picture_bytes = 0;
    int pictures_elsewhere = 0;  // outside the output folder: left where they are
    int runs_retired = 0;
    std::vector<std::string> problems;  // a picture that cannot be deleted: its run stays
    [[nodiscard]] bool did_anything() const { return pictures_deleted > 0 || runs_retired > 0; }
};

[[nodiscard]] bool has_retention(const Config& config);
// In small transactions, so that a job that ends meanwhile is recorded at once. Ends early when
// `stop` is set.
[[nodiscard]] Result<RetentionReport> apply_retention(history::Store& store, const Config& config,
                                                      std::int64_t now_ms,
                                                      const std::atomic<bool>& stop);

}  // namespace plimsoll::service
