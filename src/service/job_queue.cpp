// SPDX-License-Identifier: Apache-2.0
#include "service/job_queue.h"

#include "base/say.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::service {

namespace {

struct StateName {
    QueueState state;
    std::string_view name;
};
constexpr std::array<StateName, 9> kStates{{
    {QueueState::Queued, "queued"},
    {QueueState::Running, "running"},
    {QueueState::Done, "done"},
    {QueueState::DoesNotFit, "does_not_fit"},
    {QueueState::OutOfMemory, "out_of_memory"},
    {QueueState::Failed, "failed"},
    {QueueState::Cancelled, "cancelled"},
    {QueueState::TimedOut, "timed_out"},
    {QueueState::Lost, "lost"},
}};

// Names are those of generate().
QueueState state_of(GenerateEnd end) {
    const auto* const found = std::ranges::find(kStates, generate_end_name(end), &StateName::name);
    return found == kStates.end() ? QueueState::Failed : found->state;
}

constexpr std::chrono::milliseconds kTellPause{200};  // chosen: a page moves five times a second

// How much of a run is behind, by the seconds of its forecast: the phases before this node, and the
// share of its steps.
std::optional<double> share_behind(const advisor::PricedForecast& forecast,
                                   const JobProgress& job) {
    if (forecast.seconds.total <= 0) return std::nullopt;
    double behind = 0;
    const auto& phases = forecast.memory.phases;
    for (std::size_t i = 0; i < phases.size() && i < forecast.seconds.phases.size(); ++i) {
        const double seconds = forecast.seconds.phases[i].total;
        if (phases[i].node_id == job.node_id) {
            if (job.max > 0) behind += seconds * std::clamp(job.value / job.max, 0.0, 1.0);
            return std::clamp(behind / forecast.seconds.total, 0.0, 1.0);
        }
        behind += seconds;
    }
    return std::nullopt;  // a node that the forecast does not price
}

std::optional<std::int64_t> whole(double value) {
    if (!(value >= 0 && value < 1e15)) return std::nullopt;
    return static_cast<std::int64_t>(std::llround(value));
}

}  // namespace

std::string_view queue_state_name(QueueState state) {
    return std::ranges::find(kStates, state, &StateName::state)->name;
}

JobQueue::JobQueue(Parts parts, Callbacks callbacks)
    : parts_(std::move(parts)),
      callbacks_(std::move(callbacks)),
      random_(parts_.seed),
      ids_(parts_.seed ^ 0x9E3779B97F4A7C15ULL) {}

void JobQueue::restore(
    const std::function<Result<JobOrder>(const std::string& request_json)>& resolve) {
    std::vector<history::KeptJob> kept;
    {
        const std::lock_guard lock(store_mutex_);
        history::Store* const here = store();
        if (here == nullptr) return;
        auto jobs = here->list_jobs();
        if (!jobs) {
            if (callbacks_.on_warning)
                callbacks_.on_warning(
                    "history", "", "jobs that were kept cannot be read: " + jobs.error().message);
            return;
        }
        kept = std::move(*jobs);
    }
    for (const history::KeptJob& job : kept) {
        const auto entry = std::make_shared<Entry>();
        entry->view.job_id = job.job_id;
        entry->view.submitted_ms = job.submitted_ms;
        auto order = resolve(job.request_json);
        if (order) {
            entry->view.prompt = order->job.prompt;
            entry->view.model = order->job.model;
            entry->view.run_anyway = order->run_anyway;
        }
        if (order && !job.started) {
            order->request_json = job.request_json;
            entry->order = std::make_shared<const JobOrder>(std::move(*order));
            const std::lock_guard lock(mutex_);
            waiting_.push_back(entry);
            number_waiting();
            continue;
        }
        end_in_queue(entry, job.started ? QueueState::Lost : QueueState::Failed,
                     job.started ? say<"end.cut_off">() : Phrase(order.error().message));
    }
}

void JobQueue::start() {
    thread_ = std::thread([this] { run(); });
}

void JobQueue::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        if (running_) running_->cancelled = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

