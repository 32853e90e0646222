// SPDX-License-Identifier: Apache-2.0
#include "cli/top_state.h"

#include "cli/draw_forecast.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kPhasesMax = 500;    // chosen: more than a drawing of a screen's width shows
constexpr std::size_t kHoldingsMax = 100;  // chosen: as above
constexpr std::size_t kTextMax = 1000;     // chosen: bytes of a text that fits no screen

std::string text_of(const json::value& from, std::string_view key) {
    return plain(find_string(from, key).value_or("").substr(0, kTextMax));
}

// Sizes of real memory only.
std::optional<Bytes> bytes_of(const json::value& from, std::string_view key) {
    const auto count = find_int(from, key);
    constexpr std::int64_t kBytesMax = 1LL << 50;  // chosen: a pebibyte
    if (!count || *count < 0 || *count > kBytesMax) return std::nullopt;
    return Bytes(*count);
}

std::optional<double> number_of(const json::value& from, std::string_view key) {
    const auto number = find_number(from, key);
    constexpr double kNumberMax = 1e9;  // chosen: no instrument shows more
    if (!number || !(std::abs(*number) <= kNumberMax)) return std::nullopt;
    return number;
}

std::optional<std::int64_t> count_of(const json::value& from, std::string_view key) {
    const auto count = find_int(from, key);
    constexpr std::int64_t kCountMax = 1'000'000'000;  // chosen: no job has so many steps
    if (!count || *count < 0 || *count > kCountMax) return std::nullopt;
    return count;
}

const json::array* array_of(const json::value& from, std::string_view key) {
    const json::value* const value = find(from, key);
    return value == nullptr ? nullptr : value->if_array();
}

// "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync", as ComfyUI says it, without what torch
// added.
std::string card_name(std::string name) {
    if (const auto allocator = name.find(" : "); allocator != std::string::npos)
        name.resize(allocator);
    if (name.starts_with("cuda:"))
        if (const auto space = name.find(' '); space != std::string::npos) name.erase(0, space + 1);
    return name;
}

TopJob job_of(const json::value& data) {
    TopJob job;
    job.job_id = text_of(data, "jobId");
    job.state = text_of(data, "state");
    job.prompt = text_of(data, "prompt");
    job.model = text_of(data, "model");
    job.phase = text_of(data, "phase");
    job.why = text_of(data, "why");
    job.submitted_ms = find_int(data, "submittedMs").value_or(0);
    job.has_ended = job.state != "queued" && job.state != "running";
    if (const auto progress = number_of(data, "progress"))
        job.progress = std::clamp(*progress, 0.0, 1.0);
    job.step = count_of(data, "step");
    job.steps = count_of(data, "steps");
    job.seconds_left = number_of(data, "secondsLeft");
    job.forecast_peak = bytes_of(data, "forecastPeakBytes");
    job.observed_peak = bytes_of(data, "observedPeakBytes");
    job.run = count_of(data, "run").value_or(0);
    job.runs = std::max<std::int64_t>(count_of(data, "runs").value_or(1), 1);
    return job;
}

Weight weight_of(std::string_view state) {
    if (state == "done") return Weight::Good;
    if (state == "queued" || state == "running") return Weight::Plain;
    return state == "cancelled" ? Weight::Warning : Weight::Bad;
}

std::string told(const TopJob& job) {
    std::string text =
        fmt::format("job {} {} ({})", job.job_id.substr(0, 8), spoken(job.state), job.model);
    if (job.state == "done" && job.observed_peak)
        text += fmt::format(", peak {}", to_text(*job.observed_peak));
    if (job.state == "done" && job.observed_peak && job.forecast_peak)
        text += fmt::format(" of {} forecast", to_text(*job.forecast_peak));
    if (!job.why.empty()) text += ": " + job.why;
    return text;
}

}  // namespace

void TopState::note(std::int64_t at_ms, Weight weight, std::string text) {
    notes_.push_front({at_ms, weight, std::move(text)});
    if (notes_.size() > kTopNotesMax) notes_.pop_back();
}

void TopState::take(const service::DaemonEvent& event, std::int64_t now_ms) {
    const bool was_lost = contact_ == Contact::Lost;
    contact_ = Contact::Live;
    if (was_lost) note(now_ms, Weight::Good, "connected again");
    if (event.type == "health") return take_health(event.data);
    if (event.type == "jobs") return take_jobs(event.data);
    if (event.type == "telemetry") return take_telemetry(event.data);
    if (event.type == "forecast") return take_forecast(event.data);
    if (event.type == "job") return take_job(event.data, now_ms, true);
    if (event.type == "warning")
        note(find_int(event.data, "atMs").value_or(now_ms), Weight::Warning,
             text_of(event.data, "message"));
    // Of another life of the daemon: jobs and health follow.
    if (event.type == "reset") note(now_ms, Weight::Plain, text_of(event.data, "reason"));
}

void TopState::lose(std::string why, std::int64_t now_ms) {
    why = plain(why);
    if (contact_ == Contact::Live) note(now_ms, Weight::Bad, "connection lost: " + why);
    contact_ = Contact::Lost;
    why_lost_ = std::move(why);
}

void TopState::take_health(const json::value& data) {
    health_said_ = data;
    version_ = text_of(data, "version");
    simulated_ = find_bool(data, "simulated").value_or(false);
    if (const json::value* const comfyui = find(data, "comfyui")) {
        comfyui_ = text_of(*comfyui, "address");
        comfyui_answers_ = find_bool(*comfyui, "answers").value_or(false);
    }
}

