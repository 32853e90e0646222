// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_filter.h"

#include "history/search_words.h"

#include <fmt/format.h>

#include <limits>
#include <string_view>

namespace plimsoll::history {

FacetFilter FacetFilter::of(const RunFilter& filter, Connection& connection) {
    FacetFilter facets;
    const auto add = [&](const char* column, const std::optional<std::string>& name) {
        if (!name) return;
        const std::int64_t id = connection.find_name(*name);
        facets.finds_nothing = facets.finds_nothing || id == 0;
        facets.equal.emplace_back(column, id);
    };
    add("model", filter.model);
    add("card", filter.card);
    if (filter.outcome)
        facets.equal.emplace_back("outcome", static_cast<std::int64_t>(*filter.outcome));
    add("verdict", filter.verdict);
    add("family", filter.family);
    facets.since_ms = filter.since_ms.value_or(std::numeric_limits<std::int64_t>::min());
    facets.before_ms = filter.before_ms.value_or(std::numeric_limits<std::int64_t>::max());
    facets.finds_nothing = facets.finds_nothing || facets.since_ms >= facets.before_ms;
    return facets;
}

std::string FacetFilter::conditions() const {
    std::string sql;
    for (const auto& [column, id] : equal) sql += fmt::format(" AND {} = {}", column, id);
    return sql;
}

bool FacetFilter::has(const char* column) const {
    return std::ranges::any_of(
        equal, [&](const auto& one) { return std::string_view(one.first) == column; });
}

IdRange ids_between(const FacetFilter& facets, Connection& connection) {
    constexpr std::int64_t kMsMin = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t kMsMax = std::numeric_limits<std::int64_t>::max();
    IdRange ids;
    if (facets.since_ms == kMsMin && facets.before_ms == kMsMax) return ids;
    Prepared select = connection.prepared(
        fmt::format("SELECT min(run_least), max(run_most) FROM total_sums WHERE by = {} AND "
                    "key >= ? AND key <= ?",
                    static_cast<int>(StatsBy::Day)));
    select->bind(1, facets.since_ms == kMsMin ? kMsMin : day_of(facets.since_ms));
    select->bind(2, day_of(facets.before_ms));
    select->executeStep();
    if (select->getColumn(0).isNull()) return {.low = 1, .high = 0};
    return {.low = select->getColumn(0).getInt64(), .high = select->getColumn(1).getInt64()};
}

// As index_run writes the facets: the first letter of the column and the id.
std::string words_query(const RunFilter& filter, const FacetFilter& facets) {
    std::string query = Search::of(filter.text.value_or("")).fts_query();
    if (query.empty()) return query;
    for (const auto& [column, id] : facets.equal)
        query += fmt::format(" AND facets : {}{}", column[0], id);
    return query;
}

}  // namespace plimsoll::history
