// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's queue and history: a binary heap that GET /queue shows as it is, at most 10000 finished
// prompts, all of it lost with the process.
//
// Threads: any. `on_change` is called with the lock held, so that the numbers it reads come in the
// order of the changes; it must not call back.
#pragma once
#include "simulator/python_value.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::simulator {

struct QueuedPrompt {
    Value number;  // int, or float where the client gave it
    std::string id;
    Value prompt;
    Dict extra_data;
    std::vector<std::string> outputs;

    // As GET /queue and the history show it: a list of five.
    [[nodiscard]] Value as_list() const;
};

struct Finished {
    Dict outputs;
    Dict meta;
    bool success = false;
    List messages;  // [event, data] pairs
};

class PromptQueue {
  public:
    // Called after every change with the number of prompts that run or wait.
    std::function<void(std::size_t remaining)> on_change;

    void put(QueuedPrompt prompt);
    struct Flags {
        bool unload_models = false;
        bool free_memory = false;
    };
    // Waits for a prompt (nullopt when woken by flags or stop). Flags that found the queue idle
    // come before a prompt that was put after them: a waiting worker wakes at once.
    [[nodiscard]] std::optional<QueuedPrompt> take();
    void finish(const QueuedPrompt& prompt, Finished result);
    [[nodiscard]] Flags take_flags();
    void set_flags(Flags flags);

    [[nodiscard]] std::size_t remaining() const;
    [[nodiscard]] std::optional<std::string> running_id() const;
    // {"queue_running": [...], "queue_pending": [...]}
    [[nodiscard]] Dict as_dict() const;
    void clear();
    void remove(std::string_view id);

    [[nodiscard]] Dict history(std::optional<long long> max_items, long long offset) const;
    [[nodiscard]] Dict history_of(std::string_view id) const;
    void clear_history();
    void remove_history(std::string_view id);

    // Wakes everybody for good; what was queued is lost.
    void stop();

  private:
    void changed();
    [[nodiscard]] std::size_t remaining_locked() const;

    mutable std::mutex mutex_;
    std::condition_variable not_empty_;
    std::vector<QueuedPrompt> heap_;
    std::optional<QueuedPrompt> running_;
    std::vector<std::pair<std::string, Value>> history_;  // oldest first
    Flags flags_;
    bool has_flags_ = false;
    bool flags_first_ = false;  // they were set while nothing ran or waited
    bool stopped_ = false;
};

}  // namespace plimsoll::simulator