// The whole list: what is not in it is gone. Ended ones come newest first, so they are told from
// the back.
void TopState::take_jobs(const json::value& data) {
    const json::array* const list = array_of(data, "jobs");
    if (list == nullptr) return;
    const bool is_first = jobs_.empty() && notes_.empty();
    jobs_.clear();
    jobs_said_.clear();
    for (std::size_t i = std::min(list->size(), kTopJobsMax); i-- > 0;) {
        const json::value& one = (*list)[i];
        const auto ended = find_int(one, "endedMs");
        take_job(one, ended.value_or(0), is_first && ended.has_value());
    }
}

void TopState::take_job(const json::value& data, std::int64_t now_ms, bool is_news) {
    TopJob job = job_of(data);
    if (job.job_id.empty()) return;
    const auto known = std::ranges::find(jobs_, job.job_id, &TopJob::job_id);
    const bool changed = known == jobs_.end() || known->state != job.state;
    if (is_news && changed) note(now_ms, weight_of(job.state), told(job));
    if (job.state == "running" && drawn_ != job.job_id) {
        drawn_ = job.job_id;
        job_samples_.clear();
    }
    if (known != jobs_.end()) {
        jobs_said_[static_cast<std::size_t>(known - jobs_.begin())] = data;
        *known = std::move(job);
        return;
    }
    if (jobs_.size() >= kTopJobsMax) {
        // The oldest that has ended makes room.
        const auto oldest = std::ranges::find_if(jobs_, &TopJob::has_ended);
        const auto at = oldest == jobs_.end() ? jobs_.begin() : oldest;
        jobs_said_.erase(jobs_said_.begin() + (at - jobs_.begin()));
        jobs_.erase(at);
    }
    jobs_.push_back(std::move(job));
    jobs_said_.push_back(data);
}

void TopState::take_telemetry(const json::value& data) {
    const auto total = bytes_of(data, "totalBytes");
    const auto line = bytes_of(data, "loadLineBytes");
    if (!total || !line) return;
    telemetry_said_ = data;
    comfyui_answers_ = true;
    TopCard card{.name = card_name(text_of(data, "name")),
                 .total = *total,
                 .load_line = *line,
                 .used = bytes_of(data, "usedBytes"),
                 .allocated = bytes_of(data, "allocatedBytes"),
                 .celsius = number_of(data, "temperatureC"),
                 .watts = number_of(data, "powerWatts"),
                 .mhz = number_of(data, "clockMhz"),
                 .utilization = number_of(data, "utilization"),
                 .throttled = find_bool(data, "throttled"),
                 .holdings = {}};
    if (const json::array* const list = array_of(data, "holdings"))
        for (const json::value& one : *list) {
            if (card.holdings.size() >= kHoldingsMax) break;
            card.holdings.push_back({text_of(one, "model"),
                                     bytes_of(one, "bytes").value_or(Bytes(0)),
                                     find_bool(one, "freeable").value_or(false)});
        }
    if (const auto bytes = card.allocated ? card.allocated : card.used) {
        const TopJob* const job = running();
        TopSample sample{find_int(data, "atMs").value_or(0), *bytes, std::nullopt};
        if (job != nullptr && job->job_id == drawn_) {
            sample.progress = job->progress;
            if (job_samples_.size() < kTopSamplesMax) job_samples_.push_back(sample);
        }
        samples_.push_back(sample);
        if (samples_.size() > kTopSamplesMax) samples_.pop_front();
    }
    card_ = std::move(card);
}

void TopState::take_forecast(const json::value& data) {
    const json::value* const said = find(data, "forecast");
    if (said == nullptr) return;
    forecast_said_ = data;
    TopForecast forecast;
    forecast.job_id = text_of(data, "jobId");
    forecast.verdict = text_of(*said, "verdict");
    forecast.peak = bytes_of(*said, "peakBytes").value_or(Bytes(0));
    forecast.seconds = number_of(*said, "seconds").value_or(0);
    if (const json::value* const judged = find(*said, "judgement"))
        forecast.sentence = text_of(*judged, "sentence");
    if (const json::array* const list = array_of(*said, "phases"))
        for (const json::value& one : *list) {
            if (forecast.phases.size() >= kPhasesMax) break;
            forecast.phases.push_back({text_of(one, "kind"),
                                       bytes_of(one, "peakBytes").value_or(Bytes(0)),
                                       std::max(number_of(one, "seconds").value_or(0), 0.0)});
        }
    forecast_ = std::move(forecast);
}

const TopJob* TopState::running() const {
    const auto found = std::ranges::find(jobs_, "running", &TopJob::state);
    return found == jobs_.end() ? nullptr : &*found;
}

std::vector<const TopJob*> TopState::waiting() const {
    std::vector<const TopJob*> jobs;
    for (const TopJob& job : jobs_)
        if (job.state == "queued") jobs.push_back(&job);
    std::ranges::stable_sort(jobs, {}, &TopJob::submitted_ms);
    return jobs;
}

const TopJob* TopState::drawn() const {
    const auto found = std::ranges::find(jobs_, drawn_, &TopJob::job_id);
    return found == jobs_.end() ? nullptr : &*found;
}

const TopForecast* TopState::forecast() const {
    return forecast_ && !drawn_.empty() && forecast_->job_id == drawn_ ? &*forecast_ : nullptr;
}

json::object TopState::encode() const {
    json::array jobs(jobs_said_.begin(), jobs_said_.end());
    return {{"url", url_},
            {"health", health_said_},
            {"telemetry", telemetry_said_},
            {"forecast", forecast_said_},
            {"jobs", std::move(jobs)}};
}

}  // namespace plimsoll::cli
