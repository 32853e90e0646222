// SPDX-License-Identifier: Apache-2.0
//
// Runs for people: what was forecast beside what was observed.
//
// Leaves through: Screen.   Threads: as Screen.
#pragma once
#include "cli/screen.h"
#include "history/run.h"

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::cli {

// "2025-11-25 03:29", in local time.
[[nodiscard]] std::string local_time_text(std::int64_t unix_ms);
// The first characters of an id: enough to tell runs apart, `history show` takes them.
[[nodiscard]] std::string short_id(const std::string& run_id);
// "1024 x 1024", "1024 x 1024 x 4"
[[nodiscard]] std::string size_text(const history::Settings& settings);

// Peak and seconds of each phase, forecast and observed, and how the observed peak stands to the
// line.
void draw_comparison(Screen& screen, const history::RunRecord& run);
void draw_run(Screen& screen, const history::RunRecord& run);
void draw_runs(Screen& screen, const std::vector<history::RunRecord>& runs, std::int64_t now_ms);

}  // namespace plimsoll::cli
