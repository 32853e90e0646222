// SPDX-License-Identifier: Apache-2.0
//
// JobQueue: the jobs of a daemon. One runs at a time, the others wait in order; each goes through
// generate(), as on the command line. What was accepted is kept in the history until it has ended:
// a stop puts the running job back into the queue, after a crash it is told as lost (ComfyUI may
// have drawn it; none is run twice).
//
// Enters through: ComfyAtHand or OwnServer, Store, Clock, Random.   Leaves through: QueuedJob,
// callbacks.   Threads: callbacks come from the queue's thread or from a caller of `submit` and
// `cancel`, never with a lock held; everything else from any.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "base/random.h"
#include "history/store.h"
#include "service/comfy_at_hand.h"
#include "service/generate.h"
#include "service/place.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace plimsoll::service {

inline constexpr std::size_t kJobsWaitingMax = 100;  // chosen: hours of work of a small card
inline constexpr std::size_t kJobsEndedMax = 100;    // chosen: older ones are in the history

enum class QueueState : std::uint8_t {
    Queued,
    Running,
    Done,
    DoesNotFit,
    OutOfMemory,
    Failed,
    Cancelled,
    TimedOut,
    Lost
};
[[nodiscard]] std::string_view queue_state_name(QueueState state);
[[nodiscard]] constexpr bool has_ended(QueueState state) {
    return state != QueueState::Queued && state != QueueState::Running;
}

// What a door asks for: resolved, so that what cannot be was refused before it was accepted.
struct JobOrder {
    Job job;
    Overrides limits;
    advisor::Pins pins;
    advisor::Preference preference = advisor::Preference::Quality;
    bool run_anyway = false;
    std::string request_json;  // as the door got it, to be kept
};

struct QueuedJob {
    std::string job_id;
    QueueState state = QueueState::Queued;
    std::string prompt;
    std::string model;
    bool run_anyway = false;
    std::int64_t submitted_ms = 0;
    std::optional<std::int64_t> started_ms;
    std::optional<std::int64_t> ended_ms;
    int ahead = 0;  // jobs before it

    // While it runs.
    std::optional<std::string> phase;
    std::optional<std::string> node_id;
    std::optional<double> progress;  // 0 to 1, by the seconds of the forecast
    std::optional<std::int64_t> step;
    std::optional<std::int64_t> steps;
    std::optional<double> seconds_left;
    std::size_t run = 0;
    std::size_t runs = 1;

    std::optional<Bytes> load_line;
    std::optional<Bytes> forecast_peak;
    std::optional<Bytes> observed_peak;
    std::int64_t previews = 0;
    std::vector<std::filesystem::path> images;
    std::vector<history::RunRecord> records;  // once it has ended
    Phrase why;                               // why it did not end well
    Phrases warnings;
    std::shared_ptr<const PlanAnswer> plan;  // nullptr before there is one
};

class JobQueue {
  public:
    struct Parts {
        std::function<std::shared_ptr<const Place>()> place;
        ComfyAtHand& comfyui;
        OwnServer* own = nullptr;  // else jobs go to `comfyui`
        // Opened once, when it is first needed; may fail: then nothing is kept, and it is said.
        std::function<Result<std::unique_ptr<history::Store>>()> open_store;
        const Clock& clock;
        std::uint64_t seed = 0;  // of ids
        // Tests' law; nullptr: the real forecaster.
        std::function<advisor::Forecaster(const Site&, const Job&)> forecaster = nullptr;
        std::function<void(std::chrono::milliseconds)> sleep = nullptr;        // see FollowOptions
        std::function<bool(std::int64_t since_ms)> throttled_since = nullptr;  // see GenerateParts
    };
    struct Callbacks {
        std::function<void(const QueuedJob&)> on_job;                      // something changed
        std::function<void(const QueuedJob&, const PlanAnswer&)> on_plan;  // before it is submitted
        std::function<void(std::string_view code, const std::string& job_id, const Phrase& message)>
            on_warning;
        std::function<void(bool)> on_busy;  // a job runs, or none does any more
    };
    JobQueue(Parts parts, Callbacks callbacks);
    ~JobQueue() { stop(); }
    JobQueue(const JobQueue&) = delete;
    JobQueue& operator=(const JobQueue&) = delete;

    // Takes up what an earlier daemon left: `resolve` makes an order of a request that was kept.
    // Before `start`.
    void restore(const std::function<Result<JobOrder>(const std::string& request_json)>& resolve);
    void start();
    // Stops the running job in ComfyUI and keeps it, with all that wait, for the next start.
    void stop();

    // LimitExceeded when kJobsWaitingMax wait already, Unavailable once it stops.
    [[nodiscard]] Result<QueuedJob> submit(JobOrder order);
    // The running one, those that wait, then those that ended, newest first.
    [[nodiscard]] std::vector<QueuedJob> list() const;
    [[nodiscard]] Result<QueuedJob> find(std::string_view job_id) const;
    // A job that has ended stays as it is.
    [[nodiscard]] Result<QueuedJob> cancel(std::string_view job_id);
    // JPEG or PNG; NotFound where there is none.
    [[nodiscard]] Result<std::string> read_preview(std::string_view job_id) const;
    // The models that the running (or last) job has on the card, as its forecast says.
    [[nodiscard]] std::vector<memory::Residency> holdings() const;
    [[nodiscard]] std::optional<std::string> running() const;

  private:
    struct Entry {
        QueuedJob view;
        std::shared_ptr<const JobOrder> order;
        std::atomic<bool> cancelled = false;
        std::string preview;
    };
    using Shared = std::shared_ptr<Entry>;

    void run();
    void run_one(const Shared& entry);
    [[nodiscard]] GenerateOptions options_of(const Shared& entry, const Config& config);
    void take_plan(const Shared& entry, const PlanAnswer& answer);
    void take_progress(const Shared& entry, const GenerateProgress& now);
    void take_end(const Shared& entry, Result<Generation> generation);
    void end_in_queue(const Shared& entry, QueueState state, Phrase why);
    void tell(const Shared& entry);
    void number_waiting();                                         // with the lock held
    [[nodiscard]] Shared entry_of(std::string_view job_id) const;  // with the lock held
    void keep(const Entry& entry, bool started);
    void drop(const std::string& job_id);
    [[nodiscard]] history::Store* store();  // with the store's lock held

    Parts parts_;
    Callbacks callbacks_;
    Random random_;  // of the queue's thread

    std::mutex store_mutex_;
    std::unique_ptr<history::Store> store_;
    bool store_failed_ = false;

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable wake_;
    bool stopping_ = false;
    Random ids_;
    Shared running_;
    std::deque<Shared> waiting_;
    std::deque<Shared> ended_;  // newest first
    std::vector<memory::Residency> holdings_;
    std::chrono::nanoseconds told_{0};
    std::thread thread_;
};

}  // namespace plimsoll::service
