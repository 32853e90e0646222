// SPDX-License-Identifier: Apache-2.0
//
// A run as a row of the table `runs`. Only the sqlite_* sources of this folder include this.
#pragma once
#include "base/error.h"
#include "history/run.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <string>

namespace plimsoll::history {

// The columns in the order of bind_run and read_row.
extern const char* const kRunColumns;
inline constexpr int kRunColumnCount = 32;

// Inserts the row, or updates the one with this run_id, keeping its id.
[[nodiscard]] const std::string& upsert_run_sql();
void bind_run(SQLite::Statement& to, const RunRecord& run);
// Corrupt when a field is not what bind_run writes.
[[nodiscard]] Result<RunRecord> read_row(SQLite::Statement& from);

}  // namespace plimsoll::history
