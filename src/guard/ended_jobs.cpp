// SPDX-License-Identifier: Apache-2.0
#include "guard/ended_jobs.h"

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

void EndedJobs::add(HeldView view, std::optional<std::string> history) {
    jobs_.push_front({.view = std::move(view), .history = std::move(history)});
    if (jobs_.size() > kEndedMax) jobs_.pop_back();
}

void EndedJobs::erase_refused(std::string_view prompt_id) {
    std::erase_if(jobs_, [&](const EndedJob& one) {
        return one.view.prompt_id == prompt_id && one.view.state == HeldState::Refused;
    });
}

const std::string* EndedJobs::find_history(std::string_view prompt_id) const {
    const auto found = std::ranges::find_if(
        jobs_, [&](const EndedJob& one) { return one.history && one.view.prompt_id == prompt_id; });
    return found == jobs_.end() ? nullptr : &*found->history;
}

void EndedJobs::forget_history(const std::function<bool(const std::string&)>& of) {
    for (EndedJob& one : jobs_)
        if (of(one.view.prompt_id)) one.history.reset();
}

bool EndedJobs::has_history() const {
    return std::ranges::any_of(jobs_, [](const EndedJob& one) { return one.history.has_value(); });
}

bool EndedJobs::has_latents() const {
    return std::ranges::any_of(
        jobs_, [](const EndedJob& one) { return one.view.facts.latent.has_value(); });
}

}  // namespace plimsoll::guard
