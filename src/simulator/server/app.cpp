// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/app.h"

#include "base/clock.h"

#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

namespace plimsoll::simulator {

namespace {

constexpr std::size_t kLogLinesMax = 300;  // as ComfyUI keeps

std::string now_iso() {
    const std::int64_t ms = system_clock().unix_ms();
    const std::time_t seconds = ms / 1000;
    std::tm parts{};
    localtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       ms % 1000);
}

std::string_view vram_state_name(VramState state) {
    switch (state) {
        case VramState::Cpu:
            return "DISABLED";
        case VramState::NoVram:
            return "NO_VRAM";
        case VramState::LowVram:
            return "LOW_VRAM";
        case VramState::HighVram:
            return "HIGH_VRAM";
        case VramState::Normal:
            break;
    }
    return "NORMAL_VRAM";
}

}  // namespace

App::App(const SimulatorOptions& with, CardSpec card, LaunchFlags launch, FileStore& files,
         FaultBoard& board, std::function<void(std::function<void()>)> post)
    : options(with),
      faults(board),
      store(files),
      machine(std::move(card), std::move(launch),
              {.seed = with.seed,
               .speed = with.speed,
               .ambient_c = with.ambient_c,
               .outside_bytes = with.outside_bytes}),
      models(with.only_recorded_models),
      catalogue(
          [this](std::string_view folder) {
              if (folder == "input") return store.input_pictures();
              std::vector<std::string> names;
              for (const ModelFile* const file : models.in_folder(folder))
                  names.push_back(file->name);
              return names;
          },
          with.fixture_nodes),
      hub(std::move(post)),
      executor(machine, models, store, catalogue, queue, hub, faults, with.seed),
      ids(os_seed()) {
    queue.on_change = [this](std::size_t remaining) {
        hub.send_json(
            "status",
            {{"status",
              Value(Dict{{"exec_info",
                          Value(Dict{{"queue_remaining", Value(std::uint64_t{remaining})}})}})}},
            std::nullopt);
    };
    hub.drop_at(faults.get().drop_socket_at_message);
    write_log(fmt::format("Total VRAM {:.0f} MB, total RAM {:.0f} MB",
                          static_cast<double>(machine.card.total_bytes) / 1048576,
                          static_cast<double>(machine.host_total_bytes()) / 1048576));
    write_log("pytorch version: 2.8.0+cu128");
    write_log(fmt::format("Set vram state to: {}", vram_state_name(machine.flags.vram_state)));
    write_log(machine.has_gpu()
                  ? fmt::format("Device: cuda:0 {} : cudaMallocAsync", machine.card.name)
                  : std::string("Device: cpu"));
    write_log("ComfyUI version: 0.3.64");
}

Dict App::features() const {
    const auto& size = machine.flags.max_upload_mib;
    // ComfyUI computes with what the flag gave: a float stays one.
    return {{"supports_preview_metadata", Value(true)},
            {"max_upload_size", size ? Value(*size * 1048576.0) : Value(104857600)}};
}

Dict App::queue_status() const {
    return {
        {"exec_info", Value(Dict{{"queue_remaining", Value(std::uint64_t{queue.remaining()})}})}};
}

std::vector<std::string> App::argv() const {
    std::vector<std::string> words{"main.py", "--port", fmt::format("{}", port)};
    if (options.output_directory) {
        std::error_code ignored;  // then it stays as it was given
        const auto whole = std::filesystem::absolute(*options.output_directory, ignored);
        words.emplace_back("--output-directory");
        words.push_back((ignored ? *options.output_directory : whole).string());
    }
    words.insert(words.end(), machine.flags.argv.begin(), machine.flags.argv.end());
    return words;
}

void App::write_log(std::string text) {
    if (log.size() == kLogLinesMax) log.erase(log.begin());
    log.push_back({now_iso(), std::move(text) + "\n"});
}

}  // namespace plimsoll::simulator
