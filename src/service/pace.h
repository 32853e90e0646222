// SPDX-License-Identifier: Apache-2.0
//
// What the history tells about the pace of a card: which runs are learned from, and a book that
// keeps what was learned until another run is recorded.
//
// Enters through: history::Store.   Leaves through: timing::Paces.   Threads: PaceBook any, else as
// the Store.
#pragma once
#include "base/error.h"
#include "history/store.h"
#include "timing/pace.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace plimsoll::service {

// What of a run can be learned from: of each phase its steps, and where a node told none the whole
// of it, if loading was but a small part of that. Nothing of a run that did not end well, whose
// card slowed itself down for heat, or that was recorded before loading was told apart.
[[nodiscard]] timing::TimedRun timed_run_of(const history::RunRecord& run);

// From the newest runs of a card, by its name in the history (Site::card_in_history): the cost does
// not grow with their number.
[[nodiscard]] Result<timing::Paces> read_paces(history::Store& store, const std::string& card);

class PaceBook {
  public:
    using OpenStore = std::function<Result<std::unique_ptr<history::Store>>()>;
    explicit PaceBook(OpenStore open_store) : open_store_(std::move(open_store)) {}

    // nullptr: nothing was learned, or the history cannot be read, which its other readers say.
    [[nodiscard]] timing::SharedPaces paces_of(const std::string& card);
    // A run was recorded: what is asked next is read again.
    void note_run() { ++recorded_; }

  private:
    struct Page {
        std::uint64_t read_at = 0;  // recorded_ then
        timing::SharedPaces paces;
    };
    OpenStore open_store_;
    std::atomic<std::uint64_t> recorded_ = 1;
    std::mutex mutex_;  // guards what follows
    std::map<std::string, Page> pages_;
};

}  // namespace plimsoll::service
