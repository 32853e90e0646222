// SPDX-License-Identifier: Apache-2.0
#include "service/trends.h"

#include <algorithm>
#include <utility>

namespace plimsoll::service {

Result<std::vector<Trend>> trends_of(history::Store& store, const history::RunFilter& filter,
                                     history::StatsBy by) {
    using history::StatsBy;
    const bool is_split = by == StatsBy::Model || by == StatsBy::Card;
    TRY_ASSIGN(std::vector<history::RunStats> groups,
               store.stats_of(filter, is_split ? by : StatsBy::All));
    if (groups.size() > kTrendsMax) groups.resize(kTrendsMax);
    std::vector<Trend> trends;
    for (history::RunStats& group : groups) {
        history::RunFilter one = filter;
        if (by == StatsBy::Model) one.model = group.key;
        if (by == StatsBy::Card) one.card = group.key;
        TRY_ASSIGN(auto days, store.stats_of(one, StatsBy::Day));
        std::ranges::reverse(days);
        std::string key = is_split ? group.key : "all";
        trends.push_back({std::move(key), std::move(group), std::move(days)});
    }
    return trends;
}

}  // namespace plimsoll::service
