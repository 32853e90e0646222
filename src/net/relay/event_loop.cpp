// SPDX-License-Identifier: Apache-2.0
#include "net/relay/event_loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace plimsoll::net {

namespace {

constexpr int kEventsMax = 256;  // chosen: of one turn

}  // namespace

EventLoop::EventLoop(const Clock& clock, int epoll, int wake)
    : clock_(clock), epoll_(epoll), wake_(wake), now_(clock.steady()) {}

EventLoop::~EventLoop() {
    ::close(wake_);
    ::close(epoll_);
}

Result<std::unique_ptr<EventLoop>> EventLoop::create(const Clock& clock) {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;  // data.ptr stays null: that is the eventfd
    if (epoll < 0 || wake < 0 || ::epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) != 0) {
        const int error = errno;
        if (epoll >= 0) ::close(epoll);
        if (wake >= 0) ::close(wake);
        return fail(Errc::Unavailable, fmt::format("no event loop: {}", std::strerror(error)));
    }
    return std::unique_ptr<EventLoop>(new EventLoop(clock, epoll, wake));
}

bool EventLoop::watch(int descriptor, Pollable& who) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &who;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

bool EventLoop::watch_level(int descriptor, Pollable& who) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &who;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void EventLoop::forget(int descriptor) {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
}

void EventLoop::after(std::chrono::milliseconds wait, std::function<void()> function) {
    due_.emplace(clock_.steady() + wait, std::move(function));
}

void EventLoop::post(std::function<void()> function) {
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(function));
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);  // full means that it is awake anyway
}

void EventLoop::stop() {
    stopping_ = true;
    post([] {});
}

int EventLoop::wait_ms() const {
    if (!again_.empty()) return 0;
    if (due_.empty()) return -1;
    const auto left = due_.begin()->first - clock_.steady();
    if (left <= std::chrono::nanoseconds(0)) return 0;
    // Rounded up: a turn too early would find nothing due.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return static_cast<int>(std::min<std::int64_t>(ms, 60'000));
}

void EventLoop::run_posted() {
    std::uint64_t count = 0;
    (void)!::read(wake_, &count, sizeof count);
    std::vector<std::function<void()>> functions;
    {
        const std::lock_guard lock(mutex_);
        functions.swap(posted_);
    }
    for (const auto& function : functions) function();
}

void EventLoop::run_due() {
    while (!due_.empty() && due_.begin()->first <= now_) {
        const auto function = std::move(due_.begin()->second);
        due_.erase(due_.begin());
        function();
    }
}

void EventLoop::run() {
    std::array<epoll_event, kEventsMax> events{};
    while (!stopping_) {
        const int count = ::epoll_wait(epoll_, events.data(), kEventsMax, wait_ms());
        now_ = clock_.steady();
        for (const auto& who : std::exchange(again_, {})) who->on_ready(0);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            if (event.data.ptr == nullptr)
                run_posted();
            else
                static_cast<Pollable*>(event.data.ptr)->on_ready(event.events);
        }
        run_due();
        dead_.clear();
    }
}

}  // namespace plimsoll::net
