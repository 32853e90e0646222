// SPDX-License-Identifier: Apache-2.0
#include "daemon/simulated_server.h"

#include "base/text.h"
#include "service/comfyui/client.h"
#include "service/config.h"
#include "simulator/simulated_comfyui.h"
#include "timing/cards.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::daemon {

namespace {

// Seconds of a simulation that runs faster or slower than ours.
class SimulatedClock final : public Clock {
  public:
    explicit SimulatedClock(double speed) : speed_(speed) {}
    [[nodiscard]] std::chrono::nanoseconds steady() const override {
        const auto real = static_cast<double>((system_clock().steady() - began_).count());
        return began_ + std::chrono::nanoseconds(static_cast<std::int64_t>(real * speed_));
    }
    [[nodiscard]] std::int64_t unix_ms() const override { return system_clock().unix_ms(); }

  private:
    double speed_;
    std::chrono::nanoseconds began_ = system_clock().steady();
};

// Seconds that the card has worked: what the host needs beside, to draw and to talk, is not in
// them.
class CardStopwatch final : public Clock {
  public:
    explicit CardStopwatch(const std::unique_ptr<simulator::SimulatedComfyUi>& comfyui)
        : comfyui_(comfyui) {}
    [[nodiscard]] std::chrono::nanoseconds steady() const override {
        const double seconds = comfyui_ ? comfyui_->card().simulated_seconds : 0;
        return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    }
    [[nodiscard]] std::int64_t unix_ms() const override { return system_clock().unix_ms(); }

  private:
    const std::unique_ptr<simulator::SimulatedComfyUi>& comfyui_;  // whichever runs now
};

class SimulatedServer final : public SimulatedComfyUiAtHand {
  public:
    SimulatedServer(const cli::SimulationWish& wish, std::vector<std::string> flags)
        : wish_(wish),
          first_flags_(std::move(flags)),
          clock_(wish.speed > 0 ? wish.speed : 1),
          stopwatch_(comfyui_) {
        if (const auto card = timing::find_card(wish.card)) boost_mhz_ = (*card)->boost_mhz;
    }

    [[nodiscard]] std::string kind() const override { return "simulated"; }
    [[nodiscard]] const Clock& clock() const override { return clock_; }
    [[nodiscard]] const Clock& stopwatch() const override { return stopwatch_; }
    [[nodiscard]] double speed() const override { return wish_.speed; }

    [[nodiscard]] Result<service::Upstream*> start(const std::vector<std::string>& flags) override {
        const std::lock_guard lock(mutex_);
        TRY_DO(start_locked(flags));
        return client_.get();
    }

    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        const std::lock_guard lock(mutex_);
        if (!comfyui_) TRY_DO(start_locked(first_flags_));
        TRY_ASSIGN(auto client, make_client());
        return std::unique_ptr<service::Upstream>(std::move(client));
    }

    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats& /*device*/,
                                                 telemetry::Attention /*attention*/) override {
        const std::lock_guard lock(mutex_);
        if (!comfyui_) return {};
        const simulator::CardReading card = comfyui_->card();
        service::CardLook look;
        look.state = telemetry::DeviceState::Awake;
        look.limits = {.max_operating_c = card.limit_c,
                       .slowdown_c = card.slowdown_c,
                       .shutdown_c = card.shutdown_c};
        look.heat = {.temperature_c = card.temperature_c,
                     .power_watts = card.power_w,
                     .clock_mhz = boost_mhz_ * card.clock_share,
                     .utilization = card.utilization,
                     .throttled = card.clock_share < 1};
        return look;
    }

    [[nodiscard]] double pace() const override { return wish_.speed > 0 ? wish_.speed : 1; }
    [[nodiscard]] std::string address() const override {
        const std::lock_guard lock(mutex_);
        return comfyui_ ? comfyui_->url() : "the simulated ComfyUI";
    }

  private:
    Result<void> start_locked(const std::vector<std::string>& flags) {
        client_.reset();
        comfyui_.reset();
        simulator::SimulatorOptions options;
        options.card = wish_.card;
        options.seed = wish_.seed;
        options.speed = wish_.speed;
        options.flags = fmt::format("{}", fmt::join(flags, " "));
        options.port = port_;  // as the real one comes back where its clients look for it
        TRY_ASSIGN(comfyui_, simulator::SimulatedComfyUi::start(std::move(options)));
        port_ = comfyui_->port();
        TRY_ASSIGN(client_, make_client());
        return {};
    }

    [[nodiscard]] Result<std::unique_ptr<service::ComfyClient>> make_client() const {
        service::Config config;
        config.server_url.value = "http://127.0.0.1";
        config.port.value = comfyui_->port();
        return service::ComfyClient::create(config);
    }

    cli::SimulationWish wish_;
    std::vector<std::string> first_flags_;
    double boost_mhz_ = 0;
    mutable std::mutex mutex_;  // guards comfyui_ and client_ against being exchanged
    SimulatedClock clock_;
    CardStopwatch stopwatch_;
    std::unique_ptr<simulator::SimulatedComfyUi> comfyui_;
    std::unique_ptr<service::ComfyClient> client_;  // of comfyui_
    int port_ = 0;                                  // of the first that started; 0: none did
};

}  // namespace

Result<std::unique_ptr<SimulatedComfyUiAtHand>> make_simulated_at_hand(
    const cli::SimulationWish& wish, std::vector<std::string> flags) {
    const std::vector<std::string> cards = simulator::simulated_cards();
    if (std::ranges::find(cards, wish.card) == cards.end())
        return fail(Errc::NotFound,
                    fmt::format("no card '{}' can be simulated; the nearest that can: {}",
                                wish.card, fmt::join(nearest_names(wish.card, cards, 3), ", ")));
    return std::make_unique<SimulatedServer>(wish, std::move(flags));
}

Result<std::unique_ptr<service::OwnServer>> make_simulated_server(const cli::SimulationWish& wish) {
    TRY_ASSIGN(auto server, make_simulated_at_hand(wish, {}));
    return std::unique_ptr<service::OwnServer>(std::move(server));
}

}  // namespace plimsoll::daemon
