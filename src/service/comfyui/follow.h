// SPDX-License-Identifier: Apache-2.0
//
// run_job: one workflow through ComfyUI, from POST /prompt to its end, whatever happens on the way:
// an answer to POST /prompt that gets lost, a WebSocket that drops (opened again with the same
// client id, and /queue and /history asked meanwhile), a server that restarts and forgets the job,
// a deadline, a cancel.
//
// Enters through: Upstream, Clock.   Leaves through: JobReport, callbacks.   Threads: runs in the
// caller's.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "service/comfyui/upstream.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// Left: nobody follows it any more, ComfyUI goes on with it (FollowOptions::left).
enum class JobEnd : std::uint8_t {
    Succeeded,
    OutOfMemory,
    Failed,
    Cancelled,
    TimedOut,
    Lost,
    Left,
};

// What the card showed while a node ran: the most of all samples, so a lower bound of the true
// peak. A sample during which the node changed belongs to neither node, only to the job.
struct NodeObservation {
    double seconds = 0;
    std::optional<double> step_seconds = std::nullopt;  // of all its steps: step_times.h
    Bytes allocated_peak;                               // torch's allocated bytes
    int samples = 0;
};

struct JobReport {
    JobEnd end = JobEnd::Failed;
    Phrase why;  // a sentence with the way out, empty on success
    std::optional<NodeError> error;
    std::vector<ImageRef> images;  // also those of a job that did not end well
    std::map<std::string, NodeObservation> nodes;
    double seconds = 0;  // from the start of execution to its end
    double queued_seconds = 0;
    Bytes allocated_peak;
    Bytes used_peak;  // everything on the card: torch's cache, other programs
    Bytes card_total;
    int samples = 0;
    int reconnects = 0;
    std::int64_t previews = 0;
    std::vector<std::string> cached_nodes;
};

// For a progress bar.
struct JobProgress {
    std::string node_id;  // empty while it waits in the queue
    double value = 0;
    double max = 0;
    double seconds = 0;      // since it was submitted
    std::int64_t ahead = 0;  // prompts in the queue, this one included, while it waits
    std::optional<Bytes> node_allocated_peak;  // most of the samples of this node
    Bytes allocated;                           // latest sample
    Bytes used;
    Bytes total;
    bool stopping = false;  // cancelled or late: ComfyUI is asked to let go of it
};

struct FollowOptions {
    std::chrono::milliseconds timeout{1'200'000};  // COMFYUI_TIMEOUT, from submission
    std::chrono::milliseconds tick{100};  // chosen: a progress bar moves ten times a second
    std::chrono::milliseconds sample_every{
        250};  // chosen: /system_stats costs ComfyUI about a millisecond
    std::chrono::milliseconds poll_every{1000};  // without a WebSocket; ten times rarer with one
    std::chrono::milliseconds away_max{
        60'000};  // chosen: a restart with a few custom nodes takes under a minute
    const std::atomic<bool>* cancelled = nullptr;  // set from a signal handler or another thread
    // Set: the job is followed no longer, and goes on in ComfyUI for whoever looks for it later.
    const std::atomic<bool>* left = nullptr;
    bool submitted = false;            // by an earlier program: it is only followed
    const Clock* stopwatch = nullptr;  // measures durations; nullptr: the clock of the deadlines
    std::function<void(const JobProgress&)> on_progress;
    std::function<void(const std::string& image)> on_preview;  // JPEG or PNG
    std::function<void(std::chrono::milliseconds)>
        sleep;  // nullptr: the thread sleeps. Tests move a ManualClock
};

// An error only when nothing runs: ComfyUI unreachable or the workflow refused. What happens after
// submission is in the report.
[[nodiscard]] Result<JobReport> run_job(Upstream& upstream, std::string_view workflow,
                                        const std::string& prompt_id, const std::string& client_id,
                                        const Clock& clock, const FollowOptions& options);

}  // namespace plimsoll::service