Result<QueuedJob> JobQueue::submit(JobOrder order) {
    const auto entry = std::make_shared<Entry>();
    QueuedJob& view = entry->view;
    view.prompt = order.job.prompt;
    view.model = order.job.model;
    view.run_anyway = order.run_anyway;
    view.submitted_ms = parts_.clock.unix_ms();
    view.warnings = order.job.warnings;
    entry->order = std::make_shared<const JobOrder>(std::move(order));
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return fail(Errc::Unavailable, say<"error.daemon_stops">());
        if (waiting_.size() >= kJobsWaitingMax)
            return fail(Errc::LimitExceeded, say<"error.jobs_wait">(waiting_.size()));
        view.job_id = ids_.next_uuid();
    }
    // Before it is acknowledged.
    keep(*entry, false);
    QueuedJob accepted;
    {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(entry);
        number_waiting();
        accepted = view;
    }
    if (callbacks_.on_job) callbacks_.on_job(accepted);
    wake_.notify_all();
    return accepted;
}

std::vector<QueuedJob> JobQueue::list() const {
    const std::lock_guard lock(mutex_);
    std::vector<QueuedJob> jobs;
    if (running_) jobs.push_back(running_->view);
    for (const Shared& entry : waiting_) jobs.push_back(entry->view);
    for (const Shared& entry : ended_) jobs.push_back(entry->view);
    return jobs;
}

JobQueue::Shared JobQueue::entry_of(std::string_view job_id) const {
    const auto is_it = [&](const Shared& entry) { return entry && entry->view.job_id == job_id; };
    if (is_it(running_)) return running_;
    if (const auto it = std::ranges::find_if(waiting_, is_it); it != waiting_.end()) return *it;
    if (const auto it = std::ranges::find_if(ended_, is_it); it != ended_.end()) return *it;
    return nullptr;
}

namespace {
std::unexpected<Error> no_such_job(std::string_view job_id) {
    return fail(Errc::NotFound, say<"error.no_job">(job_id.substr(0, 64), kJobsEndedMax));
}
}  // namespace

Result<QueuedJob> JobQueue::find(std::string_view job_id) const {
    const std::lock_guard lock(mutex_);
    const Shared entry = entry_of(job_id);
    if (!entry) return no_such_job(job_id);
    return entry->view;
}

Result<QueuedJob> JobQueue::cancel(std::string_view job_id) {
    Shared entry;
    bool waited = false;
    {
        const std::lock_guard lock(mutex_);
        entry = entry_of(job_id);
        if (!entry) return no_such_job(job_id);
        entry->cancelled = true;
        waited = std::erase(waiting_, entry) > 0;
        number_waiting();
    }
    if (waited) end_in_queue(entry, QueueState::Cancelled, say<"end.cancelled_early">());
    const std::lock_guard lock(mutex_);
    return entry->view;
}

Result<std::string> JobQueue::read_preview(std::string_view job_id) const {
    const std::lock_guard lock(mutex_);
    const Shared entry = entry_of(job_id);
    if (!entry) return no_such_job(job_id);
    if (entry->preview.empty()) return fail(Errc::NotFound, say<"error.no_preview">());
    return entry->preview;
}

std::vector<memory::Residency> JobQueue::holdings() const {
    const std::lock_guard lock(mutex_);
    return holdings_;
}

std::optional<std::string> JobQueue::running() const {
    const std::lock_guard lock(mutex_);
    if (!running_) return std::nullopt;
    return running_->view.job_id;
}

void JobQueue::run() {
    for (;;) {
        Shared entry;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
            if (stopping_) return;
            entry = waiting_.front();
            waiting_.pop_front();
            running_ = entry;
            number_waiting();
            entry->view.state = QueueState::Running;
            entry->view.ahead = 0;
            entry->view.started_ms = parts_.clock.unix_ms();
        }
        keep(*entry, true);
        if (callbacks_.on_busy) callbacks_.on_busy(true);
        tell(entry);
        run_one(entry);
        if (callbacks_.on_busy) callbacks_.on_busy(false);
    }
}

