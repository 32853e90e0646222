// SPDX-License-Identifier: Apache-2.0
//
// App: the REST API, the event stream, metrics and the page behind one net::Handler. Routes are a
// table (routes.h); what blocks runs on workers, a forecast runs where it is asked for.
//
// Enters through: net::Exchange.   Leaves through: answers, EventHub.   Threads: as net::Server;
// callbacks of queue and lookout from theirs.
#pragma once
#include "api/answer_cache.h"
#include "api/event_hub.h"
#include "api/guard.h"
#include "api/metrics.h"
#include "api/routes.h"
#include "api/static_files.h"
#include "base/clock.h"
#include "history/store.h"
#include "net/server.h"
#include "net/workers.h"
#include "service/comfy_at_hand.h"
#include "service/job_queue.h"
#include "service/lookout.h"
#include "service/models.h"
#include "service/quality/quality_lab.h"

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {
class Guard;
}

namespace plimsoll::api {

struct AppParts {
    service::Lookout& lookout;
    service::JobQueue& jobs;
    guard::Guard& gateway;
    service::QualityLab& quality;
    service::ComfyAtHand& comfyui;
    std::function<Result<std::unique_ptr<history::Store>>()> open_history;
    const Clock& clock;
    EventHub& events;
    Metrics& metrics;
    GuardRules guard;
    std::string_view openapi_json;
    std::span<const EmbeddedFile> page;
    bool simulated = false;
};

class App {
  public:
    explicit App(AppParts parts);
    App(const App&) = delete;
    App& operator=(const App&) = delete;

    // For Server::start; the app outlives the server.
    [[nodiscard]] net::Handler handler();
    // What is asked of the server: limits and deadlines.
    [[nodiscard]] static net::ServerOptions server_options();

    // For the routes.
    [[nodiscard]] const AppParts& parts() const { return parts_; }
    [[nodiscard]] const StaticFiles& page() const { return page_; }
    [[nodiscard]] AnswerCache& cache() { return cache_; }
    [[nodiscard]] double uptime_seconds() const;
    // One at a time; opened when it is first needed.
    [[nodiscard]] Answer with_history(const std::function<Answer(history::Store&)>& use);
    // The model files of this machine, one user at a time. Made anew when the configuration names
    // other folders.
    template <class Use>
    auto with_models(const service::Config& config, Use&& use) {
        const std::lock_guard lock(models_mutex_);
        if (!models_ || models_->folders() != config.models_dirs.value)
            models_ = std::make_unique<service::ModelLibrary>(config.models_dirs.value);
        return std::forward<Use>(use)(*models_);
    }

  private:
    [[nodiscard]] net::Task<void> answer(net::Exchange& exchange);
    [[nodiscard]] net::Task<std::optional<Answer>> answer_routed(net::Exchange& exchange,
                                                                 const Route& route,
                                                                 std::vector<std::string> params,
                                                                 Query query);
    [[nodiscard]] Answer answer_unrouted(const net::RequestHead& head,
                                         const std::string& allow) const;
    // The status of what was begun; nullopt: nothing was.
    [[nodiscard]] net::Task<std::optional<Answer>> stream_export(net::Exchange& exchange,
                                                                 Query query);
    [[nodiscard]] net::Task<void> stream_events(net::Exchange& exchange, std::string last_id);

    AppParts parts_;
    StaticFiles page_;
    AnswerCache cache_;
    std::chrono::nanoseconds started_;
    std::mutex history_mutex_;
    std::unique_ptr<history::Store> history_;
    std::mutex models_mutex_;
    std::unique_ptr<service::ModelLibrary> models_;
    std::unique_ptr<net::Workers> workers_;  // last: they use what is above
};

}  // namespace plimsoll::api
