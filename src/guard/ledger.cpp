// SPDX-License-Identifier: Apache-2.0
#include "guard/ledger.h"

#include "guard/waits.h"

#include <utility>
#include <vector>

namespace plimsoll::guard {

Result<history::Store*> Ledger::store() {
    if (!store_) {
        TRY_ASSIGN(store_, open_());
    }
    return store_.get();
}

Result<void> Ledger::use(const std::function<Result<void>(history::Store&)>& what) {
    const std::lock_guard lock(mutex_);
    TRY_ASSIGN(history::Store* const store, this->store());
    return what(*store);
}

// With the lock held.
Result<void> Ledger::write(const history::HeldJob& job) {
    TRY_ASSIGN(history::Store* const store, this->store());
    TRY_DO(store->keep_held(job));
    owed_.erase(job.prompt_id);
    return {};
}

Result<void> Ledger::add(const history::HeldJob& job) {
    const std::lock_guard lock(mutex_);
    return write(job);
}

void Ledger::owe(const std::string& prompt_id) {
    const std::lock_guard lock(mutex_);
    owed_.try_emplace(prompt_id, Written::Never);
}

Result<void> Ledger::keep(const history::HeldJob& job) {
    const std::lock_guard lock(mutex_);
    const auto kept = write(job);
    if (!kept) owed_.try_emplace(job.prompt_id, Written::Before);
    return kept;
}

Result<void> Ledger::mark(std::span<const history::HeldChange> changes) {
    // Those that the store does not have are passed over, and written whole once it takes them.
    auto marked = use([&](history::Store& store) { return store.mark_held(changes); });
    const std::lock_guard lock(mutex_);
    if (!marked)
        for (const history::HeldChange& change : changes)
            owed_.try_emplace(change.prompt_id, Written::Before);
    return marked;
}

Result<void> Ledger::drop(std::span<const std::string> prompt_ids) {
    const std::lock_guard lock(mutex_);
    std::set<std::string> gone = undropped_;
    for (const std::string& id : prompt_ids) {
        const auto owed = owed_.find(id);
        const bool is_written = owed == owed_.end() || owed->second == Written::Before;
        if (owed != owed_.end()) owed_.erase(owed);
        if (is_written) gone.insert(id);
    }
    return drop_all(std::move(gone));
}

// With the lock held.
Result<void> Ledger::drop_all(std::set<std::string> prompt_ids) {
    undropped_ = std::move(prompt_ids);
    if (undropped_.empty()) return {};
    TRY_ASSIGN(history::Store* const store, this->store());
    TRY_DO(store->drop_held(std::vector<std::string>(undropped_.begin(), undropped_.end())));
    undropped_.clear();
    return {};
}

bool Ledger::pay(std::int64_t now_ms,
                 const std::function<std::optional<history::HeldJob>(const std::string&)>& find) {
    constexpr int kAtOnce = 10;  // chosen: each waits a few milliseconds for the disk
    for (int i = 0; i < kAtOnce; ++i) {
        // Let go in between: who accepts a prompt is in a hurry.
        const std::lock_guard lock(mutex_);
        if ((owed_.empty() && undropped_.empty()) || now_ms - tried_ms_ < kPayMs) return false;
        bool is_paid = drop_all(undropped_).has_value();
        if (is_paid && !owed_.empty()) {
            const std::string id = owed_.begin()->first;
            const std::optional<history::HeldJob> job = find(id);
            is_paid = !job || write(*job);
            if (is_paid) owed_.erase(id);
        }
        if (!is_paid) {
            tried_ms_ = now_ms;
            return false;
        }
        if (owed_.empty()) return true;
    }
    return false;
}

std::size_t Ledger::owed() const {
    const std::lock_guard lock(mutex_);
    return owed_.size() + undropped_.size();
}

}  // namespace plimsoll::guard
