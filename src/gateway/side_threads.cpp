// SPDX-License-Identifier: Apache-2.0
#include "gateway/side_threads.h"

#include <utility>

namespace plimsoll::gateway {

SideThreads::SideThreads(int threads, std::size_t weight_max) : weight_max_(weight_max) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { live(); });
}

bool SideThreads::run(std::function<void()> work, std::size_t weight) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ || weight_ + weight > weight_max_) return false;
        weight_ += weight;
        ++given_;
        waiting_.push_back({std::move(work), weight});
    }
    changed_.notify_one();
    return true;
}

void SideThreads::live() {
    for (;;) {
        Waiting next;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
            if (stopping_) return;
            next = std::move(waiting_.front());
            waiting_.pop_front();
        }
        next.work();
        {
            const std::lock_guard lock(mutex_);
            weight_ -= next.weight;
            ++finished_;
        }
        done_.notify_all();
    }
}

std::uint64_t SideThreads::given() const {
    const std::lock_guard lock(mutex_);
    return given_;
}

bool SideThreads::wait_for(std::uint64_t given, std::chrono::milliseconds wait_max) {
    std::unique_lock lock(mutex_);
    return done_.wait_for(lock, wait_max, [&] { return stopping_ || finished_ >= given; });
}

void SideThreads::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    done_.notify_all();
    for (std::thread& one : threads_) one.join();
    threads_.clear();
    waiting_.clear();
}

}  // namespace plimsoll::gateway
