// SPDX-License-Identifier: Apache-2.0
//
// The door of `memory`: a drawn Graph is lowered to an executed Program, the program is simulated
// on a server and a card. Pure: same input, same output; no clock, file, socket, thread or log.
#pragma once
#include "memory/built_models.h"
#include "memory/forecast.h"
#include "memory/input_media.h"
#include "memory/program.h"
#include "memory/server.h"
#include "workflow/graph.h"

#include <memory>

namespace plimsoll::memory {

// Order of execution is ComfyUI's; nodes that nothing needs are left out. Faulty links, cycles and
// unknown nodes become Unknown steps. `media`: sizes of the images, videos and sounds that the
// graph loads, as far as they are known.
[[nodiscard]] Program lower_graph(const workflow::Graph& graph, const BuiltModels& models,
                                  const InputMedia& media = {});

// What stays on the card between jobs of a session, and which node outputs ComfyUI has cached. One
// thread at a time.
class SessionState {
  public:
    SessionState();
    ~SessionState();
    SessionState(const SessionState&) = delete;
    SessionState& operator=(const SessionState&) = delete;

    // A server that restarted, or POST /free with unload_models and free_memory.
    void forget();

    struct Content;
    [[nodiscard]] Content& content() { return *content_; }

  private:
    std::unique_ptr<Content> content_;
};

// Without a session the card starts empty and every file is read from disk. With one, the forecast
// leaves the session as the job would leave the server. A session belongs to one server and card:
// with others it begins afresh.
[[nodiscard]] Forecast simulate_program(const Program& program, const Server& server,
                                        const Device& device, SessionState* session = nullptr);

}  // namespace plimsoll::memory
