// SPDX-License-Identifier: Apache-2.0
//
// The part of QualityLab that looks for models which were never tested.
#include "quality/lab/session_json.h"
#include "service/quality/quality_lab.h"

#include <algorithm>
#include <utility>

namespace plimsoll::service {

namespace {

using quality::Session;
using quality::SessionState;

std::string_view file_of(std::string_view name) {
    return name.substr(name.find_last_of("/\\") + 1);
}

// Checkpoints with which a session drew, or was to draw: whoever declines a proposal is not asked
// again.
std::set<std::string, std::less<>> tested_checkpoints(
    const std::vector<history::QualitySession>& sessions) {
    std::set<std::string, std::less<>> out;
    for (const history::QualitySession& row : sessions)
        if (const auto plan = quality::parse_plan(row.plan_json))
            for (const quality::Entrant& entrant : plan->entrants)
                out.emplace(file_of(entrant.setting.checkpoint));
    return out;
}

}  // namespace

void QualityLab::look_around() {
    const auto store = parts_.open_store();
    if (!store) return;
    sync_proposals(**store);
    const std::chrono::nanoseconds now = parts_.clock.steady();
    if (!is_idle() || (looked_at_ && now - *looked_at_ < parts_.look_every)) return;
    looked_at_ = now;
    propose_tests(**store);
}

// The command line accepts and declines in the history.
void QualityLab::sync_proposals(history::Store& store) {
    std::vector<std::string> proposed;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, open] : open_)
            if (open.session.progress().state == SessionState::Proposed) proposed.push_back(id);
    }
    for (const std::string& id : proposed) {
        auto kept = load_session(store, id);
        if (!kept || kept->progress().state == SessionState::Proposed) continue;
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(id);
        if (open == open_.end()) continue;
        if (quality::is_over(kept->progress().state))
            open_.erase(open);
        else
            open->second.session = std::move(*kept);
    }
}

void QualityLab::propose_tests(history::Store& store) {
    const auto upstream = parts_.comfyui.reach();
    if (!upstream) return;
    const auto listed = (*upstream)->list_models("checkpoints");
    const auto sessions = store.list_sessions();
    if (!listed || !sessions) return;
    const auto tested = tested_checkpoints(*sessions);
    const bool agreed = parts_.place()->config.quality_run_when_idle.value;
    for (const std::string& checkpoint : *listed) {
        if (tested.contains(file_of(checkpoint)) || passed_over_.contains(checkpoint)) continue;
        {
            const std::lock_guard lock(mutex_);
            const auto waiting = std::ranges::count_if(
                open_, [](const auto& one) { return one.second.session.plan().in_background; });
            if (stopping_ || static_cast<std::size_t>(waiting) >= kProposalsMax) return;
        }
        if (parts_.card_is_busy && parts_.card_is_busy()) return;
        QualityOrder order;
        order.model = checkpoint;
        order.in_background = true;
        const auto view = plan_and_keep(order, !agreed);
        // A refiner, a network that nobody can forecast, one that does not fit: it stays so.
        if (view)
            parts_.on_proposal(*view);
        else if (view.error().code != Errc::Unavailable)
            passed_over_.insert(checkpoint);
    }
}

Result<std::vector<QualityView>> QualityLab::proposals() {
    std::vector<QualityView> out;
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    TRY_ASSIGN(auto rows, known->list_sessions());
    std::ranges::reverse(rows);
    for (const history::QualitySession& row : rows) {
        const auto progress = quality::parse_progress(row.progress_json);
        if (!progress || progress->state != SessionState::Proposed) continue;
        if (auto session = load_session(*known, row.session_id))
            out.emplace_back(std::move(*session));
    }
    return out;
}

}  // namespace plimsoll::service
