// SPDX-License-Identifier: Apache-2.0
#include "daemon/serving.h"

#include "api/question.h"
#include "base/parse_phrase.h"
#include "base/say.h"
#include "daemon/restart_command.h"
#include "daemon/simulated_card.h"
#include "service/comfyui/client.h"
#include "service/launch.h"
#include "service/local_card.h"
#include "telemetry/local_devices.h"
#include "wire/encode.h"
#include "wire/encode_daemon.h"
#include "wire/encode_held.h"
#include "wire/encode_phrase.h"
#include "wire/encode_quality.h"

#include <fmt/format.h>

#include <chrono>
#include <span>
#include <string_view>
#include <utility>

namespace plimsoll::embedded {
std::string_view openapi_json();
std::span<const std::pair<std::string_view, std::string_view>> web_page();
}  // namespace plimsoll::embedded

namespace plimsoll::daemon {

namespace {

constexpr std::chrono::milliseconds kStopGrace{5000};  // chosen: the slowest answer is doctor's

// The user's own ComfyUI: where it is may change with the configuration.
class TheirComfyUi final : public service::ComfyAtHand {
  public:
    TheirComfyUi(service::Config config, const Clock& clock)
        : config_(std::move(config)),
          devices_(telemetry::open_local_devices()),
          card_(*devices_, clock),
          simulated_card_(clock) {}
    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        const std::lock_guard lock(mutex_);
        TRY_ASSIGN(auto client, service::ComfyClient::create(config_));
        return std::unique_ptr<service::Upstream>(std::move(client));
    }
    // Another machine's card is not this one's.
    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats& device,
                                                 telemetry::Attention attention) override {
        std::string url;
        {
            const std::lock_guard lock(mutex_);
            if (!config_.comfyui_is_here()) return {};
            url = config_.base_url();
        }
        // First: a simulated card may bear the name of one that is in this machine.
        if (auto look = simulated_card_.look(url, device)) return std::move(*look);
        return card_.look(device, attention);
    }
    [[nodiscard]] double pace() const override { return simulated_card_.pace(); }
    [[nodiscard]] std::string address() const override {
        const std::lock_guard lock(mutex_);
        return config_.base_url();
    }
    void set_config(service::Config config) {
        const std::lock_guard lock(mutex_);
        config_ = std::move(config);
    }

  private:
    mutable std::mutex mutex_;
    service::Config config_;
    std::unique_ptr<telemetry::DeviceSource> devices_;
    service::LocalCard card_;       // used by the lookout alone
    SimulatedCard simulated_card_;  // as above
};

json::object encode_warning(std::int64_t at_ms, std::string_view code, const std::string& job_id,
                            const Phrase& phrase) {
    return {{"atMs", at_ms},
            {"code", code},
            {"jobId", job_id.empty() ? json::value(nullptr) : json::value(job_id)},
            {"message", phrase.message()},
            {"phrase", wire::encode_phrase(phrase)}};
}

std::string new_epoch(Random& random) {
    return fmt::format("{:08x}", static_cast<std::uint32_t>(random.next_u64() >> 32U));
}

}  // namespace

Serving::Serving(const cli::World& world, EventLines& lines)
    : world_(world), lines_(lines), random_(os_seed()), events_(new_epoch(random_)) {}

Result<std::unique_ptr<Serving>> Serving::start(service::Config config, ServingOptions options,
                                                const cli::World& world, EventLines& lines) {
    std::unique_ptr<Serving> serving(new Serving(world, lines));
    TRY_DO(serving->wire(std::move(config), std::move(options)));
    return serving;
}

