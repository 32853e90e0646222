// SPDX-License-Identifier: Apache-2.0
#include "daemon/simulated_server.h"

#include "base/text.h"
#include "service/comfyui/client.h"
#include "service/config.h"
#include "simulator/simulated_comfyui.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
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

class SimulatedServer final : public service::OwnServer {
  public:
    explicit SimulatedServer(const cli::SimulationWish& wish)
        : wish_(wish), clock_(wish.speed > 0 ? wish.speed : 1), stopwatch_(comfyui_) {}

    [[nodiscard]] std::string kind() const override { return "simulated"; }
    [[nodiscard]] const Clock& clock() const override { return clock_; }
    [[nodiscard]] const Clock& stopwatch() const override { return stopwatch_; }
    [[nodiscard]] double speed() const override { return wish_.speed; }

    [[nodiscard]] Result<service::Upstream*> start(const std::vector<std::string>& flags) override {
        client_.reset();
        comfyui_.reset();
        simulator::SimulatorOptions options;
        options.card = wish_.card;
        options.seed = wish_.seed;
        options.speed = wish_.speed;
        options.flags = fmt::format("{}", fmt::join(flags, " "));
        TRY_ASSIGN(comfyui_, simulator::SimulatedComfyUi::start(std::move(options)));
        service::Config config;
        config.server_url.value = "http://127.0.0.1";
        config.port.value = comfyui_->port();
        TRY_ASSIGN(client_, service::ComfyClient::create(config));
        return client_.get();
    }

  private:
    cli::SimulationWish wish_;
    SimulatedClock clock_;
    CardStopwatch stopwatch_;
    std::unique_ptr<simulator::SimulatedComfyUi> comfyui_;
    std::unique_ptr<service::ComfyClient> client_;  // of comfyui_
};

}  // namespace

Result<std::unique_ptr<service::OwnServer>> make_simulated_server(const cli::SimulationWish& wish) {
    const std::vector<std::string> cards = simulator::simulated_cards();
    if (std::ranges::find(cards, wish.card) == cards.end())
        return fail(Errc::NotFound,
                    fmt::format("no card '{}' can be simulated; the nearest that can: {}",
                                wish.card, fmt::join(nearest_names(wish.card, cards, 3), ", ")));
    return std::make_unique<SimulatedServer>(wish);
}

}  // namespace plimsoll::daemon
