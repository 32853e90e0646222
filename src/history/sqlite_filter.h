// SPDX-License-Identifier: Apache-2.0
//
// A RunFilter in the ids of the tables. Only the sqlite_* sources of this folder include this.
#pragma once
#include "history/run.h"
#include "history/sqlite_connection.h"
#include "history/sums.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::history {

struct FacetFilter {
    // A column of run_facets and day_sums, and what it must be.
    std::vector<std::pair<const char*, std::int64_t>> equal;
    std::int64_t since_ms = 0;
    std::int64_t before_ms = 0;
    bool finds_nothing = false;  // a name that no run has

    [[nodiscard]] static FacetFilter of(const RunFilter& filter, Connection& connection);
    // " AND model = 3 AND outcome = 1": numbers of ours.
    [[nodiscard]] std::string conditions() const;
    [[nodiscard]] bool has(const char* column) const;
};

// Between which ids the runs of the filter's days lie; all of them without days. Ids follow the
// starts but for clocks set back.
struct IdRange {
    std::int64_t low = 1;
    std::int64_t high = std::numeric_limits<std::int64_t>::max();
};
[[nodiscard]] IdRange ids_between(const FacetFilter& facets, Connection& connection);

// Runs that the filter finds, for statements with its text; see sqlite_filter.cpp.
[[nodiscard]] std::string words_query(const RunFilter& filter, const FacetFilter& facets);

}  // namespace plimsoll::history
