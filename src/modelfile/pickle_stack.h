// SPDX-License-Identifier: Apache-2.0
//
// The stack, the marks and the memo that a pickle works with, and the arena of values behind them.
// Every way to grow has a limit. Private to this folder.
#pragma once
#include "base/error.h"
#include "modelfile/pickle.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plimsoll::modelfile {

class PickleStack {
  public:
    static constexpr std::size_t kDepthMax =
        1'000'000;  // chosen: a list of a million items before its APPENDS

    [[nodiscard]] Pickle& pickle() { return pickle_; }

    Result<void> push(PickleValue value) {
        if (pickle_.values.size() == kPickleValuesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle has more than {} values", kPickleValuesMax));
        pickle_.values.push_back(std::move(value));
        return push_id(static_cast<ValueId>(pickle_.values.size() - 1));
    }

    // The same value once more.
    Result<void> push_id(ValueId id) {
        if (stack_.size() == kDepthMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle needs a stack of more than {} values", kDepthMax));
        stack_.push_back(id);
        return {};
    }

    Result<ValueId> pop() {
        if (is_at_floor()) return fail(Errc::Corrupt, "pickle takes from an empty stack");
        const ValueId id = stack_.back();
        stack_.pop_back();
        return id;
    }

    [[nodiscard]] Result<ValueId> peek() const {
        if (is_at_floor()) return fail(Errc::Corrupt, "pickle looks at an empty stack");
        return stack_.back();
    }

    // What lies above the innermost mark belongs to that mark.
    [[nodiscard]] bool is_at_floor() const {
        return stack_.size() <= (marks_.empty() ? 0 : marks_.back());
    }

    Result<void> mark() {
        if (marks_.size() == kDepthMax)
            return fail(Errc::LimitExceeded, "pickle has too many marks");
        marks_.push_back(stack_.size());
        return {};
    }

    Result<std::vector<ValueId>> pop_to_mark() {
        if (marks_.empty()) return fail(Errc::Corrupt, "pickle lacks a mark");
        std::vector<ValueId> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                                   stack_.end());
        stack_.resize(marks_.back());
        marks_.pop_back();
        return items;
    }

    Result<void> remember(std::uint64_t key) {
        TRY_ASSIGN(const ValueId id, peek());
        if (memo_.size() == kPickleValuesMax && !memo_.contains(key))
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle stores more than {} values", kPickleValuesMax));
        memo_[key] = id;
        return {};
    }
    Result<void> remember_next() { return remember(memo_.size()); }

    Result<void> recall(std::uint64_t key) {
        const auto at = memo_.find(key);
        if (at == memo_.end())
            return fail(Errc::Corrupt,
                        fmt::format("pickle recalls {}, which it never stored", key));
        return push_id(at->second);
    }

  private:
    Pickle pickle_;
    std::vector<ValueId> stack_;
    std::vector<std::size_t> marks_;
    std::unordered_map<std::uint64_t, ValueId> memo_;
};

}  // namespace plimsoll::modelfile