void JobQueue::run_one(const Shared& entry) {
    const JobOrder& order = *entry->order;
    const std::shared_ptr<const Place> place = parts_.place();
    Config config = with_limits(place->config, order.limits);
    std::unique_ptr<Upstream> theirs;
    if (parts_.own == nullptr) {
        auto reached = parts_.comfyui.reach();
        if (!reached) return take_end(entry, std::unexpected(reached.error()));
        theirs = std::move(*reached);
        // Where it runs is asked there: a card of the configuration is for questions.
        config.card.value.clear();
    }
    std::unique_ptr<history::Store> store;
    if (auto opened = parts_.open_store()) store = std::move(*opened);
    const GenerateOptions options = options_of(entry, config);
    take_end(entry, generate(order.job, config, options,
                             {.upstream = theirs.get(),
                              .own = parts_.own,
                              .store = store.get(),
                              .clock = parts_.clock,
                              .random = random_,
                              .forecaster = parts_.forecaster,
                              .throttled_since = parts_.throttled_since}));
}

GenerateOptions JobQueue::options_of(const Shared& entry, const Config& config) {
    const JobOrder& order = *entry->order;
    GenerateOptions options;
    options.pins = order.pins;
    options.preference = order.preference;
    options.run_anyway = order.run_anyway;
    options.output_dir = config.output_dir.value;
    options.timeout = std::chrono::milliseconds(config.timeout.value.count);
    options.cancelled = &entry->cancelled;
    options.sleep = parts_.sleep;
    options.on_plan = [this, entry](const PlanAnswer& answer, const Site&) {
        take_plan(entry, answer);
    };
    options.on_progress = [this, entry](const GenerateProgress& now) { take_progress(entry, now); };
    options.on_preview = [this, entry](const std::string& image) {
        const std::lock_guard lock(mutex_);
        entry->preview = image;
        ++entry->view.previews;
    };
    return options;
}

void JobQueue::take_plan(const Shared& entry, const PlanAnswer& answer) {
    const bool anyway = entry->order->run_anyway;
    const advisor::PricedForecast& forecast = anyway ? answer.plan.before : answer.plan.after;
    auto plan = std::make_shared<const PlanAnswer>(answer);
    QueuedJob now;
    {
        const std::lock_guard lock(mutex_);
        entry->view.plan = std::move(plan);
        entry->view.load_line = answer.budget.load_line;
        entry->view.forecast_peak = forecast.memory.peak;
        entry->view.progress = 0;
        entry->view.seconds_left = anyway ? forecast.seconds.total : answer.plan.seconds_all;
        for (const Phrase& warning : answer.warnings)
            if (std::ranges::find(entry->view.warnings, warning) == entry->view.warnings.end())
                entry->view.warnings.push_back(warning);
        now = entry->view;
    }
    if (callbacks_.on_plan) callbacks_.on_plan(now, answer);
    tell(entry);
}

void JobQueue::take_progress(const Shared& entry, const GenerateProgress& now) {
    bool over = false;
    bool changed = false;
    {
        const std::lock_guard lock(mutex_);
        QueuedJob& view = entry->view;
        const advisor::Plan& plan = view.plan->plan;
        const advisor::PricedForecast& forecast = view.run_anyway ? plan.before : plan.after;
        changed = view.phase != now.phase || view.run != now.run;
        view.phase = now.phase;
        view.node_id = now.job.node_id.empty() ? std::nullopt : std::optional(now.job.node_id);
        view.step = now.job.max > 0 ? whole(now.job.value) : std::nullopt;
        view.steps = now.job.max > 0 ? whole(now.job.max) : std::nullopt;
        view.run = now.run;
        view.runs = now.runs;
        if (const auto behind = share_behind(forecast, now.job)) {
            const double share = (static_cast<double>(now.run) + *behind) /
                                 static_cast<double>(std::max<std::size_t>(now.runs, 1));
            // Nodes that run again do not turn it back.
            view.progress = std::max(view.progress.value_or(0), share);
            const double all = view.run_anyway ? forecast.seconds.total : plan.seconds_all;
            view.seconds_left = all * (1 - *view.progress);
        }
        if (now.job.node_allocated_peak) {
            const Bytes peak = *now.job.node_allocated_peak;
            over = peak > now.load_line && view.observed_peak.value_or(Bytes(0)) <= now.load_line;
            view.observed_peak = std::max(view.observed_peak.value_or(Bytes(0)), peak);
        }
        for (const memory::Phase& phase : forecast.memory.phases)
            if (phase.node_id == now.job.node_id && !phase.models.empty()) holdings_ = phase.models;
        const auto since = parts_.clock.steady() - told_;
        if (!changed && !over && since < kTellPause) return;
        told_ = parts_.clock.steady();
    }
    if (over && callbacks_.on_warning)
        callbacks_.on_warning(
            "over_line", entry->view.job_id,
            say<"warning.over_line">(*now.job.node_allocated_peak, now.load_line));
    tell(entry);
}

