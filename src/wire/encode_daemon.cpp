// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_daemon.h"

#include "service/forecast.h"
#include "wire/encode.h"
#include "wire/encode_history.h"
#include "wire/encode_parts.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::wire {

namespace {

std::string_view vendor_name(memory::Vendor vendor) {
    switch (vendor) {
        case memory::Vendor::Nvidia:
            return "nvidia";
        case memory::Vendor::Amd:
            return "amd";
        case memory::Vendor::Intel:
            return "intel";
        case memory::Vendor::Apple:
            return "apple";
        case memory::Vendor::Cpu:
            break;
    }
    return "cpu";
}

}  // namespace

json::object encode_job(const service::QueuedJob& job) {
    json::array images;
    for (std::size_t i = 0; i < job.images.size(); ++i)
        images.emplace_back(fmt::format("/api/jobs/{}/images/{}", job.job_id, i));
    json::array run_ids;
    for (const auto& run : job.records) run_ids.emplace_back(run.run_id);
    const bool previews = job.previews > 0;
    return {{"jobId", job.job_id},
            {"state", service::queue_state_name(job.state)},
            {"prompt", job.prompt},
            {"model", job.model},
            {"runAnyway", job.run_anyway},
            {"submittedMs", job.submitted_ms},
            {"startedMs", or_null(job.started_ms)},
            {"endedMs", or_null(job.ended_ms)},
            {"ahead", job.ahead},
            {"phase", or_null(job.phase)},
            {"nodeId", or_null(job.node_id)},
            {"progress", or_null(job.progress)},
            {"step", or_null(job.step)},
            {"steps", or_null(job.steps)},
            {"secondsLeft", or_null(job.seconds_left)},
            {"run", job.run},
            {"runs", job.runs},
            {"loadLineBytes", bytes_or_null(job.load_line)},
            {"forecastPeakBytes", bytes_or_null(job.forecast_peak)},
            {"observedPeakBytes", bytes_or_null(job.observed_peak)},
            {"previewUrl", previews ? json::value(fmt::format("/api/jobs/{}/preview?n={}",
                                                              job.job_id, job.previews))
                                    : json::value(nullptr)},
            {"images", std::move(images)},
            {"runIds", std::move(run_ids)},
            {"why", message_or_null(job.why)},
            {"whyPhrase", phrase_or_null(job.why)},
            {"warnings", texts(job.warnings)},
            {"warningPhrases", encode_phrases(job.warnings)}};
}

json::object encode_job_detail(const service::QueuedJob& job) {
    json::object object = encode_job(job);
    object["plan"] = job.plan ? json::value(encode_plan(*job.plan)) : json::value(nullptr);
    return object;
}

json::object encode_jobs(const std::vector<service::QueuedJob>& jobs) {
    json::array list;
    for (const auto& job : jobs) list.emplace_back(encode_job(job));
    return {{"jobs", std::move(list)}};
}

namespace {

std::string_view name_of(telemetry::DeviceState state) {
    switch (state) {
        case telemetry::DeviceState::Awake:
            return "awake";
        case telemetry::DeviceState::Asleep:
            return "asleep";
        case telemetry::DeviceState::Sick:
            break;
    }
    return "sick";
}

json::object encode_limits(const telemetry::ThermalLimits& limits) {
    return {{"targetC", or_null(limits.target_c)},
            {"maxOperatingC", or_null(limits.max_operating_c)},
            {"slowdownC", or_null(limits.slowdown_c)},
            {"shutdownC", or_null(limits.shutdown_c)}};
}

}  // namespace

json::object encode_device(const Telemetry& telemetry) {
    const service::CardSample& sample = telemetry.sample;
    const service::CardHeat& heat = sample.look.heat;
    json::array processes;
    for (const telemetry::Holder& holder : sample.look.holders)
        processes.emplace_back(json::object{
            {"pid", holder.pid}, {"name", holder.name}, {"bytes", bytes_or_null(holder.bytes)}});
    json::array holdings;
    for (const memory::Residency& model : telemetry.holdings)
        holdings.emplace_back(json::object{{"model", model.model},
                                           {"bytes", model.resident.count},
                                           {"freeable", !model.in_use || !telemetry.job_id}});
    return {{"name", sample.name},
            {"card", or_null(sample.card)},
            {"totalBytes", sample.total.count},
            {"usedBytes", bytes_or_null(sample.used)},
            {"allocatedBytes", bytes_or_null(sample.allocated)},
            {"loadLineBytes", telemetry.load_line.count},
            {"temperatureC", or_null(heat.temperature_c)},
            {"powerWatts", or_null(heat.power_watts)},
            {"clockMhz", or_null(heat.clock_mhz)},
            {"utilization", or_null(heat.utilization)},
            {"throttled", or_null(heat.throttled)},
            {"limits", encode_limits(sample.look.limits)},
            {"state",
             sample.look.state ? json::value(name_of(*sample.look.state)) : json::value(nullptr)},
            {"trouble", sample.look.why},
            {"holdings", std::move(holdings)},
            {"processes", std::move(processes)}};
}

json::object encode_telemetry(const Telemetry& telemetry) {
    json::object object = encode_device(telemetry);
    object["atMs"] = telemetry.sample.at_ms;
    object["jobId"] = or_null(telemetry.job_id);
    return object;
}

json::object encode_cards(std::span<const timing::Card> cards) {
    json::array list;
    for (const timing::Card& card : cards)
        list.emplace_back(json::object{
            {"name", card.key},
            {"title", card.name},
            {"vramBytes", card.vram.count},
            {"vendor", vendor_name(card.vendor)},
            {"arch", card.arch},
            {"bandwidthBytesPerSecond", card.bandwidth_gbs * 1e9},
            {"fp16Flops", card.fp16_tflops ? json::value(*card.fp16_tflops * 1e12) : nullptr},
            {"tdpWatts", card.tdp_w > 0 ? json::value(card.tdp_w) : nullptr}});
    return {{"cards", std::move(list)}};
}

json::object encode_stats(const history::RunStats& total, std::string_view by,
                          const std::vector<history::RunStats>& groups, bool newest_only) {
    json::array list;
    for (const auto& group : groups) list.emplace_back(encode_stats_group(group, group.key));
    return {{"total", encode_stats_group(total, "all")},
            {"by", by},
            {"newestOnly", newest_only},
            {"groups", std::move(list)}};
}

json::object encode_optimal(const advisor::Optimal& optimal) {
    return {{"settings", encode_settings(optimal.settings)}, {"notes", texts(optimal.notes)}};
}

json::object encode_safety(const advisor::Safety& safety) {
    return {{"safe", safety.safe},
            {"standing", advisor::standing_name(safety.standing)},
            {"reasons", texts(safety.reasons)}};
}

json::object encode_summary(const advisor::Settings& settings, const advisor::Summary& summary) {
    return {{"settings", encode_settings(settings)},
            {"vramBytes", summary.vram.count},
            {"floorBytes", summary.floor.count},
            {"loadLineBytes", summary.load_line.count},
            {"seconds", summary.seconds},
            {"quality", advisor::quality_name(summary.quality)},
            {"verdict",
             memory::verdict_name(service::verdict_at_line(summary.forecast, summary.judged))},
            {"judgement", encode_judgement(summary.judged)},
            {"fromPrior", summary.from_prior},
            {"phases", encode_phases(summary.forecast)},
            {"warnings", texts(summary.warnings)}};
}

json::object encode_best(const std::optional<advisor::Settings>& settings) {
    return {
        {"settings", settings ? json::value(encode_settings(*settings)) : json::value(nullptr)}};
}

}  // namespace plimsoll::wire
