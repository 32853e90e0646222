// SPDX-License-Identifier: Apache-2.0
//
// How runs went day by day, for every model or card: from the running summaries, so the cost does
// not grow with the number of runs.
//
// Enters through: history::Store.   Leaves through: Trend.   Threads: as the Store.
#pragma once
#include "base/error.h"
#include "history/store.h"

#include <string>
#include <vector>

namespace plimsoll::service {

// Chosen: more lines on one chart cannot be told apart.
inline constexpr std::size_t kTrendsMax = 8;

struct Trend {
    std::string key;  // a model or a card; "all" by day
    history::RunStats total;
    std::vector<history::RunStats> days;  // oldest first, days without runs are left out
};

// The models or cards with the most runs first. By day: one trend of all runs.
[[nodiscard]] Result<std::vector<Trend>> trends_of(history::Store& store,
                                                   const history::RunFilter& filter,
                                                   history::StatsBy by);

}  // namespace plimsoll::service
