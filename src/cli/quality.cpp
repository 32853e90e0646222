// SPDX-License-Identifier: Apache-2.0
//
// plimsoll quality: how good pictures are.
#include "cli/commands.h"

#include <CLI/CLI.hpp>

namespace plimsoll::cli {

void add_quality(Commands& commands) {
    CLI::App& quality =
        commands.add("quality", "measure pictures: how alike, how sharp, how noisy, how burnt",
                     "plimsoll quality compare 30_steps.png 12_steps.png", nullptr);
    quality.require_subcommand(1);
    add_quality_compare(commands, quality);
}

}  // namespace plimsoll::cli