Result<void> Serving::wire(service::Config config, ServingOptions options) {
    TRY_ASSIGN(const service::ListenAddress listen, service::parse_listen(config.listen.value));
    if (!listen.is_loopback && options.token.empty())
        return fail(Errc::InvalidInput,
                    fmt::format("{} ({}) can be reached by others: set PLIMSOLL_TOKEN to a secret "
                                "of at least {} characters",
                                config.listen.value, config.listen.source, api::kTokenBytesMin));
    if (!options.token.empty() && options.token.size() < api::kTokenBytesMin)
        return fail(Errc::InvalidInput, fmt::format("PLIMSOLL_TOKEN has {} characters, at least {} "
                                                    "are needed",
                                                    options.token.size(), api::kTokenBytesMin));
    if (options.simulate) {
        TRY_ASSIGN(simulated_,
                   make_simulated_at_hand(*options.simulate,
                                          service::words_of(config.comfyui_flags.value)));
    } else {
        theirs_ = std::make_unique<TheirComfyUi>(config, world_.clock);
    }
    service::ComfyAtHand& comfyui =
        simulated_ ? static_cast<service::ComfyAtHand&>(*simulated_) : *theirs_;
    const auto open_history = [path = config.history_file(), open = world_.open_history] {
        return open(path, cli::World::Access::Write);
    };
    paces_ = std::make_unique<service::PaceBook>(open_history);
    TRY_ASSIGN(
        lookout_,
        service::Lookout::create(
            std::move(config), comfyui, world_.clock,
            {.whose = simulated_ ? service::Lookout::Whose::Ours : service::Lookout::Whose::Theirs,
             .kind = simulated_ ? simulated_->kind() : "",
             .paces = [this](const std::string& card) { return paces_->paces_of(card); }},
            watch_card()));
    jobs_ = std::make_unique<service::JobQueue>(
        service::JobQueue::Parts{
            .place = [this] { return lookout_->place(); },
            .comfyui = comfyui,
            .own = simulated_.get(),
            .open_store = open_history,
            .clock = world_.clock,
            .seed = os_seed(),
            .throttled_since =
                [this](std::int64_t since_ms) { return lookout_->throttled_since(since_ms); }},
        watch_jobs());
    make_guard(comfyui, open_history);
    quality_ = std::make_unique<service::QualityLab>(service::QualityLab::Parts{
        .place = [this] { return lookout_->place(); },
        .comfyui = comfyui,
        .own = simulated_.get(),
        .open_store = open_history,
        .clock = world_.clock,
        .seed = os_seed(),
        .card_is_busy = [this] { return jobs_->running().has_value() || guard_busy_; },
        .on_warning = [this](std::string_view code,
                             const Phrase& message) { warn(code, "", message); },
        .on_proposal =
            [this](const service::QualityView& view) {
                events_.publish("proposal", wire::encode_proposal(view));
            }});
    app_ = std::make_unique<api::App>(
        api::AppParts{.lookout = *lookout_,
                      .jobs = *jobs_,
                      .gateway = *guard_,
                      .quality = *quality_,
                      .comfyui = comfyui,
                      .open_history = open_history,
                      .clock = world_.clock,
                      .events = events_,
                      .metrics = metrics_,
                      .guard = {.token = std::move(options.token), .hosts = options.hosts},
                      .openapi_json = embedded::openapi_json(),
                      .page = embedded::web_page(),
                      .simulated = simulated_ != nullptr});
    events_.set_snapshot([this] { return snapshot(); });
    net::ServerOptions server = api::App::server_options();
    server.address = listen.address;
    server.port = listen.port;
    TRY_ASSIGN(server_, net::Server::start(std::move(server), app_->handler()));
    // Not before it listens: whoever started the daemon waits for that.
    lookout_->start();
    guard_->restore();
    guard_->start();
    jobs_->restore([this](const std::string& request) -> Result<service::JobOrder> {
        auto order = api::resolve_order(*app_, *lookout_->place(), request);
        if (order) return std::move(*order);
        const auto parsed = parse_json(order.error().body);
        const json::value* const error = parsed ? find(*parsed, "error") : nullptr;
        const auto message = error == nullptr ? std::nullopt : find_string(*error, "message");
        return fail(Errc::InvalidInput,
                    std::string(message.value_or("its request is refused now")));
    });
    jobs_->start();
    quality_->start();
    caretaker_ = std::make_unique<Caretaker>(Caretaker::Parts{
        .config = [this] { return lookout_->place()->config; },
        .open_history = open_history,
        .clock = world_.clock,
        .on_note = [this](const std::string& text) { lines_.note("retention", text); },
        .on_problem = [this](const std::string& text) { warn("history", "", text); }});
    // Everything else goes on without it.
    if (const auto opened = open_gateway(lookout_->place()->config); !opened)
        gateway_problem_ = say<"warning.no_gateway">(opened.error().message);
    return {};
}

void Serving::make_guard(service::ComfyAtHand& comfyui, const OpenHistory& open_history) {
    const service::Config& config = lookout_->place()->config;
    guard::GuardOptions options;
    options.policy = guard::parse_policy(config.policy.value).value_or(guard::Policy::Fit);
    for (const auto& [client, name] : config.client_policies.value)
        options.policy_of_client.emplace(client,
                                         guard::parse_policy(name).value_or(options.policy));
    if (config.target_celsius.value > 0)
        options.target_c = static_cast<double>(config.target_celsius.value);
    guard_ = std::make_unique<guard::Guard>(
        guard::Guard::Parts{.place = [this] { return lookout_->place(); },
                            .comfyui = comfyui,
                            .open_store = open_history,
                            .clock = world_.clock,
                            .seed = os_seed(),
                            .options = std::move(options),
                            .restart_comfyui = restart_by_command(config.comfyui_restart.value)},
        guard::Guard::Callbacks{
            .on_job =
                [this](const guard::HeldView& job) {
                    if (job.ended_ms != 0) paces_->note_run();
                    events_.publish("held", wire::encode_held_job(job));
                },
            .on_warning = [this](std::string_view code, const std::string& prompt_id,
                                 const Phrase& message) { warn(code, prompt_id, message); },
            .on_busy =
                [this](bool busy) {
                    guard_busy_ = busy;
                    set_busy();
                }});
}

