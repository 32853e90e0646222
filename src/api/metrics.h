// SPDX-License-Identifier: Apache-2.0
//
// What the daemon counts, for Prometheus: base units, few labels, never an id or a prompt.
//
// Enters through: calls of the routes and callbacks.   Leaves through: text.   Threads: any.
#pragma once
#include "guard/held_view.h"
#include "service/job_queue.h"
#include "service/lookout.h"

#include <memory>
#include <string>
#include <string_view>

namespace plimsoll::api {

class Metrics {
  public:
    Metrics();
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    // `route` is a pattern of the table ("/api/jobs/{jobId}"), never what was asked for.
    void count_request(std::string_view route, int status, double seconds);
    void count_job(const service::QueuedJob& job);  // one that has ended
    void set_jobs_waiting(std::size_t count);
    void set_streams(std::size_t count);
    void set_gateway(const guard::GuardView& view);
    void set_card(const service::CardSample& sample, Bytes load_line);
    void set_comfyui_up(bool up);

    // Text format 0.0.4.
    [[nodiscard]] std::string text();

  private:
    struct Families;
    std::unique_ptr<Families> families_;
};

}  // namespace plimsoll::api
