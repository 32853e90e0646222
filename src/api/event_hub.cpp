// SPDX-License-Identifier: Apache-2.0
#include "api/event_hub.h"

#include "base/text.h"
#include "base/utf8.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::api {

namespace {

constexpr std::size_t kTakeBytesMax = 256U << 10U;  // chosen: one write

// "epoch-41" or "epoch-41.2"; nullopt for another daemon's.
std::optional<std::uint64_t> number_of(std::string_view id, std::string_view epoch) {
    if (!id.starts_with(epoch) || !id.substr(epoch.size()).starts_with('-')) return std::nullopt;
    const std::string_view digits = id.substr(epoch.size() + 1);
    const auto number = parse_integer(digits.substr(0, digits.find('.')));
    if (!number || *number < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

}  // namespace

std::string EventHub::head_of(std::uint64_t number, std::string_view type,
                              std::string_view suffix) const {
    return fmt::format("id: {}-{}{}\nevent: {}\ndata: ", epoch_, number, suffix, type);
}

void EventHub::publish(std::string_view type, const json::object& data) {
    // JSON on one line: serialize escapes every line break.
    const std::string text = valid_utf8(json::serialize(data));
    std::vector<std::function<void()>> wakers;
    {
        const std::lock_guard lock(mutex_);
        ++number_;
        auto bytes = std::make_shared<const std::string>(head_of(number_, type) + text + "\n\n");
        bytes_ += bytes->size();
        events_.push_back({number_, std::move(bytes)});
        while (events_.size() > kEventsKept || (bytes_ > kEventBytesKept && events_.size() > 1)) {
            bytes_ -= events_.front().bytes->size();
            events_.pop_front();
        }
        for (const auto& [key, wake] : wakers_) wakers.push_back(wake);
    }
    for (const auto& wake : wakers) wake();
}

void EventHub::close() {
    std::vector<std::function<void()>> wakers;
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        for (const auto& [key, wake] : wakers_) wakers.push_back(wake);
    }
    for (const auto& wake : wakers) wake();
}

std::size_t EventHub::streams() const {
    const std::lock_guard lock(mutex_);
    return wakers_.size();
}

void EventHub::set_snapshot(Snapshot snapshot) {
    const std::lock_guard lock(mutex_);
    make_snapshot_ = std::move(snapshot);
}

std::unique_ptr<EventHub::Subscription> EventHub::subscribe(std::string_view last_event_id,
                                                            std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    if (wakers_.size() >= kStreamsMax) return nullptr;
    std::unique_ptr<Subscription> stream(new Subscription(*this, ++keys_));
    wakers_[stream->key_] = std::move(wake);
    stream->next_ = number_ + 1;
    if (last_event_id.empty()) {
        stream->snapshot_ = true;
        return stream;
    }
    const auto last = number_of(last_event_id, epoch_);
    const std::uint64_t oldest = events_.empty() ? number_ + 1 : events_.front().number;
    if (last && *last <= number_ && *last + 1 >= oldest) {
        stream->next_ = *last + 1;
        return stream;
    }
    stream->snapshot_ = true;
    stream->reset_ =
        last ? "more happened meanwhile than is remembered" : "the daemon was started anew";
    return stream;
}

EventHub::Subscription::~Subscription() {
    const std::lock_guard lock(hub_.mutex_);
    hub_.wakers_.erase(key_);
}

bool EventHub::Subscription::is_closed() const {
    const std::lock_guard lock(hub_.mutex_);
    return hub_.closed_;
}

std::string EventHub::Subscription::take() {
    std::string bytes;
    Snapshot make_snapshot;
    std::uint64_t at = 0;
    {
        const std::lock_guard lock(hub_.mutex_);
        if (!hub_.events_.empty() && next_ < hub_.events_.front().number) {
            // A reader that is slower than everything that happens.
            reset_ = "more happened meanwhile than is remembered";
            snapshot_ = true;
            next_ = hub_.number_ + 1;
        }
        at = next_ - 1;
        if (snapshot_) make_snapshot = hub_.make_snapshot_;
    }
    int part = 0;
    const auto add = [&](std::string_view type, const json::object& data) {
        bytes += hub_.head_of(at, type, fmt::format(".{}", part++)) +
                 valid_utf8(json::serialize(data)) + "\n\n";
    };
    if (reset_) add("reset", {{"reason", *std::exchange(reset_, std::nullopt)}});
    if (std::exchange(snapshot_, false) && make_snapshot)
        for (const auto& [type, data] : make_snapshot()) add(type, data);
    const std::lock_guard lock(hub_.mutex_);
    for (const Event& event : hub_.events_) {
        if (event.number < next_) continue;
        if (bytes.size() > kTakeBytesMax) break;
        bytes += *event.bytes;
        next_ = event.number + 1;
    }
    return bytes;
}

}  // namespace plimsoll::api
