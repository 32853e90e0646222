// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/follow.h"

#include "base/say.h"
#include "service/comfyui/step_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace plimsoll::service {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kReconnectFirst{300};  // what ComfyUI's own front end waits
constexpr milliseconds kReconnectMax{5000};   // chosen
constexpr milliseconds kInterruptGrace{
    10'000};                         // chosen: an interrupt takes effect after the current step
constexpr int kMissesUntilLost = 2;  // chosen: one look could fall between two states of a proxy
constexpr int kMessagesAtOnceMax = 256;  // chosen: then deadlines and the sample have their turn

double seconds_of(nanoseconds span) {
    return static_cast<double>(span.count()) / 1e9;
}

// How a job ended and why, or not yet.
using Ending = std::optional<JobEnd>;

class Follower {
  public:
    Follower(Upstream& upstream, std::string prompt_id, std::string client_id, const Clock& clock,
             const FollowOptions& options)
        : upstream_(upstream),
          prompt_id_(std::move(prompt_id)),
          client_id_(std::move(client_id)),
          clock_(clock),
          options_(options) {}

    Result<JobReport> run(std::string_view workflow) {
        // Listen first: the first messages may overtake the answer to POST /prompt. A refused
        // WebSocket is no reason to give up.
        open_stream();
        submitted_ = clock_.steady();
        watched_from_ = measured();
        if (!options_.submitted) TRY_DO(submit(workflow));
        // What was said before this socket was opened is not repeated.
        next_poll_ = options_.submitted ? submitted_ : submitted_ + poll_pause();
        next_sample_ = submitted_;
        last_contact_ = submitted_;
        Ending ending;
        while (!ending) {
            ending = should_stop();
            if (!ending) ending = listen(options_.tick);
            if (!ending) ending = poll_when_due();
            if (!ending) ending = sample_when_due();
            show_progress();
        }
        finish(*ending);
        return std::move(report_);
    }

  private:
    // An answer that got lost does not mean that the job did: the queue knows.
    Result<void> submit(std::string_view workflow) {
        auto submitted = upstream_.submit(workflow, prompt_id_, client_id_);
        if (submitted || submitted.error().code != Errc::Unavailable) return submitted;
        const auto job = upstream_.read_job(prompt_id_);
        if (job && job->state != JobState::Unknown) return {};
        return submitted;
    }

    // Cancel and deadline: both interrupt the job and wait until ComfyUI let go of it.
    Ending should_stop() {
        if (options_.left != nullptr && options_.left->load()) {
            report_.why = say<"end.goes_on">();
            return JobEnd::Left;
        }
        const bool cancelled = options_.cancelled != nullptr && options_.cancelled->load();
        const bool late = clock_.steady() - submitted_ > options_.timeout;
        if (!cancelled && !late) return std::nullopt;
        progress_.stopping = true;
        show_progress();
        const bool let_go = stop_job();
        Phrase kept = let_go ? say<"end.interrupted">() : say<"end.not_confirmed">();
        report_.why = cancelled ? say<"end.cancelled">(std::move(kept))
                                : say<"end.late">(options_.timeout.count() / 1000, std::move(kept));
        return cancelled ? JobEnd::Cancelled : JobEnd::TimedOut;
    }

    bool stop_job() {
        const nanoseconds give_up = clock_.steady() + kInterruptGrace;
        while (clock_.steady() < give_up) {
            // Each time: the job may move from the queue to the worker between two looks.
            if (!upstream_.cancel(prompt_id_)) return false;
            sleep(options_.tick);
            const auto job = upstream_.read_job(prompt_id_);
            if (!job) return false;
            if (job->state != JobState::Pending && job->state != JobState::Running) {
                add_images(job->images);
                return true;
            }
        }
        return false;
    }

    void open_stream() {
        auto opened = upstream_.open_events(client_id_, prompt_id_);
        if (opened) {
            stream_ = std::move(*opened);
            reconnect_wait_ = kReconnectFirst;
            return;
        }
        next_reconnect_ = clock_.steady() + reconnect_wait_;
        reconnect_wait_ = std::min(2 * reconnect_wait_, kReconnectMax);
    }

    // Waits at most so long for a message.
    Ending listen(milliseconds wait) {
        heard_ = false;
        if (!stream_) {
            if (clock_.steady() < next_reconnect_) {
                sleep(wait);
                return std::nullopt;
            }
            open_stream();
            if (!stream_) return std::nullopt;
            ++report_.reconnects;
            next_poll_ = clock_.steady();  // what was said meanwhile is not repeated
            return std::nullopt;
        }
        auto message = stream_->next(wait);
        if (!message) {
            stream_->close();
            stream_.reset();
            next_reconnect_ = clock_.steady() + kReconnectFirst;
            next_poll_ = clock_.steady();
            return std::nullopt;
        }
        if (!*message) return std::nullopt;
        heard_ = true;
        last_contact_ = clock_.steady();
        return take(**message);
    }

    // Messages that have arrived already, without waiting for more.
    Ending hear_what_is_there() {
        Ending ending;
        for (int n = 0; stream_ && heard_ && !ending && n < kMessagesAtOnceMax; ++n)
            ending = listen(milliseconds(0));
        return ending;
    }

    Ending take(const Message& message) {
        if (const auto* const queue = std::get_if<QueueRemaining>(&message))
            progress_.ahead = queue->count;
        if (std::holds_alternative<Started>(message)) begin_execution();
        if (const auto* const cached = std::get_if<Cached>(&message))
            report_.cached_nodes = cached->nodes;
        if (const auto* const node = std::get_if<NodeStarted>(&message)) begin_node(node->node_id);
        if (const auto* const progress = std::get_if<NodeProgress>(&message)) {
            if (!progress->node_id.empty()) begin_node(progress->node_id);
            progress_.value = progress->value;
            progress_.max = progress->max;
            steps_.add(seconds_of(measured()), progress->value, progress->max);
        }
        if (const auto* const output = std::get_if<NodeOutput>(&message))
            add_images(output->images);
        if (const auto* const preview = std::get_if<Preview>(&message)) {
            ++report_.previews;
            if (options_.on_preview && !preview->image.empty()) options_.on_preview(preview->image);
        }
        if (const auto* const failed = std::get_if<Failed>(&message))
            return end_with(failed->error);
        if (std::holds_alternative<WasInterrupted>(message)) return end_interrupted();
        // `execution_success` comes before the history entry, this one after it.
        if (std::holds_alternative<Ended>(message)) return poll();
        return std::nullopt;
    }

    Ending poll_when_due() {
        if (clock_.steady() < next_poll_) return std::nullopt;
        return poll();
    }

    // With a WebSocket polling only guards against messages that never came.
    [[nodiscard]] milliseconds poll_pause() const {
        return stream_ ? 10 * options_.poll_every : options_.poll_every;
    }

    Ending poll() {
        next_poll_ = clock_.steady() + poll_pause();
        const auto job = upstream_.read_job(prompt_id_);
        if (!job) {
            if (clock_.steady() - last_contact_ < options_.away_max) return std::nullopt;
            report_.why = say<"end.away">(options_.away_max.count() / 1000, job.error().message);
            return JobEnd::Lost;
        }
        last_contact_ = clock_.steady();
        misses_ = job->state == JobState::Unknown ? misses_ + 1 : 0;
        switch (job->state) {
            case JobState::Pending:
                return std::nullopt;
            case JobState::Running:
                begin_execution();
                return std::nullopt;
            case JobState::Succeeded:
                add_images(job->images);
                return JobEnd::Succeeded;
            case JobState::Interrupted:
                add_images(job->images);
                return end_interrupted();
            case JobState::Failed:
                add_images(job->images);
                return end_with(job->error.value_or(NodeError{.node_id = {},
                                                              .node_type = {},
                                                              .message = "no reason given",
                                                              .exception_type = {}}));
            case JobState::Unknown:
                break;
        }
        if (misses_ < kMissesUntilLost) {
            next_poll_ = clock_.steady() + options_.tick;
            return std::nullopt;
        }
        report_.why = say<"end.forgotten">();
        return JobEnd::Lost;
    }

    JobEnd end_with(const NodeError& error) {
        report_.error = error;
        const bool placed = !error.node_type.empty();
        if (error.out_of_memory()) {
            report_.why =
                placed ? say<"end.out_of_memory_at">(error.node_id, error.node_type, error.message)
                       : say<"end.out_of_memory">(error.message);
            return JobEnd::OutOfMemory;
        }
        report_.why = placed ? say<"end.failed_at">(error.node_id, error.node_type, error.message)
                             : say<"end.failed">(error.message);
        return JobEnd::Failed;
    }

    JobEnd end_interrupted() {
        report_.why = say<"end.interrupted_there">();
        return JobEnd::Cancelled;
    }

    void begin_execution() {
        if (!started_) started_ = measured();
    }

    void begin_node(const std::string& node_id) {
        begin_execution();
        if (node_id == progress_.node_id) return;
        show_progress();  // how the node before it ended
        end_node();
        progress_.node_id = node_id;
        progress_.value = 0;
        progress_.max = 0;
        node_started_ = measured();
        steps_ = {};
        next_sample_ = clock_.steady();
        show_progress();  // a short node is seen too
    }

    void end_node() {
        if (progress_.node_id.empty()) return;
        NodeObservation& node = report_.nodes[progress_.node_id];
        node.seconds += seconds_of(measured() - node_started_);
        if (const auto all = steps_.all_seconds()) node.step_seconds = all;
    }

    Ending sample_when_due() {
        if (clock_.steady() < next_sample_) return std::nullopt;
        next_sample_ = clock_.steady() + options_.sample_every;
        const auto stats = upstream_.read_stats();
        if (!stats || stats->devices.empty()) return std::nullopt;
        const DeviceStats& device = stats->devices.front();
        if (device.type == "cpu") return std::nullopt;  // its numbers are those of the whole RAM
        progress_.allocated = device.allocated();
        progress_.used = device.used();
        progress_.total = device.vram_total;
        const bool was_started = started_.has_value();
        const std::string node_id = progress_.node_id;
        heard_ = true;
        const Ending ending = hear_what_is_there();
        if (!was_started) return ending;  // what the card held before is not this job's
        ++report_.samples;
        report_.allocated_peak = std::max(report_.allocated_peak, device.allocated());
        report_.used_peak = std::max(report_.used_peak, device.used());
        report_.card_total = device.vram_total;
        if (node_id.empty() || node_id != progress_.node_id) return ending;
        NodeObservation& node = report_.nodes[node_id];
        ++node.samples;
        node.allocated_peak = std::max(node.allocated_peak, device.allocated());
        return ending;
    }

    void show_progress() {
        if (!options_.on_progress) return;
        progress_.seconds = seconds_of(measured() - watched_from_);
        const auto node = report_.nodes.find(progress_.node_id);
        progress_.node_allocated_peak = std::nullopt;
        if (node != report_.nodes.end() && node->second.samples > 0)
            progress_.node_allocated_peak = node->second.allocated_peak;
        options_.on_progress(progress_);
    }

    void add_images(const std::vector<ImageRef>& images) {
        for (const ImageRef& image : images)
            if (std::ranges::find(report_.images, image) == report_.images.end())
                report_.images.push_back(image);
    }

    void finish(JobEnd end) {
        end_node();
        report_.end = end;
        const nanoseconds started = started_.value_or(measured());
        report_.seconds = seconds_of(measured() - started);
        report_.queued_seconds = seconds_of(started - watched_from_);
        if (stream_) stream_->close();
    }

    // Time as durations are told in; deadlines go by the clock.
    [[nodiscard]] nanoseconds measured() const {
        return options_.stopwatch != nullptr ? options_.stopwatch->steady() : clock_.steady();
    }

    void sleep(milliseconds span) const {
        if (options_.sleep)
            options_.sleep(span);
        else
            std::this_thread::sleep_for(span);
    }

    Upstream& upstream_;
    std::string prompt_id_;
    std::string client_id_;
    const Clock& clock_;
    const FollowOptions& options_;

    std::unique_ptr<EventStream> stream_;
    milliseconds reconnect_wait_ = kReconnectFirst;
    nanoseconds next_reconnect_{0};
    nanoseconds next_poll_{0};
    nanoseconds next_sample_{0};
    nanoseconds submitted_{0};
    nanoseconds watched_from_{0};
    nanoseconds last_contact_{0};
    nanoseconds node_started_{0};
    std::optional<nanoseconds> started_;
    int misses_ = 0;
    bool heard_ = false;  // the last listen() brought a message
    JobProgress progress_;
    StepTimes steps_;  // of the node that runs
    JobReport report_;
};

}  // namespace

Result<JobReport> run_job(Upstream& upstream, std::string_view workflow,
                          const std::string& prompt_id, const std::string& client_id,
                          const Clock& clock, const FollowOptions& options) {
    return Follower(upstream, prompt_id, client_id, clock, options).run(workflow);
}

}  // namespace plimsoll::service
