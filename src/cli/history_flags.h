// SPDX-License-Identifier: Apache-2.0
//
// What the commands of the history share: flags that choose runs, and how the file is opened.
#pragma once
#include "cli/flags.h"
#include "cli/session.h"
#include "history/store.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

struct HistoryFlags {
    ConfigFlags config;
    history::RunFilter filter;
    std::optional<int> limit;
    std::optional<std::int64_t> cursor;
    std::string run_id;
    std::string other_id;
    std::string by = "day";
    std::string format = "jsonl";
    std::optional<std::string> output;
    std::string file;
    bool repair = false;
};

// --model, --card... --since, --before
void add_filter_flags(CLI::App& command, HistoryFlags& into);
[[nodiscard]] Result<std::unique_ptr<history::Store>> open_history(Session& session,
                                                                   const HistoryFlags& flags,
                                                                   World::Access access);

// history export, backup, restore, check, prune: below `history`.
class Commands;
void add_history_care(Commands& commands, CLI::App& history,
                      const std::shared_ptr<HistoryFlags>& flags);

// history paces: what was learned of each card.
void add_history_paces(Commands& commands, CLI::App& history,
                       const std::shared_ptr<HistoryFlags>& flags);

}  // namespace plimsoll::cli
