// SPDX-License-Identifier: Apache-2.0
//
// One life of the simulated server, from start to stop or crash: everything that a restart loses.
//
// Threads: handlers run on the server's one thread, prompts on the executing thread; what both use
// is safe for both.
#pragma once
#include "base/random.h"
#include "simulator/card/machine.h"
#include "simulator/card/model_files.h"
#include "simulator/faults.h"
#include "simulator/files/file_store.h"
#include "simulator/prompt/executor.h"
#include "simulator/prompt/node_catalogue.h"
#include "simulator/prompt/prompt_queue.h"
#include "simulator/prompt/validate.h"
#include "simulator/server/message_hub.h"
#include "simulator/simulated_comfyui.h"

#include <string>
#include <vector>

namespace plimsoll::simulator {

struct LogLine {
    std::string time;  // ISO 8601, microseconds
    std::string text;  // ends with a newline
};

struct App {
    App(const SimulatorOptions& options, CardSpec card, LaunchFlags launch, FileStore& files,
        FaultBoard& board, std::function<void(std::function<void()>)> post);
    App(const App&) = delete;
    App& operator=(const App&) = delete;

    const SimulatorOptions& options;
    FaultBoard& faults;
    FileStore& store;
    Machine machine;
    ModelFiles models;
    NodeCatalogue catalogue;
    PromptQueue queue;
    MessageHub hub;
    Executor executor;
    int port = 0;

    // On the server's thread only.
    long long next_number = 0;
    Dict settings;
    Random ids;
    std::vector<LogLine> log;

    [[nodiscard]] Dict features() const;
    [[nodiscard]] Dict queue_status() const;  // {"exec_info": {"queue_remaining": n}}
    [[nodiscard]] std::vector<std::string> argv() const;
    void write_log(std::string text);
};

}  // namespace plimsoll::simulator