void JobQueue::take_end(const Shared& entry, Result<Generation> generation) {
    QueueState state = QueueState::Failed;
    Phrase why;
    bool kept = false;
    {
        const std::lock_guard lock(mutex_);
        QueuedJob& view = entry->view;
        if (generation) {
            state = state_of(generation->end);
            why = generation->why;
            view.images = generation->images;
            view.records = std::move(generation->runs);
            for (const history::RunRecord& run : view.records)
                if (run.observed_peak)
                    view.observed_peak =
                        std::max(view.observed_peak.value_or(Bytes(0)), *run.observed_peak);
            for (const Phrase& warning : generation->warnings)
                if (std::ranges::find(view.warnings, warning) == view.warnings.end())
                    view.warnings.push_back(warning);
        } else {
            why = generation.error().message;
        }
        // ComfyUI gives up all its models after running out of memory.
        if (state == QueueState::OutOfMemory) holdings_.clear();
        // Stopped by us, not by anybody's wish: it waits for the next start.
        kept = stopping_ && state == QueueState::Cancelled;
        if (kept) {
            view.state = QueueState::Queued;
            view.started_ms.reset();
            running_.reset();
            waiting_.push_front(entry);
        }
    }
    if (kept) return keep(*entry, false);
    end_in_queue(entry, state, std::move(why));
}

void JobQueue::end_in_queue(const Shared& entry, QueueState state, Phrase why) {
    drop(entry->view.job_id);
    QueuedJob now;
    {
        const std::lock_guard lock(mutex_);
        QueuedJob& view = entry->view;
        view.state = state;
        view.why = std::move(why);
        view.ended_ms = parts_.clock.unix_ms();
        view.phase.reset();
        view.node_id.reset();
        view.step.reset();
        view.steps.reset();
        view.seconds_left.reset();
        view.ahead = 0;
        if (state == QueueState::Done) view.progress = 1;
        if (running_ == entry) running_.reset();
        entry->order.reset();
        ended_.push_front(entry);
        while (ended_.size() > kJobsEndedMax) ended_.pop_back();
        now = view;
    }
    if (callbacks_.on_job) callbacks_.on_job(now);
}

void JobQueue::tell(const Shared& entry) {
    if (!callbacks_.on_job) return;
    QueuedJob now;
    {
        const std::lock_guard lock(mutex_);
        now = entry->view;
    }
    callbacks_.on_job(now);
}

void JobQueue::number_waiting() {
    int ahead = running_ ? 1 : 0;
    for (const Shared& entry : waiting_) entry->view.ahead = ahead++;
}

history::Store* JobQueue::store() {
    if (store_ || store_failed_) return store_.get();
    auto opened = parts_.open_store();
    if (opened) {
        store_ = std::move(*opened);
        return store_.get();
    }
    store_failed_ = true;
    if (callbacks_.on_warning)
        callbacks_.on_warning("history", "", say<"warning.jobs_not_kept">(opened.error().message));
    return nullptr;
}

void JobQueue::keep(const Entry& entry, bool started) {
    const std::lock_guard lock(store_mutex_);
    history::Store* const here = store();
    if (here == nullptr) return;
    const auto kept = here->keep_job({.job_id = entry.view.job_id,
                                      .submitted_ms = entry.view.submitted_ms,
                                      .started = started,
                                      .request_json = entry.order->request_json});
    if (!kept && callbacks_.on_warning)
        callbacks_.on_warning("history", entry.view.job_id,
                              say<"warning.job_not_kept">(kept.error().message));
}

void JobQueue::drop(const std::string& job_id) {
    const std::lock_guard lock(store_mutex_);
    history::Store* const here = store();
    if (here == nullptr) return;
    if (const auto dropped = here->drop_job(job_id); !dropped && callbacks_.on_warning)
        callbacks_.on_warning("history", job_id,
                              say<"warning.job_told_lost">(dropped.error().message));
}

}  // namespace plimsoll::service
