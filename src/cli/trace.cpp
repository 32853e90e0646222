// SPDX-License-Identifier: Apache-2.0
//
// plimsoll trace: recorded questions about networks in, what the ghost tensors see out.
#include "memory/trace.h"

#include "cli/answer_lines.h"
#include "cli/commands.h"
#include "cli/session.h"

#include <CLI/CLI.hpp>

namespace plimsoll::cli {

void add_trace(Commands& commands) {
    commands.add("trace",
                 "answer JSON lines about networks (family, phase, size...) with their memory",
                 "plimsoll trace < questions.jsonl\n"
                 "where a line of questions.jsonl is\n"
                 "  {\"family\": \"sdxl\", \"variant\": \"base\", \"phase\": \"unet_step\", "
                 "\"width\": 1024,\n"
                 "   \"height\": 1024, \"batch\": 2, \"dtype\": \"fp16\", \"tokens\": 77, "
                 "\"call\": \"apply_model\"}",
                 [](Session& session) { return answer_lines(session, memory::answer_trace_line); });
}

}  // namespace plimsoll::cli
