// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/prompt_queue.h"

#include <algorithm>
#include <array>

namespace plimsoll::simulator {

namespace {

constexpr std::size_t kHistoryMax = 10000;  // MAXIMUM_HISTORY_SIZE

// Tuples compare by number, then by id.
bool before(const QueuedPrompt& a, const QueuedPrompt& b) {
    const double x = a.number.number().value_or(0);
    const double y = b.number.number().value_or(0);
    return x != y ? x < y : a.id < b.id;
}

// Python's heapq, step for step: the order inside the list can be seen.
void sift_down(std::vector<QueuedPrompt>& heap, std::size_t start, std::size_t position) {
    QueuedPrompt item = std::move(heap[position]);
    while (position > start) {
        const std::size_t parent = (position - 1) / 2;
        if (!before(item, heap[parent])) break;
        heap[position] = std::move(heap[parent]);
        position = parent;
    }
    heap[position] = std::move(item);
}
void sift_up(std::vector<QueuedPrompt>& heap, std::size_t position) {
    const std::size_t start = position;
    QueuedPrompt item = std::move(heap[position]);
    std::size_t child = 2 * position + 1;
    while (child < heap.size()) {
        const std::size_t right = child + 1;
        if (right < heap.size() && !before(heap[child], heap[right])) child = right;
        heap[position] = std::move(heap[child]);
        position = child;
        child = 2 * position + 1;
    }
    heap[position] = std::move(item);
    sift_down(heap, start, position);
}
void push(std::vector<QueuedPrompt>& heap, QueuedPrompt prompt) {
    heap.push_back(std::move(prompt));
    sift_down(heap, 0, heap.size() - 1);
}
QueuedPrompt pop(std::vector<QueuedPrompt>& heap) {
    QueuedPrompt last = std::move(heap.back());
    heap.pop_back();
    if (heap.empty()) return last;
    std::swap(heap.front(), last);
    sift_up(heap, 0);
    return last;
}
void heapify(std::vector<QueuedPrompt>& heap) {
    for (std::size_t i = heap.size() / 2; i-- > 0;) sift_up(heap, i);
}

}  // namespace

Value QueuedPrompt::as_list() const {
    List ids;
    for (const std::string& output : outputs) ids.emplace_back(output);
    return List{number, Value(id), prompt, Value(extra_data), Value(std::move(ids))};
}

void PromptQueue::changed() {
    if (on_change) on_change(remaining_locked());
}

std::size_t PromptQueue::remaining_locked() const {
    return heap_.size() + (running_ ? 1 : 0);
}

void PromptQueue::put(QueuedPrompt prompt) {
    {
        const std::lock_guard lock(mutex_);
        push(heap_, std::move(prompt));
        changed();
    }
    not_empty_.notify_one();
}

std::optional<QueuedPrompt> PromptQueue::take() {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return stopped_ || has_flags_ || !heap_.empty(); });
    if (stopped_ || heap_.empty() || flags_first_) return std::nullopt;
    QueuedPrompt prompt = pop(heap_);
    running_ = prompt;
    changed();
    return prompt;
}

void PromptQueue::finish(const QueuedPrompt& prompt, Finished result) {
    const std::lock_guard lock(mutex_);
    running_.reset();
    if (stopped_) return;
    if (history_.size() > kHistoryMax) history_.erase(history_.begin());
    QueuedPrompt kept = prompt;
    kept.extra_data.erase("auth_token_comfy_org");
    kept.extra_data.erase("api_key_comfy_org");
    Value entry(
        Dict{{"prompt", kept.as_list()},
             {"outputs", Value(std::move(result.outputs))},
             {"status", Value(Dict{{"status_str", Value(result.success ? "success" : "error")},
                                   {"completed", Value(result.success)},
                                   {"messages", Value(std::move(result.messages))}})},
             {"meta", Value(std::move(result.meta))}});
    const auto known =
        std::ranges::find(history_, prompt.id, &std::pair<std::string, Value>::first);
    if (known != history_.end())
        known->second = std::move(entry);
    else
        history_.emplace_back(prompt.id, std::move(entry));
    changed();
}

PromptQueue::Flags PromptQueue::take_flags() {
    const std::lock_guard lock(mutex_);
    has_flags_ = false;
    flags_first_ = false;
    return std::exchange(flags_, {});
}

void PromptQueue::set_flags(Flags flags) {
    {
        const std::lock_guard lock(mutex_);
        flags_.unload_models = flags_.unload_models || flags.unload_models;
        flags_.free_memory = flags_.free_memory || flags.free_memory;
        has_flags_ = true;
        flags_first_ = flags_first_ || remaining_locked() == 0;
    }
    not_empty_.notify_one();
}

std::size_t PromptQueue::remaining() const {
    const std::lock_guard lock(mutex_);
    return remaining_locked();
}

std::optional<std::string> PromptQueue::running_id() const {
    const std::lock_guard lock(mutex_);
    return running_ ? std::optional(running_->id) : std::nullopt;
}

Dict PromptQueue::as_dict() const {
    const std::lock_guard lock(mutex_);
    List running;
    List pending;
    if (running_) running.push_back(running_->as_list());
    for (const QueuedPrompt& prompt : heap_) pending.push_back(prompt.as_list());
    return {{"queue_running", Value(std::move(running))},
            {"queue_pending", Value(std::move(pending))}};
}

void PromptQueue::clear() {
    const std::lock_guard lock(mutex_);
    heap_.clear();
    changed();
}

void PromptQueue::remove(std::string_view id) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(heap_, id, &QueuedPrompt::id);
    if (found == heap_.end()) return;
    // The last one is removed by clearing, which announces itself too.
    if (heap_.size() == 1) {
        heap_.clear();
        changed();
    } else {
        heap_.erase(found);
        heapify(heap_);
    }
    changed();
}

Dict PromptQueue::history(std::optional<long long> max_items, long long offset) const {
    const std::lock_guard lock(mutex_);
    Dict found;
    const auto count = static_cast<long long>(history_.size());
    if (offset < 0 && max_items) offset = count - *max_items;
    for (long long i = 0; i < count; ++i) {
        if (i < offset) continue;
        const auto& [id, entry] = history_[static_cast<std::size_t>(i)];
        found.set(id, entry);
        if (max_items && static_cast<long long>(found.size()) >= *max_items) break;
    }
    return found;
}

Dict PromptQueue::history_of(std::string_view id) const {
    const std::lock_guard lock(mutex_);
    Dict found;
    for (const auto& [known, entry] : history_)
        if (known == id) found.set(known, entry);
    return found;
}

void PromptQueue::clear_history() {
    const std::lock_guard lock(mutex_);
    history_.clear();
}

void PromptQueue::remove_history(std::string_view id) {
    const std::lock_guard lock(mutex_);
    std::erase_if(history_, [&](const auto& entry) { return entry.first == id; });
}

void PromptQueue::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        heap_.clear();
    }
    not_empty_.notify_all();
}

}  // namespace plimsoll::simulator
