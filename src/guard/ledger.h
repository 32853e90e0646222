// SPDX-License-Identifier: Apache-2.0
//
// Ledger: what the Store is told of the jobs that are held. What it does not take (a full disk) is
// owed: the jobs go on in memory, as long as this process lives, and are written as soon as it
// takes them.
//
// Enters through: HeldJob, ids.   Leaves through: Store.   Threads: safe from any. It asks for jobs
// with its lock held, so whoever answers must not call it with a lock of their own held.
#pragma once
#include "base/error.h"
#include "history/store.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

namespace plimsoll::guard {

class Ledger {
  public:
    using Open = std::function<Result<std::shared_ptr<history::Store>>()>;
    // `open` is called until it succeeds once.
    explicit Ledger(Open open) : open_(std::move(open)) {}

    // Anything else that the Store is for; nothing is owed of it.
    [[nodiscard]] Result<void> use(const std::function<Result<void>(history::Store&)>& what);

    // A new job. Where it fails and the job goes on all the same, its owner owes it once it is
    // held.
    [[nodiscard]] Result<void> add(const history::HeldJob& job);
    void owe(const std::string& prompt_id);
    // A job that has changed, marks, jobs that have ended: where they fail it is owed.
    [[nodiscard]] Result<void> keep(const history::HeldJob& job);
    [[nodiscard]] Result<void> mark(std::span<const history::HeldChange> changes);
    [[nodiscard]] Result<void> drop(std::span<const std::string> prompt_ids);

    // Writes what is owed, a part of it at a time, and not at every turn where that fails. `find`
    // gives a job as it is now; nullopt: it is not held any more. True: that was the last.
    [[nodiscard]] bool pay(
        std::int64_t now_ms,
        const std::function<std::optional<history::HeldJob>(const std::string& prompt_id)>& find);
    [[nodiscard]] std::size_t owed() const;

  private:
    enum class Written : std::uint8_t { Never, Before };

    [[nodiscard]] Result<history::Store*> store();  // with the lock held
    [[nodiscard]] Result<void> write(const history::HeldJob& job);
    [[nodiscard]] Result<void> drop_all(std::set<std::string> prompt_ids);

    Open open_;
    mutable std::mutex mutex_;
    std::shared_ptr<history::Store> store_;
    // No more than were held at once: of those that the Store never had nothing is owed once they
    // have ended.
    std::map<std::string, Written> owed_;
    std::set<std::string> undropped_;
    std::int64_t tried_ms_ = 0;
};

}  // namespace plimsoll::guard
