// SPDX-License-Identifier: Apache-2.0
//
// Who is connected to a server, so that stopping can first ask and then cut. Private to net.
// Threads: any.
#pragma once
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace plimsoll::net {

// Something that lives on a connection and can be ended in two steps. Both from any thread.
class Endable {
  public:
    virtual ~Endable() = default;
    virtual void end_politely() = 0;
    virtual void end_now() = 0;
};

class Registry {
  public:
    void add(const std::shared_ptr<Endable>& one) {
        const std::lock_guard lock(mutex_);
        all_.emplace(one.get(), one);
    }
    void remove(const Endable* one) {
        {
            const std::lock_guard lock(mutex_);
            all_.erase(one);
        }
        changed_.notify_all();
    }
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return all_.size();
    }
    [[nodiscard]] std::vector<std::shared_ptr<Endable>> living() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<Endable>> found;
        for (const auto& [key, weak] : all_)
            if (auto one = weak.lock()) found.push_back(std::move(one));
        return found;
    }
    // False when some are still there at the end of the wait.
    bool wait_empty(std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return all_.empty(); });
    }

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_map<const Endable*, std::weak_ptr<Endable>> all_;
};

}  // namespace plimsoll::net
