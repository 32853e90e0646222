// SPDX-License-Identifier: Apache-2.0
//
// One thread that waits for sockets and deadlines: epoll, edge-triggered. Small on purpose: a relay
// spends its time in the kernel, and what stands between two system calls counts.
//
// Threads: post and stop from any; everything else on the thread that runs it.
#pragma once
#include "base/clock.h"
#include "base/error.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace plimsoll::net {

// Something with a descriptor. `events`: EPOLLIN... as they came; 0 after `again`.
class Pollable {
  public:
    virtual ~Pollable() = default;
    virtual void on_ready(std::uint32_t events) = 0;
};

class EventLoop {
  public:
    // Unavailable when the system has no descriptors left.
    [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create(const Clock& clock);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    // Readable, writable and ended, each told once for each change. False: no room.
    [[nodiscard]] bool watch(int descriptor, Pollable& who);
    // Only readable, told again while it is (a listening socket).
    [[nodiscard]] bool watch_level(int descriptor, Pollable& who);
    void forget(int descriptor);

    // Calls on_ready(0) in the next turn, after the others had theirs. Whoever ends before must say
    // so.
    void again(std::shared_ptr<Pollable> who) { again_.push_back(std::move(who)); }
    // Keeps it until the turn is over: events for it may still be at hand.
    void bury(std::shared_ptr<void> dead) { dead_.push_back(std::move(dead)); }
    // Runs later on this thread. Not cancelled: what it refers to is held weakly.
    void after(std::chrono::milliseconds wait, std::function<void()> function);

    // From any thread; after `stop` it is dropped when the loop is destroyed.
    void post(std::function<void()> function);
    void run();
    void stop();
    // Monotonic; read once a turn.
    [[nodiscard]] std::chrono::nanoseconds now() const { return now_; }

  private:
    EventLoop(const Clock& clock, int epoll, int wake);
    [[nodiscard]] int wait_ms() const;
    void run_posted();
    void run_due();

    const Clock& clock_;
    int epoll_;
    int wake_;  // an eventfd
    std::chrono::nanoseconds now_;
    std::atomic<bool> stopping_ = false;
    std::vector<std::shared_ptr<Pollable>> again_;
    std::vector<std::shared_ptr<void>> dead_;
    std::multimap<std::chrono::nanoseconds, std::function<void()>> due_;
    std::mutex mutex_;
    std::vector<std::function<void()>> posted_;
};

}  // namespace plimsoll::net
