// SPDX-License-Identifier: Apache-2.0
//
// plimsoll residency: recorded steps of ComfyUI's loader in, what the simulated one decides out.
#include "memory/residency/answer.h"

#include "cli/answer_lines.h"
#include "cli/commands.h"
#include "cli/session.h"

#include <CLI/CLI.hpp>

#include <string_view>

namespace plimsoll::cli {

void add_residency(Commands& commands) {
    commands.add(
        "residency",
        "answer JSON lines about loading (scenario, card, step, inputs) with what stays on "
        "the card",
        "zcat steps.jsonl.gz | plimsoll residency", [](Session& session) {
            memory::ResidencyAnswerer answerer;
            return answer_lines(session,
                                [&](std::string_view line) { return answerer.answer_line(line); });
        });
}

}  // namespace plimsoll::cli
