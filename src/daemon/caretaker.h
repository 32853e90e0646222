// SPDX-License-Identifier: Apache-2.0
//
// Caretaker: every hour it takes away what is older than the configuration keeps.
//
// Threads: one of its own, which calls everything in Parts; ended by the destructor.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "history/store.h"
#include "service/config.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace plimsoll::daemon {

class Caretaker {
  public:
    struct Parts {
        std::function<service::Config()> config;
        std::function<Result<std::unique_ptr<history::Store>>()> open_history;
        const Clock& clock;
        std::function<void(const std::string&)> on_note;     // what was taken away
        std::function<void(const std::string&)> on_problem;  // why something could not be
    };
    explicit Caretaker(Parts parts);
    ~Caretaker();
    Caretaker(const Caretaker&) = delete;
    Caretaker& operator=(const Caretaker&) = delete;

  private:
    void live();
    void look_after();

    Parts parts_;
    std::mutex mutex_;
    std::condition_variable woken_;
    std::atomic<bool> stops_ = false;
    std::thread thread_;  // last: it uses what is above
};

}  // namespace plimsoll::daemon
