// SPDX-License-Identifier: Apache-2.0
//
// The program: hands the concrete ComfyUI client, history file, clocks and simulator to the command
// line.
#include "base/random.h"
#include "cli/command_line.h"
#include "daemon/interrupts.h"
#include "daemon/serve.h"
#include "daemon/simulate.h"
#include "daemon/simulated_server.h"
#include "history/renewing_store.h"
#include "history/sqlite_store.h"
#include "history/store.h"
#include "service/comfyui/client.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace plimsoll::daemon {

namespace {

using cli::World;

Result<std::unique_ptr<service::Upstream>> reach_comfyui(const service::Config& config) {
    TRY_ASSIGN(auto client, service::ComfyClient::create(config));
    return std::unique_ptr<service::Upstream>(std::move(client));
}

Result<std::unique_ptr<history::Store>> open_history(const std::filesystem::path& path,
                                                     World::Access access) {
    std::error_code error;
    const bool reads = access == World::Access::Read;
    if (reads && !std::filesystem::exists(path, error))
        return std::make_unique<history::MemoryStore>();
    if (reads) {
        TRY_ASSIGN(auto store,
                   history::SqliteStore::create(path, {.access = history::Access::ReadOnly}));
        return std::unique_ptr<history::Store>(std::move(store));
    }
    // Whoever writes goes on after damage; what was done about it is logged.
    TRY_ASSIGN(auto store, history::RenewingStore::create(path, system_clock(), {}));
    return std::unique_ptr<history::Store>(std::move(store));
}

std::optional<std::string> environment_of_process(const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
}

int run(const std::vector<std::string>& arguments) {
    Random random(os_seed());
    std::error_code error;
    const World world{.in = stdin,
                      .out = stdout,
                      .err = stderr,
                      .environment = environment_of_process,
                      .working_dir = std::filesystem::current_path(error),
                      .reach_comfyui = reach_comfyui,
                      .open_history = open_history,
                      .simulate = make_simulated_server,
                      .clock = system_clock(),
                      .random = random,
                      .watch_interrupts = watch_interrupts,
                      .watch_daemon = service::HttpDaemonFeed::create,
                      .ask_daemon = service::ask_daemon};
    return cli::run_command_line(arguments, world, [](cli::Commands& commands) {
        add_serve(commands);
        add_simulate(commands);
    });
}

}  // namespace

}  // namespace plimsoll::daemon

int main(int argc, char** argv) {
    // A reader that goes away is an error of writing, not the end of a job that runs.
    std::signal(SIGPIPE, SIG_IGN);
    // So is a file that may not grow any more (ulimit -f): the history says so, and all goes on.
    std::signal(SIGXFSZ, SIG_IGN);
    return plimsoll::daemon::run({argv + std::min(argc, 1), argv + argc});
}