void Serving::set_busy() {
    lookout_->set_busy(queue_busy_ || guard_busy_);
    if (quality_ && (queue_busy_ || guard_busy_)) quality_->give_way();
}

Result<void> Serving::open_gateway(const service::Config& config) {
    if (config.gateway_listen.value == "off") return {};
    TRY_ASSIGN(gateway_listen_, service::parse_listen(config.gateway_listen.value));
    std::string url = config.base_url();
    if (simulated_) {
        TRY_ASSIGN(const auto started, simulated_->reach());
        url = simulated_->address();
    }
    gateway::GatewayOptions options;
    options.address = gateway_listen_.address;
    options.port = gateway_listen_.port;
    options.hook = guard_.get();
    options.observer = guard_.get();
    TRY_ASSIGN(options.upstream, net::parse_endpoint(url));
    auto opened = gateway::Gateway::start(std::move(options));
    if (!opened)
        return fail(opened.error().code,
                    fmt::format("{} (--gateway-listen names another port, off does without)",
                                opened.error().message));
    gateway_ = std::move(*opened);
    return {};
}

std::optional<EventLines::Gateway> Serving::gateway() const {
    if (!gateway_) return std::nullopt;
    return EventLines::Gateway{.url = service::visit_url(gateway_listen_, gateway_->port()),
                               .port = gateway_->port()};
}

service::Lookout::Callbacks Serving::watch_card() {
    return {.on_sample =
                [this](const service::CardSample& sample) {
                    const Bytes line = lookout_->place()->budget.load_line;
                    if (guard_) guard_->on_sample(sample);
                    metrics_.set_comfyui_up(true);
                    metrics_.set_card(sample, line);
                    events_.publish("telemetry",
                                    wire::encode_telemetry({.sample = sample,
                                                            .load_line = line,
                                                            .holdings = jobs_->holdings(),
                                                            .job_id = jobs_->running()}));
                },
            .on_contact =
                [this](bool answers, const std::string& why) {
                    metrics_.set_comfyui_up(answers);
                    warn(answers ? "comfyui_back" : "comfyui_gone", "",
                         answers ? say<"warning.comfyui_back">(why) : Phrase(why));
                }};
}

service::JobQueue::Callbacks Serving::watch_jobs() {
    return {.on_job =
                [this](const service::QueuedJob& job) {
                    if (service::has_ended(job.state)) {
                        metrics_.count_job(job);
                        paces_->note_run();
                    }
                    events_.publish("job", wire::encode_job(job));
                    lines_.job(job);
                },
            .on_plan =
                [this](const service::QueuedJob& job, const service::PlanAnswer& answer) {
                    events_.publish("forecast", wire::encode_forecast_event(job.job_id, answer,
                                                                            job.run_anyway));
                },
            .on_warning = [this](std::string_view code, const std::string& job_id,
                                 const Phrase& message) { warn(code, job_id, message); },
            .on_busy =
                [this](bool busy) {
                    queue_busy_ = busy;
                    set_busy();
                }};
}

void Serving::warn(std::string_view code, const std::string& job_id, const Phrase& phrase) {
    const Phrase said = phrase.code().empty() ? parse_phrase(phrase.message()) : phrase;
    events_.publish("warning", encode_warning(world_.clock.unix_ms(), code, job_id, said));
    lines_.warning(code, job_id, phrase.message());
}

std::vector<std::pair<std::string, json::object>> Serving::snapshot() const {
    std::vector<std::pair<std::string, json::object>> events;
    if (const auto sample = lookout_->latest())
        events.emplace_back(
            "telemetry", wire::encode_telemetry({.sample = *sample,
                                                 .load_line = lookout_->place()->budget.load_line,
                                                 .holdings = jobs_->holdings(),
                                                 .job_id = jobs_->running()}));
    for (const service::QueuedJob& job : jobs_->list()) {
        if (service::has_ended(job.state)) continue;
        events.emplace_back("job", wire::encode_job(job));
        if (job.state == service::QueueState::Running && job.plan)
            events.emplace_back("forecast",
                                wire::encode_forecast_event(job.job_id, *job.plan, job.run_anyway));
    }
    return events;
}

Result<void> Serving::reload(service::Config config) {
    if (auto* const theirs = dynamic_cast<TheirComfyUi*>(theirs_.get())) theirs->set_config(config);
    if (gateway_ && theirs_) {
        TRY_ASSIGN(const net::Endpoint upstream, net::parse_endpoint(config.base_url()));
        TRY_DO(gateway_->set_upstream(upstream));
    }
    TRY_DO(lookout_->reload(std::move(config)));
    return {};
}

void Serving::stop() {
    caretaker_.reset();
    events_.close();
    if (gateway_) gateway_->stop(kStopGrace);
    if (server_) server_->stop(kStopGrace);
    if (guard_) guard_->stop();
    if (quality_) quality_->stop();
    if (jobs_) jobs_->stop();
    if (lookout_) lookout_->stop();
}

}  // namespace plimsoll::daemon
