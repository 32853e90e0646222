// SPDX-License-Identifier: Apache-2.0
//
// What the command line needs from outside, wired by the daemon: streams, environment, ComfyUI, the
// history file, time and chance. Tests hand in doubles.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "history/store.h"
#include "service/comfyui/upstream.h"
#include "service/config.h"
#include "service/daemon_feed.h"
#include "service/own_server.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

// What `generate --simulate` asks for.
struct SimulationWish {
    std::string card;        // a key of the catalogue
    std::uint64_t seed = 0;  // of everything random in the simulation
    double speed = 1;        // times real time; 0: as fast as it can
};

// Everything outlives the command that runs.
struct World {
    std::FILE* in = nullptr;
    std::FILE* out = nullptr;
    std::FILE* err = nullptr;
    std::function<std::optional<std::string>(const std::string&)> environment;
    std::filesystem::path working_dir;
    // Connects to nothing yet.
    std::function<Result<std::unique_ptr<service::Upstream>>(const service::Config&)> reach_comfyui;
    // With Access::Read a file that does not exist is an empty history.
    enum class Access : std::uint8_t { Read, Write };
    std::function<Result<std::unique_ptr<history::Store>>(const std::filesystem::path&, Access)>
        open_history;
    std::function<Result<std::unique_ptr<service::OwnServer>>(const SimulationWish&)> simulate;
    const Clock& clock;
    Random& random;
    // From now on the first Ctrl-C (or SIGTERM) sets the flag, the second ends the process at once.
    std::function<const std::atomic<bool>&()> watch_interrupts;
    // A running daemon at that address, with its token or none. Connects to nothing yet.
    std::function<Result<std::unique_ptr<service::DaemonFeed>>(const std::string& url,
                                                               const std::string& token)>
        watch_daemon = nullptr;
    // One question to it: method and target; the JSON of the answer.
    std::function<Result<json::value>(const std::string& url, const std::string& token,
                                      const std::string& method, const std::string& target)>
        ask_daemon = nullptr;
};

}  // namespace plimsoll::cli
