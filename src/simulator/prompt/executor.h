// SPDX-License-Identifier: Apache-2.0
//
// Executes prompts one after the other, as ComfyUI's worker does: what is cached, what runs in
// which order, what is said to whom, and what remains in the history.
//
// Threads: `run` is the executing thread; interrupt and stop from any.
#pragma once
#include "base/random.h"
#include "simulator/faults.h"
#include "simulator/nodes/node.h"
#include "simulator/prompt/execution_list.h"
#include "simulator/prompt/node_cache.h"
#include "simulator/prompt/node_catalogue.h"
#include "simulator/prompt/progress_state.h"
#include "simulator/prompt/prompt_queue.h"
#include "simulator/server/message_hub.h"

#include <atomic>
#include <map>
#include <set>
#include <string>

namespace plimsoll::simulator {

class Executor {
  public:
    // Everything outlives this object.
    Executor(Machine& machine, const ModelFiles& files, FileStore& store,
             const NodeCatalogue& catalogue, PromptQueue& queue, MessageHub& hub,
             FaultBoard& faults, std::uint64_t seed);

    // Until the queue is stopped.
    void run();
    // Takes effect where the running node next looks.
    void interrupt() { interrupted_ = true; }

  private:
    // One prompt in execution.
    struct Job {
        const QueuedPrompt& queued;
        ProgressState progress;
        std::set<std::string> executed;
        List messages;
    };

    void execute(const QueuedPrompt& queued);
    // False when the prompt ended here; nothing more is said when the server is going down.
    [[nodiscard]] bool execute_node(Job& job, const std::string& id);
    [[nodiscard]] NodeInputs gather_inputs(const Job& job, const std::string& id) const;
    [[nodiscard]] NodeOutcome call_node(Job& job, const std::string& id, const NodeInputs& inputs);
    [[nodiscard]] NodeStep report_progress(Job& job, const std::string& id, const Value& done,
                                           const Value& total, const Preview* preview);
    void send_preview(const Job& job, const std::string& id, const Preview& preview,
                      const std::string& encoded, BinaryEvent event);
    void fail_node(Job& job, const std::string& id, const NodeInputs& inputs,
                   const NodeFailure& failure);
    void add_message(Job& job, std::string_view event, Dict data, bool broadcast);
    void send_progress_state(const Job& job);
    [[nodiscard]] Finished finish(Job& job, bool success) const;
    void obey_flags();

    [[nodiscard]] std::string is_changed(const std::string& class_type, const Value& inputs);
    [[nodiscard]] const std::string& temp_prefix_of(const std::string& id);
    [[nodiscard]] std::string class_of(const Job& job, const std::string& id) const;

    Machine& machine_;
    const ModelFiles& files_;
    FileStore& store_;
    const NodeCatalogue& catalogue_;
    PromptQueue& queue_;
    MessageHub& hub_;
    FaultBoard& faults_;
    NodeCache cache_;
    Random random_;
    // Of each PreviewImage, as long as its node is in the prompts: "ComfyUI_temp_abcde".
    std::map<std::string, std::string> temp_prefixes_;
    int patch_counter_ = 0;
    int unique_ = 0;
    double last_collect_ = 0;
    std::atomic<bool> interrupted_ = false;
};

}  // namespace plimsoll::simulator
