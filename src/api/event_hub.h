// SPDX-License-Identifier: Apache-2.0
//
// Server-sent events: the newest are remembered once for all streams, so that a slow reader costs
// nothing and one that comes back goes on where it was (Last-Event-ID). An id is "epoch-number":
// after a restart of the daemon, or when too much happened meanwhile, a stream is told to begin
// anew (event `reset`).
//
// Enters through: publish.   Leaves through: Subscription.   Threads: any.
#pragma once
#include "base/json.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::api {

inline constexpr std::size_t kEventsKept = 1024;           // chosen: a quarter of an hour of a job
inline constexpr std::size_t kEventBytesKept = 2U << 20U;  // chosen: a part of the idle 30 MiB
inline constexpr std::size_t kStreamsMax = 64;             // chosen: pages that one person has open

class EventHub {
  public:
    // `epoch`: another one for each start of the daemon.
    explicit EventHub(std::string epoch) : epoch_(std::move(epoch)) {}

    void publish(std::string_view type, const json::object& data);
    // Wakes all streams and lets them end.
    void close();
    [[nodiscard]] std::size_t streams() const;

    class Subscription {
      public:
        ~Subscription();
        Subscription(const Subscription&) = delete;
        Subscription& operator=(const Subscription&) = delete;

        // The bytes to send now; empty when there is nothing new.
        [[nodiscard]] std::string take();
        [[nodiscard]] bool is_closed() const;

      private:
        friend class EventHub;
        Subscription(EventHub& hub, std::uint64_t key) : hub_(hub), key_(key) {}
        EventHub& hub_;
        std::uint64_t key_;
        std::uint64_t next_ = 0;  // number of the next event
        std::optional<std::string> reset_;
        bool snapshot_ = false;
    };
    // What a stream that begins anew is shown first: types and data of whole states.
    using Snapshot = std::function<std::vector<std::pair<std::string, json::object>>()>;
    void set_snapshot(Snapshot snapshot);
    // nullptr when kStreamsMax are open. `wake` is called whenever there may be something to take.
    [[nodiscard]] std::unique_ptr<Subscription> subscribe(std::string_view last_event_id,
                                                          std::function<void()> wake);

  private:
    struct Event {
        std::uint64_t number = 0;
        std::shared_ptr<const std::string> bytes;
    };
    [[nodiscard]] std::string head_of(std::uint64_t number, std::string_view type,
                                      std::string_view suffix = "") const;

    std::string epoch_;
    mutable std::mutex mutex_;
    std::uint64_t number_ = 0;  // of the newest
    std::uint64_t keys_ = 0;
    std::size_t bytes_ = 0;
    std::deque<Event> events_;
    std::map<std::uint64_t, std::function<void()>> wakers_;
    Snapshot make_snapshot_;
    bool closed_ = false;
};

}  // namespace plimsoll::api
