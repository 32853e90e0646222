// SPDX-License-Identifier: Apache-2.0
#include "daemon/simulated_card.h"

#include "base/json.h"
#include "net/blocking_client.h"
#include "timing/cards.h"

namespace plimsoll::daemon {

namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kAskAgain{60};  // as drivers are listed again
constexpr net::Patience kPatience{.connect = milliseconds(500),
                                  .whole = milliseconds(2'000),
                                  .body_bytes_max = 64U << 10U};  // chosen: an answer has 500 bytes
constexpr double kPaceMax = 1'000;  // `simulate --speed` allows no more

}  // namespace

std::optional<service::CardLook> SimulatedCard::look(const std::string& url,
                                                     const service::DeviceStats& device) {
    if (url != url_) refused_at_.reset();
    url_ = url;
    if (refused_at_ && clock_.steady() - *refused_at_ < kAskAgain) return std::nullopt;
    const auto endpoint = net::parse_endpoint(url);
    if (!endpoint) return std::nullopt;
    const auto reply =
        net::call_http(*endpoint, {.method = "GET", .target = "/plimsoll/card"}, kPatience);
    if (!reply) return std::nullopt;
    const auto card = reply->status == 200 ? parse_json(reply->body)
                                           : Result<json::value>(fail(Errc::NotFound, "no card"));
    const auto number = [&](std::string_view key) -> std::optional<double> {
        return card ? find_number(*card, key) : std::nullopt;
    };
    const auto clock_share = number("clock_share");
    if (!clock_share || !number("temperature_c")) {
        refused_at_ = clock_.steady();
        pace_ = 1;
        return std::nullopt;
    }
    // As fast as it can: then its seconds are not ours in any way, and ours are taken.
    const double speed = number("speed").value_or(1);
    pace_ = speed > 0 && speed <= kPaceMax ? speed : 1;
    service::CardLook look;
    look.state = telemetry::DeviceState::Awake;
    look.limits = {.max_operating_c = number("limit_c"),
                   .slowdown_c = number("slowdown_c"),
                   .shutdown_c = number("shutdown_c")};
    look.heat = {.temperature_c = number("temperature_c"),
                 .power_watts = number("power_w"),
                 .clock_mhz = std::nullopt,
                 .utilization = number("utilization"),
                 .throttled = *clock_share < 1};
    if (const auto known = timing::find_card(device.name, device.vram_total))
        look.heat.clock_mhz = (*known)->boost_mhz * *clock_share;
    return look;
}

}  // namespace plimsoll::daemon
