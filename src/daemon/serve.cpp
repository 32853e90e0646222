// SPDX-License-Identifier: Apache-2.0
#include "daemon/serve.h"

#include "base/log.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "daemon/interrupts.h"
#include "daemon/notify.h"
#include "daemon/serving.h"
#include "service/daemon_feed.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::daemon {

namespace {

struct Flags {
    cli::ConfigFlags config;
    bool simulate = false;
    std::optional<std::uint64_t> seed;
    std::optional<double> speed;
    std::vector<std::string> hosts;
    std::string log_format = "text";
    std::string log_level = "warning";
};

Result<std::optional<cli::SimulationWish>> simulation_of(const Flags& flags,
                                                         const service::Config& config) {
    if (!flags.simulate) {
        if (flags.speed || flags.seed)
            return fail(Errc::InvalidInput, "--speed and --seed go with --simulate");
        return std::nullopt;
    }
    return cli::SimulationWish{
        .card = config.card.value.empty() ? service::kReferenceCard : config.card.value,
        .seed = flags.seed.value_or(0),
        .speed = flags.speed.value_or(1)};
}

// Each of the gateway's clients takes two descriptors, of which a login has 1,024.
void raise_descriptor_limit() {
    constexpr rlim_t kWanted = 16'384;  // chosen: the gateway's 4,096 clients twice, and the rest
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kWanted) return;
    limit.rlim_cur = std::min(limit.rlim_max, kWanted);
    (void)::setrlimit(RLIMIT_NOFILE, &limit);  // the old one serves fewer
}

Result<cli::Exit> serve(cli::Session& session, const Flags& flags) {
    raise_descriptor_limit();
    TRY_ASSIGN(const log::Level level, log::parse_level(flags.log_level));
    const bool json = session.json || flags.log_format == "json";
    log::configure(level, json ? log::Format::Json : log::Format::Text);
    // Before it can be seen: whoever reads the first line may send a signal at once.
    const std::atomic<bool>& stop = session.world.watch_interrupts();
    std::atomic<bool>& hung_up = watch_hangups();
    TRY_ASSIGN(service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto simulate, simulation_of(flags, config));
    TRY_ASSIGN(const service::ListenAddress listen, service::parse_listen(config.listen.value));
    ServingOptions options;
    options.simulate = simulate;
    options.token = session.world.environment("PLIMSOLL_TOKEN").value_or("");
    options.hosts = flags.hosts;
    const bool wants_token = !options.token.empty();
    const std::string where = simulate ? fmt::format("a simulated {}", simulate->card)
                                       : fmt::format("ComfyUI at {}", config.base_url());
    EventLines lines(session.world.out, json ? LineFormat::Json : LineFormat::Text,
                     session.world.clock);
    TRY_ASSIGN(const auto serving,
               Serving::start(std::move(config), std::move(options), session.world, lines));
    lines.listening(service::visit_url(listen, serving->port()), serving->port(), where,
                    wants_token, serving->gateway());
    if (!serving->gateway_problem().empty())
        lines.warning("gateway", "", serving->gateway_problem());
    // Not being heard by a service manager is told and no reason not to serve.
    const auto notify =
        [&, socket = session.world.environment("NOTIFY_SOCKET")](std::string_view state) {
            if (const auto told = notify_service_manager(socket, state); !told)
                lines.warning("configuration", "", told.error().message);
        };
    notify("READY=1");
    constexpr std::chrono::milliseconds kLook{50};  // chosen: nobody notices
    while (!stop) {
        std::this_thread::sleep_for(kLook);
        if (!hung_up.exchange(false)) continue;
        notify(reloading_state());
        auto again = session.read_config(flags.config);
        const Result<void> reloaded = again ? serving->reload(std::move(*again))
                                            : Result<void>(std::unexpected(again.error()));
        if (reloaded)
            lines.note("reloaded", "the configuration was read anew");
        else
            lines.warning("configuration", "",
                          "the old configuration stays: " + reloaded.error().message);
        notify("READY=1");
    }
    notify("STOPPING=1");
    lines.note("stopping", "stopping: answers end, jobs are kept");
    serving->stop();
    return cli::Exit::Done;
}

}  // namespace

void add_serve(cli::Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command =
        commands.add("serve", "be a daemon: REST API, live events, metrics and the web page",
                     "plimsoll serve\n  plimsoll serve --simulate --card rtx3050-6gb --speed 10\n"
                     "  PLIMSOLL_TOKEN=... plimsoll serve --listen 0.0.0.0:8190",
                     [flags](cli::Session& session) { return serve(session, *flags); });
    const auto config = [&](const std::string& flag, const char* key, const char* type,
                            const std::string& what) {
        command
            .add_option_function<std::string>(
                flag, [flags, key](const std::string& text) { flags->config.values[key] = text; },
                what)
            ->type_name(type);
    };
    config("--listen", "listen", "ADDR:PORT",
           "where it listens, built-in 127.0.0.1:8190 (PLIMSOLL_LISTEN); port 0 takes a free one; "
           "beyond this machine PLIMSOLL_TOKEN must be set");
    config("--gateway-listen", "gateway_listen", "ADDR:PORT",
           "where ComfyUI's clients may come in its place, built-in 127.0.0.1:8189 "
           "(PLIMSOLL_GATEWAY_LISTEN); off: nowhere");
    config("--upstream", "comfyui_server_url", "URL",
           "ComfyUI with its port, http://localhost:8188");
    config("--policy", "policy", "NAME",
           "of prompts through the gateway: observe, advise, fit or enforce, built-in fit "
           "(PLIMSOLL_POLICY)");
    command
        .add_option("--allow-host", flags->hosts,
                    "a name by which browsers reach it, beside localhost and addresses in digits")
        ->type_name("NAME");
    command.add_option("--log-format", flags->log_format, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->type_name("NAME");
    command.add_option("--log-level", flags->log_level, "debug, info, warning, error or off")
        ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
        ->type_name("NAME");
    constexpr const char* kSimulation = "Simulation";
    command
        .add_flag("--simulate", flags->simulate,
                  "jobs run on a simulated ComfyUI inside this process")
        ->group(kSimulation);
    cli::add_number(command, "--speed", flags->speed, 0, 1000,
                    "times real time, built-in 1; 0: as fast as it can");
    cli::add_seed(command, "--seed", flags->seed, "of everything random in the simulation");
    for (const char* const flag : {"--speed", "--seed"})
        command.get_option(flag)->group(kSimulation);
    cli::add_site_flags(command, flags->config);
    cli::add_server_flags(command, flags->config);
    cli::add_limit_flags(command, flags->config);
    cli::add_output_flag(command, flags->config);
    cli::add_home_flags(command, flags->config);
}

}  // namespace plimsoll::daemon
