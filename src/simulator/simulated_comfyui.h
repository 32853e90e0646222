// SPDX-License-Identifier: Apache-2.0
//
// A ComfyUI 0.3.64 without a GPU: its HTTP routes and WebSocket messages as recorded from the real
// server, and a card whose memory, time and heat follow recorded data.
//
//   auto comfyui = simulator::SimulatedComfyUi::start({.card = "rtx3050-6gb", .speed = 0});
//   ... (*comfyui)->url() ...
//
// Besides ComfyUI's own routes there are three that no real server has: GET /plimsoll/card
// (temperature, power, clock and the memory as the card knows it), POST /plimsoll/faults and POST
// /plimsoll/time (docs/gateway.md).
//
// Threads: an instance owns its threads and shares nothing with others; its functions may be called
// from any thread.
#pragma once
#include "base/error.h"
#include "simulator/faults.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::simulator {

struct SimulatorOptions {
    std::string card = "rtx3050-6gb";
    std::string address = "127.0.0.1";
    int port = 0;            // 0: any free one
    std::uint64_t seed = 0;  // of everything random but ids
    double speed = 1;        // simulated seconds a real second; 0: as fast as possible
    std::string flags;       // of ComfyUI's command line: "--reserve-vram 0.8 --lowvram"
    std::optional<std::filesystem::path> output_directory;  // default: one that vanishes
    // Taken by CUDA's context, the desktop and other programs, before anything runs.
    std::int64_t outside_bytes = 300LL << 20U;
    double ambient_c = 30;              // air around the card
    bool fixture_nodes = true;          // the four nodes of the recordings can be run (not listed)
    bool only_recorded_models = false;  // no model files but the two of the recordings
    Faults faults;
};

// Cards that can be simulated.
[[nodiscard]] std::vector<std::string> simulated_cards();

// What the card really does, for tests: /system_stats shows only what ComfyUI knows.
struct CardReading {
    std::int64_t total_bytes = 0;
    std::int64_t outside_bytes = 0;
    std::int64_t reserved_bytes = 0;
    std::int64_t active_bytes = 0;
    double temperature_c = 0;
    double limit_c = 0;     // above it the clock falls
    double slowdown_c = 0;  // the hardware throttles
    double shutdown_c = 0;
    double power_w = 0;
    double clock_share = 1;
    double utilization = 0;
    double simulated_seconds = 0;
};

class SimulatedComfyUi {
  public:
    // InvalidInput for a flag, NotFound for a card that is not known (with the nearest names),
    // Unavailable when the port is taken.
    [[nodiscard]] static Result<std::unique_ptr<SimulatedComfyUi>> start(SimulatorOptions options);
    virtual ~SimulatedComfyUi() = default;

    [[nodiscard]] virtual int port() const = 0;
    [[nodiscard]] virtual std::string url() const = 0;  // "http://127.0.0.1:8188"
    [[nodiscard]] virtual CardReading card() const = 0;
    virtual void set_faults(Faults faults) = 0;
    // From now on simulated time stands still but for `seconds` (in place of what is left of the
    // last grant); nullopt, as at the start and after a restart: it passes freely. For tests whose
    // requests must meet a job at one moment, however slow the machine is.
    virtual void grant_time(std::optional<double> seconds) = 0;
    // Dies and comes back on the same port: queue, history and caches are lost. Waits for it.
    virtual void restart() = 0;
    // Stops for good. Safe to call twice; the destructor does it too.
    virtual void stop() = 0;
};

}  // namespace plimsoll::simulator
