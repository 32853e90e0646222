// SPDX-License-Identifier: Apache-2.0
//
// Lookout: watches ComfyUI and its card for a daemon, from a thread of its own: often while a job
// runs, seldom otherwise. What it saw last is the Place that questions are answered for.
//
// Enters through: ComfyAtHand, Clock.   Leaves through: Place, CardSample, callbacks.   Threads:
// callbacks come from its thread; everything else from any.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "service/comfy_at_hand.h"
#include "service/place.h"
#include "timing/pace.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace plimsoll::service {

// One look at the card.
struct CardSample {
    std::int64_t at_ms = 0;
    std::string name;                 // as ComfyUI calls it
    std::optional<std::string> card;  // its key in the catalogue
    Bytes total;
    std::optional<Bytes> used;       // the whole card; nullopt on a CPU
    std::optional<Bytes> allocated;  // by torch
    CardLook look;                   // by its driver, where that is on this machine
};

class Lookout {
  public:
    // Whose ComfyUI it is. Ours is started anew for each job: its first answer tells how jobs find
    // it, later ones do not change the Place.
    enum class Whose : std::uint8_t { Theirs, Ours };
    struct Options {
        Whose whose = Whose::Theirs;
        std::chrono::milliseconds busy_pause{1000};  // design: telemetry at 1 Hz while a job runs
        std::chrono::milliseconds idle_pause{5000};  // chosen: half a per mille of a core
        // A simulated card that is faster than ours is looked at more often, but no more than so.
        std::chrono::milliseconds least_pause{100};
        std::string kind = {};  // Site::kind
        // What was learned of a card, by its name in the history; null: nothing ever is.
        std::function<timing::SharedPaces(const std::string& card)> paces = nullptr;
    };
    struct Callbacks {
        std::function<void(const CardSample&)> on_sample;
        // ComfyUI answers again (true) or no longer; said once for each change.
        std::function<void(bool answers, const std::string& why)> on_contact;
    };

    // Looks at nothing yet: until `start` the Place is that of the configuration alone.
    [[nodiscard]] static Result<std::unique_ptr<Lookout>> create(Config config,
                                                                 ComfyAtHand& comfyui,
                                                                 const Clock& clock,
                                                                 const Options& options,
                                                                 Callbacks callbacks);
    ~Lookout() { stop(); }
    Lookout(const Lookout&) = delete;
    Lookout& operator=(const Lookout&) = delete;

    void start();
    void stop();
    // A job runs, or none does any more.
    void set_busy(bool busy);
    // Another configuration from now on; the old one stays where it cannot be used.
    [[nodiscard]] Result<void> reload(Config config);
    // One look, in the caller's thread.
    void look();

    [[nodiscard]] std::shared_ptr<const Place> place() const;
    [[nodiscard]] std::optional<CardSample> latest() const;
    // Whether any look since then (Unix time) found the card slowed down by heat.
    [[nodiscard]] bool throttled_since(std::int64_t unix_ms) const {
        return throttled_ms_ >= unix_ms;
    }

  private:
    Lookout(ComfyAtHand& comfyui, const Clock& clock, const Options& options, Callbacks callbacks)
        : comfyui_(comfyui), clock_(clock), options_(options), callbacks_(std::move(callbacks)) {}
    void run();
    [[nodiscard]] telemetry::Attention attention() const;
    [[nodiscard]] std::chrono::milliseconds pause() const;  // with the lock held
    void note_contact(bool answers, const std::string& why);
    void take_stats(const ServerStats& stats);
    void take_paces();
    [[nodiscard]] CardSample sample_of(const ServerStats& stats, telemetry::Attention attention);

    ComfyAtHand& comfyui_;
    const Clock& clock_;
    Options options_;
    Callbacks callbacks_;

    std::atomic<std::int64_t> throttled_ms_ = std::numeric_limits<std::int64_t>::min();
    std::mutex look_mutex_;  // one look at a time
    int misses_ = 0;
    std::optional<bool> answers_;  // nullopt: not known yet

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable wake_;
    bool stopping_ = false;
    bool busy_ = false;
    std::shared_ptr<const Place> place_;
    std::optional<CardSample> latest_;
    std::thread thread_;
};

}  // namespace plimsoll::service
