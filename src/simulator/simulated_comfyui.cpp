// SPDX-License-Identifier: Apache-2.0
#include "simulator/simulated_comfyui.h"

#include "base/log.h"
#include "net/server.h"
#include "simulator/card/recorded.h"
#include "simulator/server/app.h"
#include "simulator/server/routes.h"

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace plimsoll::simulator {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStopGrace{100};  // chosen: answers of this machine take less

// From start to stop or crash: what a restart throws away.
class Life {
  public:
    static Result<std::unique_ptr<Life>> begin(const SimulatorOptions& options,
                                               const CardSpec& card, const LaunchFlags& flags,
                                               FileStore& store, FaultBoard& faults, int port) {
        auto life = std::make_unique<Life>(options, card, flags, store, faults);
        net::ServerOptions server;
        server.address = options.address;
        server.port = port;
        server.refuse = refuse_request;
        App& app = life->app_;
        TRY_ASSIGN(life->server_,
                   net::Server::start(std::move(server),
                                      [&app, &ready = life->ready_](net::Exchange& exchange) {
                                          // A client may be here before this function is done.
                                          ready.wait(false);
                                          return answer(app, exchange);
                                      }));
        life->app_.port = life->server_->port();
        life->ready_ = true;
        life->ready_.notify_all();
        life->worker_ = std::thread([&app] { app.executor.run(); });
        return life;
    }

    Life(const SimulatorOptions& options, const CardSpec& card, const LaunchFlags& flags,
         FileStore& store, FaultBoard& faults)
        : app_(options, card, flags, store, faults, [this](std::function<void()> function) {
              if (server_) server_->post(std::move(function));
          }) {}
    ~Life() { end(kStopGrace); }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;

    void end(milliseconds grace) {
        app_.machine.pace.stop();
        app_.queue.stop();
        if (worker_.joinable()) worker_.join();
        if (server_) server_->stop(grace);
        // No socket may outlive the server that it lives on.
        app_.hub.forget_all();
    }
    [[nodiscard]] int port() const { return server_->port(); }
    [[nodiscard]] App& app() { return app_; }

  private:
    App app_;
    std::atomic<bool> ready_ = false;
    std::unique_ptr<net::Server> server_;
    std::thread worker_;
};

class Simulator final : public SimulatedComfyUi {
  public:
    Simulator(SimulatorOptions options, CardSpec card, LaunchFlags flags, FileStore store)
        : options_(std::move(options)),
          card_(std::move(card)),
          flags_(std::move(flags)),
          store_(std::move(store)) {
        faults_.set(options_.faults);
        // Comes from the executing thread, which cannot end its own life.
        faults_.on_restart = [this] {
            const std::lock_guard lock(mutex_);
            restart_wanted_ = true;
            wake_.notify_all();
        };
    }
    ~Simulator() override { stop(); }
    Simulator(const Simulator&) = delete;
    Simulator& operator=(const Simulator&) = delete;

    Result<void> begin() {
        TRY_ASSIGN(life_, Life::begin(options_, card_, flags_, store_, faults_, options_.port));
        port_ = life_->port();
        supervisor_ = std::thread([this] { supervise(); });
        return {};
    }

    [[nodiscard]] int port() const override { return port_; }
    [[nodiscard]] std::string url() const override {
        return fmt::format(
            "http://{}:{}",
            options_.address.contains(':') ? "[" + options_.address + "]" : options_.address,
            port_);
    }

    [[nodiscard]] CardReading card() const override {
        const std::lock_guard lock(life_mutex_);
        if (!life_) return {};
        Machine& machine = life_->app().machine;
        machine.pace.rest();
        const MemoryUse use = machine.memory.use();
        const HeatReading heat = machine.heat.read();
        return {.total_bytes = use.total,
                .outside_bytes = use.outside,
                .reserved_bytes = use.reserved,
                .active_bytes = use.active,
                .temperature_c = heat.temperature_c,
                .limit_c = heat.limit_c,
                .slowdown_c = heat.slowdown_c,
                .shutdown_c = heat.shutdown_c,
                .power_w = heat.power_w,
                .clock_share = heat.clock_share,
                .utilization = heat.utilization,
                .simulated_seconds = machine.pace.now()};
    }

    void set_faults(Faults faults) override {
        const std::lock_guard lock(life_mutex_);
        const auto drop = faults.drop_socket_at_message;
        faults_.set(std::move(faults));
        if (life_) life_->app().hub.drop_at(drop);
    }

    void grant_time(std::optional<double> seconds) override {
        const std::lock_guard lock(life_mutex_);
        if (life_) life_->app().machine.pace.grant(seconds);
    }

    void restart() override {
        const std::lock_guard lock(life_mutex_);
        if (life_) rebirth();
    }

    void stop() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        if (supervisor_.joinable()) supervisor_.join();
        const std::lock_guard lock(life_mutex_);
        life_.reset();
    }

  private:
    void supervise() {
        for (;;) {
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || restart_wanted_; });
                if (stopping_) return;
                restart_wanted_ = false;
            }
            restart();
        }
    }

    // With life_mutex_ held.
    void rebirth() {
        life_->app().hub.cut_all();
        life_->end(milliseconds(0));
        life_.reset();
        std::this_thread::sleep_for(faults_.get().restart_takes);
        faults_.revive();
        auto next = Life::begin(options_, card_, flags_, store_, faults_, port_);
        if (next)
            life_ = std::move(*next);
        else
            log::error("the simulated ComfyUI cannot come back: {}", next.error().message);
    }

    const SimulatorOptions options_;
    const CardSpec card_;
    const LaunchFlags flags_;
    FileStore store_;
    FaultBoard faults_;
    int port_ = 0;
    mutable std::mutex life_mutex_;  // held while a life begins or ends
    std::unique_ptr<Life> life_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    bool restart_wanted_ = false;
    std::thread supervisor_;
};

}  // namespace

std::vector<std::string> simulated_cards() {
    return card_keys();
}

Result<std::unique_ptr<SimulatedComfyUi>> SimulatedComfyUi::start(SimulatorOptions options) {
    TRY_ASSIGN(CardSpec card, find_card(options.card));
    TRY_ASSIGN(LaunchFlags flags, parse_launch_flags(options.flags));
    if (!(options.speed >= 0 && options.speed <= 1e6))
        return fail(Errc::InvalidInput, "speed is a number from 0 to 1000000");
    TRY_ASSIGN(FileStore store, FileStore::create(options.output_directory));
    auto simulator = std::make_unique<Simulator>(std::move(options), std::move(card),
                                                 std::move(flags), std::move(store));
    TRY_DO(simulator->begin());
    return std::unique_ptr<SimulatedComfyUi>(std::move(simulator));
}

}  // namespace plimsoll::simulator
