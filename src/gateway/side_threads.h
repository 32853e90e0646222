// SPDX-License-Identifier: Apache-2.0
//
// Threads beside the one that moves bytes: they run what may take a while, oldest first, with a
// limit on what waits. Private to the gateway. Threads: any.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace plimsoll::gateway {

class SideThreads {
  public:
    // `weight_max`: of all that waits together.
    SideThreads(int threads, std::size_t weight_max);
    ~SideThreads() { stop(); }
    SideThreads(const SideThreads&) = delete;
    SideThreads& operator=(const SideThreads&) = delete;

    // False, with nothing kept, when too much waits already or the threads stop.
    [[nodiscard]] bool run(std::function<void()> work, std::size_t weight = 1);
    // What was given to it so far; and whether all of that is done, after waiting so long for it at
    // most. With one thread only: several end in no order.
    [[nodiscard]] std::uint64_t given() const;
    bool wait_for(std::uint64_t given, std::chrono::milliseconds wait_max);
    // Ends what runs, drops what waits. Not from one of the threads.
    void stop();

  private:
    struct Waiting {
        std::function<void()> work;
        std::size_t weight;
    };
    void live();

    std::size_t weight_max_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::condition_variable done_;
    std::uint64_t given_ = 0;
    std::uint64_t finished_ = 0;
    std::deque<Waiting> waiting_;
    std::size_t weight_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace plimsoll::gateway
