// SPDX-License-Identifier: Apache-2.0
//
// Are the tables of a history file those that this version makes? SQLite reads the definitions as
// text: a flipped bit in one is a valid other definition to it, and its own check finds nothing.
//
// Enters through: an open database.   Threads: no shared state.
#pragma once
#include <SQLiteCpp/SQLiteCpp.h>

#include <string>

namespace plimsoll::history {

// "the table run_words is not as this version makes it"; empty where all are, or where the file is
// of another schema version. Throws what SQLite throws where the definitions cannot be read.
[[nodiscard]] std::string find_schema_damage(SQLite::Database& database);

}  // namespace plimsoll::history
