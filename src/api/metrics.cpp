// SPDX-License-Identifier: Apache-2.0
#include "api/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <utility>

namespace plimsoll::api {

namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

const Histogram::BucketBoundaries kRequestSeconds{0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                  0.025,  0.05,  0.1,    0.5,   1};
const Histogram::BucketBoundaries kJobSeconds{1, 5, 10, 20, 30, 60, 120, 300, 600, 1800};
const Histogram::BucketBoundaries kErrorRatios{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};

Family<Gauge>& gauge(Registry& in, const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(in);
}

// Of /proc, in pages; nullopt elsewhere.
std::optional<double> resident_bytes() {
    std::ifstream file("/proc/self/statm");
    double all = 0;
    double resident = 0;
    if (!(file >> all >> resident)) return std::nullopt;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

struct Metrics::Families {
    Registry registry;
    Family<Counter>& requests = prometheus::BuildCounter()
                                    .Name("plimsoll_http_requests_total")
                                    .Help("Requests answered, by route and status.")
                                    .Register(registry);
    Family<Histogram>& request_seconds = prometheus::BuildHistogram()
                                             .Name("plimsoll_http_request_seconds")
                                             .Help("From a request's head to its answer.")
                                             .Register(registry);
    Family<Counter>& jobs = prometheus::BuildCounter()
                                .Name("plimsoll_jobs_total")
                                .Help("Jobs that ended, by how.")
                                .Register(registry);
    Histogram& job_seconds = prometheus::BuildHistogram()
                                 .Name("plimsoll_job_seconds")
                                 .Help("From the start of a job that is done to its end.")
                                 .Register(registry)
                                 .Add({}, kJobSeconds);
    Histogram& job_wait_seconds = prometheus::BuildHistogram()
                                      .Name("plimsoll_job_wait_seconds")
                                      .Help("From a job's acceptance to its start.")
                                      .Register(registry)
                                      .Add({}, kJobSeconds);
    Histogram& peak_error = prometheus::BuildHistogram()
                                .Name("plimsoll_forecast_peak_error_ratio")
                                .Help("|forecast - observed| / observed of done runs' peaks.")
                                .Register(registry)
                                .Add({}, kErrorRatios);
    Histogram& seconds_error = prometheus::BuildHistogram()
                                   .Name("plimsoll_forecast_seconds_error_ratio")
                                   .Help("|forecast - observed| / observed of done runs' seconds.")
                                   .Register(registry)
                                   .Add({}, kErrorRatios);
    Gauge& waiting = gauge(registry, "plimsoll_jobs_waiting", "Jobs in the queue.").Add({});
    Family<Gauge>& gateway =
        gauge(registry, "plimsoll_gateway_jobs",
              "Prompts that came through the gateway since the start, by what became of them.");
    Gauge& held = gauge(registry, "plimsoll_gateway_jobs_held", "Prompts that wait here.").Add({});
    Gauge& heat =
        gauge(registry, "plimsoll_heat_state", "0 cool or unknown, 1 warm, 2 hot, 3 critical.")
            .Add({});
    Gauge& streams = gauge(registry, "plimsoll_event_streams", "Open event streams.").Add({});
    Gauge& up = gauge(registry, "plimsoll_comfyui_up", "1 while ComfyUI answers.").Add({});
    Gauge& line = gauge(registry, "plimsoll_load_line_bytes", "The load line.").Add({});
    Gauge& rss =
        gauge(registry, "process_resident_memory_bytes", "Resident memory of this process.")
            .Add({});
    Gauge& started =
        gauge(registry, "process_start_time_seconds", "Start of this process since the Unix epoch.")
            .Add({});
    Family<Gauge>& total =
        gauge(registry, "plimsoll_gpu_memory_total_bytes", "Memory of the card.");
    Family<Gauge>& used =
        gauge(registry, "plimsoll_gpu_memory_used_bytes", "Taken on the card, by all programs.");
    Family<Gauge>& allocated =
        gauge(registry, "plimsoll_gpu_memory_allocated_bytes", "Allocated by torch.");
    Family<Gauge>& celsius =
        gauge(registry, "plimsoll_gpu_temperature_celsius", "Temperature of the card.");
    Family<Gauge>& watts = gauge(registry, "plimsoll_gpu_power_watts", "Power of the card.");
    Family<Gauge>& hertz = gauge(registry, "plimsoll_gpu_clock_hertz", "Clock of the card.");
    Family<Gauge>& busy = gauge(registry, "plimsoll_gpu_utilization_ratio", "0 to 1.");
    Family<Gauge>& throttled =
        gauge(registry, "plimsoll_gpu_throttled", "1 while heat slows the card down.");
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {
    gauge(families_->registry, "plimsoll_build_info", "Always 1.")
        .Add({{"version", PLIMSOLL_VERSION}})
        .Set(1);
    families_->started.Set(
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
}
Metrics::~Metrics() = default;

void Metrics::count_request(std::string_view route, int status, double seconds) {
    const std::string name(route);
    families_->requests.Add({{"route", name}, {"status", fmt::format("{}", status)}}).Increment();
    families_->request_seconds.Add({{"route", name}}, kRequestSeconds).Observe(seconds);
}

void Metrics::count_job(const service::QueuedJob& job) {
    families_->jobs.Add({{"outcome", std::string(service::queue_state_name(job.state))}})
        .Increment();
    const auto seconds = [](std::int64_t from, std::int64_t to) {
        return static_cast<double>(to - from) / 1000;
    };
    if (job.started_ms)
        families_->job_wait_seconds.Observe(seconds(job.submitted_ms, *job.started_ms));
    if (job.state != service::QueueState::Done) return;
    if (job.started_ms && job.ended_ms)
        families_->job_seconds.Observe(seconds(*job.started_ms, *job.ended_ms));
    for (const history::RunRecord& run : job.records) {
        if (run.observed_peak && run.observed_peak->count > 0)
            families_->peak_error.Observe(
                std::abs(static_cast<double>((run.forecast_peak - *run.observed_peak).count)) /
                static_cast<double>(run.observed_peak->count));
        if (run.observed_seconds && *run.observed_seconds > 0)
            families_->seconds_error.Observe(
                std::abs(run.forecast_seconds - *run.observed_seconds) / *run.observed_seconds);
    }
}

void Metrics::set_jobs_waiting(std::size_t count) {
    families_->waiting.Set(static_cast<double>(count));
}
void Metrics::set_streams(std::size_t count) {
    families_->streams.Set(static_cast<double>(count));
}
void Metrics::set_gateway(const guard::GuardView& view) {
    const guard::GuardCounts& counts = view.counts;
    for (const auto& [what, count] :
         {std::pair("accepted", counts.accepted), std::pair("done", counts.done),
          std::pair("failed", counts.failed), std::pair("cancelled", counts.cancelled),
          std::pair("refused", counts.refused), std::pair("retried", counts.retried),
          std::pair("changed", counts.changed), std::pair("quarantined", counts.quarantined)})
        families_->gateway.Add({{"what", what}}).Set(static_cast<double>(count));
    families_->held.Set(static_cast<double>(counts.waiting));
    const bool is_cool = view.heat <= guard::HeatState::Cool;
    families_->heat.Set(
        is_cool ? 0 : static_cast<double>(view.heat) - static_cast<double>(guard::HeatState::Cool));
}
void Metrics::set_comfyui_up(bool up) {
    families_->up.Set(up ? 1 : 0);
}

void Metrics::set_card(const service::CardSample& sample, Bytes load_line) {
    families_->line.Set(static_cast<double>(load_line.count));
    const service::CardHeat& heat = sample.look.heat;
    const prometheus::Labels labels{{"card", sample.card.value_or(sample.name)}};
    const auto put = [&](Family<Gauge>& family, const std::optional<double>& value) {
        Gauge& gauge = family.Add(labels);
        if (value)
            gauge.Set(*value);
        else
            family.Remove(&gauge);  // an old value would pass for the present one
    };
    const auto bytes = [](const std::optional<Bytes>& value) -> std::optional<double> {
        if (!value) return std::nullopt;
        return static_cast<double>(value->count);
    };
    put(families_->total, static_cast<double>(sample.total.count));
    put(families_->used, bytes(sample.used));
    put(families_->allocated, bytes(sample.allocated));
    put(families_->celsius, heat.temperature_c);
    put(families_->watts, heat.power_watts);
    constexpr double kMega = 1e6;
    put(families_->hertz, heat.clock_mhz.transform([](double mhz) { return mhz * kMega; }));
    put(families_->busy, heat.utilization);
    put(families_->throttled, heat.throttled.transform([](bool yes) { return yes ? 1.0 : 0.0; }));
}

std::string Metrics::text() {
    if (const auto bytes = resident_bytes()) families_->rss.Set(*bytes);
    return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace plimsoll::api
