// SPDX-License-Identifier: Apache-2.0
//
// The door of `memory`: a drawn Graph is lowered to an executed Program, the program is simulated
// on a server and a card. Pure: same input, same output; no clock, file, socket, thread or log.
#pragma once
#include "memory/built_models.h"
#include "memory/forecast.h"
#include "memory/program.h"
#include "memory/server.h"
#include "workflow/graph.h"

#include <map>
#include <memory>
#include <string>

namespace plimsoll::memory {

// Order of execution is ComfyUI's (ExecutionList); nodes that nothing needs are left out. Faulty
// links, cycles and unknown nodes become Unknown steps.
[[nodiscard]] Program lower_graph(const workflow::Graph& graph, const ModelFiles& files);

// What stays on the card between jobs of a session, and which node outputs ComfyUI has cached.
class SessionState;
[[nodiscard]] std::shared_ptr<SessionState> fresh_session();

// Without a session the card starts empty and every file is read from disk.
[[nodiscard]] Forecast simulate_program(const Program& program, const Server& server,
                                        const Device& device, SessionState* session = nullptr);

}  // namespace plimsoll::memory
