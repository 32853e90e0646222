// SPDX-License-Identifier: Apache-2.0
#include "daemon/caretaker.h"

#include "service/retention.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace plimsoll::daemon {

namespace {

constexpr std::chrono::seconds kFirst{5};  // chosen: a start has more urgent things to do
constexpr std::chrono::hours kBetween{1};  // chosen: rules count days

}  // namespace

Caretaker::Caretaker(Parts parts) : parts_(std::move(parts)), thread_([this] { live(); }) {}

Caretaker::~Caretaker() {
    {
        const std::lock_guard lock(mutex_);
        stops_ = true;
    }
    woken_.notify_all();
    thread_.join();
}

void Caretaker::live() {
    std::chrono::seconds wait = kFirst;
    while (true) {
        {
            std::unique_lock lock(mutex_);
            if (woken_.wait_for(lock, wait, [this] { return stops_.load(); })) return;
        }
        look_after();
        wait = kBetween;
    }
}

void Caretaker::look_after() {
    const service::Config config = parts_.config();
    if (!service::has_retention(config)) return;
    const auto store = parts_.open_history();
    if (!store) return parts_.on_problem(store.error().message);
    const auto report = service::apply_retention(**store, config, parts_.clock.unix_ms(), stops_);
    if (!report) return parts_.on_problem(report.error().message);
    if (report->did_anything())
        parts_.on_note(fmt::format("{} old pictures deleted, {} old runs taken out of the history",
                                   report->pictures_deleted, report->runs_retired));
    for (const std::string& problem : report->problems) parts_.on_problem(problem);
}

}  // namespace plimsoll::daemon
