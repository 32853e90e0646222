// SPDX-License-Identifier: Apache-2.0
//
// What the advisor asks a forecast about, and how it judges the answer against the load line. The
// advisor never calls `memory` by itself but through a Forecaster, so that a session's state,
// another card or a test's law can stand behind it.
//
// What counts against the line is decided in docs/adr/0001-what-counts-against-the-load-line.md.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "base/units.h"
#include "memory/forecast.h"
#include "memory/input_media.h"
#include "memory/simulate.h"
#include "timing/pace.h"
#include "timing/roofline.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::advisor {

struct PricedForecast {
    memory::Forecast memory;
    timing::ForecastSeconds seconds;
};

struct Scenario {
    std::string_view workflow;  // API format
    std::optional<Bytes>
        reserve_vram;  // as if the server ran with --reserve-vram; nullopt: the server's own flags
    bool free_models_first = false;  // as if POST /free came before the job
};

using Forecaster = std::function<Result<PricedForecast>(const Scenario&)>;

// Everything that fixes a forecast but the workflow. Copied into the Forecaster.
struct Surroundings {
    memory::ModelFiles files;
    memory::Server server;
    memory::Device device;
    timing::Card card;
    timing::Efficiency efficiency = timing::default_efficiency();
    memory::InputMedia media = {};        // sizes of the images that workflows load, where known
    timing::SharedPaces paces = nullptr;  // of this machine; nullptr: the table alone
    std::string family = {};              // of the workflow's network, for its pace
};
// `server` as the forecast was made for.
[[nodiscard]] timing::ForecastSeconds price_forecast(const memory::Forecast& forecast,
                                                     const memory::Server& server,
                                                     const Surroundings& around);
// Parses, lowers, simulates on an empty card, prices. Safe to call from several threads at once.
[[nodiscard]] Forecaster make_forecaster(Surroundings surroundings);

inline constexpr double kMaxVramMbDefault = 5120;  // MiB, as ComfyUI says MB
inline constexpr double kSafetyMarginDefault = 0.15;
inline constexpr double kMaxMinutesDefault = 30;

struct Budget {
    Bytes load_line = Bytes::from_mib(kMaxVramMbDefault * (1 - kSafetyMarginDefault));
    Bytes vram_max = Bytes::from_mib(kMaxVramMbDefault);  // the line and its margin
    double seconds_max = kMaxMinutesDefault * 60;
};
// The load line is max_vram_mb x (1 - safety_margin) MiB. InvalidInput names the range of what is
// out of it.
[[nodiscard]] Result<Budget> make_budget(double max_vram_mb, double safety_margin,
                                         double max_minutes);

enum class Standing : std::uint8_t {
    Under,    // every phase's peak is below the line
    Parked,   // above, but by weights that the loader parked because there was room: streamable, no
              // need
    Over,     // what must be on the card is above the line, its working set above MAX_VRAM_MB, or
              // the card itself is too small
    Unknown,  // a part of the workflow is not understood: never blocks
};
[[nodiscard]] std::string_view standing_name(
    Standing standing);  // "under", "parked", "over", "unknown"

struct Judgement {
    Standing standing = Standing::Unknown;
    Bytes over_by;           // peak above the line, 0 when under
    int binding_phase = -1;  // index of the phase with the highest peak
    bool in_time = true;
    Phrase sentence;  // for people, with the numbers
};
[[nodiscard]] Judgement judge(const PricedForecast& forecast, const Budget& budget);

}  // namespace plimsoll::advisor
