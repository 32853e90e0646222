// SPDX-License-Identifier: Apache-2.0
//
// Serving: everything that `plimsoll serve` runs, wired: lookout, queue, API, server. What happens
// goes to three places at once: the event stream, the metrics and the printed lines.
//
// Threads: made, reloaded and stopped by one thread.
#pragma once
#include "api/app.h"
#include "cli/world.h"
#include "daemon/caretaker.h"
#include "daemon/event_lines.h"
#include "daemon/simulated_server.h"
#include "gateway/gateway.h"
#include "guard/guard.h"
#include "service/config.h"
#include "service/pace.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::daemon {

struct ServingOptions {
    std::optional<cli::SimulationWish> simulate;
    std::string token;  // never printed, logged nor stored
    std::vector<std::string> hosts;
};

class Serving {
  public:
    // Listens when it returns; ComfyUI is looked for afterwards. InvalidInput where it would be
    // open to others without a token.
    [[nodiscard]] static Result<std::unique_ptr<Serving>> start(service::Config config,
                                                                ServingOptions options,
                                                                const cli::World& world,
                                                                EventLines& lines);
    ~Serving() { stop(); }
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

    [[nodiscard]] int port() const { return server_->port(); }
    // Where the gateway listens; nullopt where it does not, by wish or with a problem.
    [[nodiscard]] std::optional<EventLines::Gateway> gateway() const;
    [[nodiscard]] const std::string& gateway_problem() const { return gateway_problem_; }
    // The configuration anew; what the daemon listens on stays.
    [[nodiscard]] Result<void> reload(service::Config config);
    // Answers in progress end, the running job goes back into the queue.
    void stop();

  private:
    Serving(const cli::World& world, EventLines& lines);
    Result<void> wire(service::Config config, ServingOptions options);
    [[nodiscard]] Result<void> open_gateway(const service::Config& config);
    [[nodiscard]] service::Lookout::Callbacks watch_card();
    [[nodiscard]] service::JobQueue::Callbacks watch_jobs();
    using OpenHistory = std::function<Result<std::unique_ptr<history::Store>>()>;
    void make_guard(service::ComfyAtHand& comfyui, const OpenHistory& open_history);
    void set_busy();
    void warn(std::string_view code, const std::string& job_id, const Phrase& phrase);
    [[nodiscard]] std::vector<std::pair<std::string, json::object>> snapshot() const;

    const cli::World& world_;
    EventLines& lines_;
    Random random_;
    api::EventHub events_;
    api::Metrics metrics_;
    std::unique_ptr<SimulatedComfyUiAtHand> simulated_;
    std::unique_ptr<service::ComfyAtHand> theirs_;
    std::unique_ptr<service::PaceBook> paces_;
    std::unique_ptr<service::Lookout> lookout_;
    std::unique_ptr<service::JobQueue> jobs_;
    std::unique_ptr<guard::Guard> guard_;
    std::atomic<bool> queue_busy_ = false;
    std::atomic<bool> guard_busy_ = false;
    std::unique_ptr<service::QualityLab> quality_;
    std::unique_ptr<api::App> app_;
    std::unique_ptr<net::Server> server_;
    std::unique_ptr<Caretaker> caretaker_;
    std::unique_ptr<gateway::Gateway> gateway_;
    service::ListenAddress gateway_listen_;
    std::string gateway_problem_;
};

}  // namespace plimsoll::daemon
