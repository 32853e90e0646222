// SPDX-License-Identifier: Apache-2.0
//
// Everything that schema 5 keeps beside the runs so that nothing has to look at all of them:
// facets, running summaries, words. Written in the transaction of the run itself. Only the
// sqlite_* sources of this folder include this; exceptions of SQLiteCpp pass through.
#pragma once
#include "history/run.h"
#include "history/sqlite_connection.h"
#include "history/sums.h"

#include <cstdint>
#include <string>

namespace plimsoll::history {

void index_run(Connection& connection, std::int64_t id, const RunRecord& run);

// Replaced: as if it had never been. Retired: the row goes, what it added to the sums stays.
enum class Leaving : std::uint8_t { Replaced, Retired };
void unindex_run(Connection& connection, std::int64_t id, const RunRecord& run, Leaving how);

// From the runs alone, whatever was there. What retention has taken away is no longer counted.
void rebuild_index(Connection& connection);

// "runs, kept, ...", "sum(runs), sum(kept), ..., min(seconds_least), ..." and such a row read back.
[[nodiscard]] const std::string& sums_columns();
[[nodiscard]] const std::string& sums_aggregates();
[[nodiscard]] RunSums read_sums(SQLite::Statement& from, int first_column);

}  // namespace plimsoll::history
