// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_held.h"

#include "wire/encode_parts.h"

#include <utility>

namespace plimsoll::wire {

json::object encode_held_job(const guard::HeldView& job) {
    json::array edits;
    for (const guard::Edit& edit : job.facts.edits)
        edits.emplace_back(json::object{{"knob", edit.knob},
                                        {"nodeId", edit.node_id},
                                        {"input", edit.input},
                                        {"from", edit.from},
                                        {"to", edit.to},
                                        {"what", edit.what.message()},
                                        {"whatPhrase", phrase_or_null(edit.what)}});
    return {{"promptId", job.prompt_id},
            {"state", guard::held_state_name(job.state)},
            {"clientId", job.facts.client},
            {"number", job.facts.number},
            {"model", job.facts.model},
            {"priority", job.priority},
            {"place", job.place},
            {"waitsFor", guard::waits_for_name(job.waits_for)},
            {"startSeconds", or_null(job.start_seconds)},
            {"forecastPeakBytes", bytes_or_null(job.facts.peak)},
            {"forecastSeconds", or_null(job.facts.seconds)},
            {"acceptedMs", job.accepted_ms},
            {"endedMs", job.ended_ms == 0 ? json::value(nullptr) : json::value(job.ended_ms)},
            {"planLevel", job.facts.tries.plan_level},
            {"edits", std::move(edits)},
            {"events", texts(messages_of(job.facts.events))},
            {"eventPhrases", encode_phrases(job.facts.events)},
            {"why", message_or_null(job.why)},
            {"whyPhrase", phrase_or_null(job.why)},
            {"runAnyway", job.facts.anyway},
            {"mayRunAnyway", job.may_run_anyway}};
}

json::object encode_gateway(const guard::GuardView& view) {
    json::array jobs;
    for (const guard::HeldView& job : view.jobs) jobs.emplace_back(encode_held_job(job));
    const guard::GuardCounts& counts = view.counts;
    return {{"policy", guard::policy_name(view.policy)},
            {"paused", view.paused},
            {"heat", guard::heat_state_name(view.heat)},
            {"heatWhy", view.heat_why.message()},
            {"heatPhrase", phrase_or_null(view.heat_why)},
            {"counts", json::object{{"accepted", counts.accepted},
                                    {"done", counts.done},
                                    {"failed", counts.failed},
                                    {"cancelled", counts.cancelled},
                                    {"refused", counts.refused},
                                    {"retried", counts.retried},
                                    {"changed", counts.changed},
                                    {"quarantined", counts.quarantined},
                                    {"freed", counts.freed},
                                    {"waiting", counts.waiting}}},
            {"jobs", std::move(jobs)}};
}

}  // namespace plimsoll::wire
