// SPDX-License-Identifier: Apache-2.0
#include "daemon/simulate.h"

#include "cli/flags.h"
#include "cli/session.h"
#include "simulator/simulated_comfyui.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace plimsoll::daemon {

namespace {

constexpr int kPort = 8188;  // ComfyUI's own

struct Flags {
    std::string card = service::kReferenceCard;
    std::optional<int> port;
    std::optional<std::uint64_t> seed;
    std::optional<double> speed;
    std::string address = "127.0.0.1";
    std::string comfyui_flags;
    std::optional<std::string> output_dir;
};

// One line, so that a program that started the simulator can wait for it.
void draw_start(cli::Session& session, const Flags& flags,
                const simulator::SimulatedComfyUi& comfyui) {
    const double speed = flags.speed.value_or(1);
    const std::uint64_t seed = flags.seed.value_or(0);
    if (session.json) {
        session.out.line(json::serialize(json::object{{"url", comfyui.url()},
                                                      {"port", comfyui.port()},
                                                      {"card", flags.card},
                                                      {"seed", seed},
                                                      {"speed", speed},
                                                      {"comfyuiFlags", flags.comfyui_flags}}));
        return;
    }
    session.out.line(fmt::format(
        "simulated ComfyUI with a {} at {}, {}; Ctrl-C stops it", flags.card, comfyui.url(),
        speed > 0 ? fmt::format("{} times real time", speed) : "as fast as it can"));
}

Result<cli::Exit> simulate(cli::Session& session, const Flags& flags) {
    simulator::SimulatorOptions options;
    options.card = flags.card;
    options.address = flags.address;
    options.port = flags.port.value_or(kPort);
    options.seed = flags.seed.value_or(0);
    options.speed = flags.speed.value_or(1);
    options.flags = flags.comfyui_flags;
    if (flags.output_dir) options.output_directory = *flags.output_dir;
    // Before it can be seen: whoever reads the line may send a signal at once.
    const std::atomic<bool>& stop = session.world.watch_interrupts();
    TRY_ASSIGN(const auto comfyui, simulator::SimulatedComfyUi::start(std::move(options)));
    draw_start(session, flags, *comfyui);
    TRY_DO(session.out.flush());
    constexpr std::chrono::milliseconds kLook{50};  // chosen: nobody notices
    while (!stop) std::this_thread::sleep_for(kLook);
    comfyui->stop();
    return cli::Exit::Done;
}

}  // namespace

void add_simulate(cli::Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "simulate", "be a ComfyUI without a GPU: its routes, its messages, a card of your choice",
        "plimsoll simulate --card rtx3050-6gb --port 8188 --seed 1 --speed 12",
        [flags](cli::Session& session) { return simulate(session, *flags); });
    command.add_option("--card", flags->card, "the card to simulate; built-in rtx3050-6gb")
        ->type_name("NAME");
    cli::add_whole(command, "--port", flags->port, {0, 65535},
                   "where it listens, built-in 8188; 0 takes a free one");
    cli::add_seed(command, "--seed", flags->seed, "of everything random");
    cli::add_number(command, "--speed", flags->speed, 0, 1000,
                    "times real time, built-in 1; 0: as fast as it can");
    command.add_option("--address", flags->address, "built-in 127.0.0.1")->type_name("ADDR");
    command
        .add_option("--comfyui-flags", flags->comfyui_flags,
                    "started with these flags of ComfyUI's command line")
        ->type_name("\"...\"");
    cli::add_text(command, "--output-dir", flags->output_dir, "DIR",
                  "where its pictures stay; without it they vanish with it");
}

}  // namespace plimsoll::daemon
