// SPDX-License-Identifier: Apache-2.0
//
// The computer that the simulated ComfyUI runs on: card, memory, speed, heat, and the loader that
// moves weights about. One for each instance.
//
// Threads: the executing thread works with it; HTTP reads memory and heat.
#pragma once
#include "simulator/card/gpu_memory.h"
#include "simulator/card/loader.h"
#include "simulator/card/pace.h"
#include "simulator/card/physics.h"
#include "simulator/card/recorded.h"
#include "simulator/launch_flags.h"

#include <atomic>
#include <cstdint>
#include <set>
#include <string>

namespace plimsoll::simulator {

struct MachineOptions {
    std::uint64_t seed = 0;
    double speed = 1;
    double ambient_c = 30;
    // Context, desktop and other programs, before anything runs.
    std::int64_t outside_bytes = 300LL << 20U;
};

class Machine {
  public:
    Machine(CardSpec card, LaunchFlags flags, const MachineOptions& options);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    const CardSpec card;
    const LaunchFlags flags;
    GpuMemory memory;
    Heat heat;
    const CardSpeed speed;
    Pace pace;
    ModelManager manager;

    // How many times the recorded activations networks take: 1, unless a fault says otherwise.
    double activation_factor = 1;

    [[nodiscard]] bool has_gpu() const { return flags.vram_state != VramState::Cpu; }
    [[nodiscard]] std::int64_t host_total_bytes() const;
    [[nodiscard]] std::int64_t host_free_bytes() const;

    // Seconds of a piece of work on the card, or on the host's processor.
    [[nodiscard]] double seconds(const Work& work, Device device) const;
    // Reads a file: slowly the first time, then from the page cache. False when stopped.
    [[nodiscard]] bool read_file(const std::string& name, std::int64_t bytes);

  private:
    std::set<std::string> read_;
    std::atomic<std::int64_t> read_bytes_ = 0;
};

}  // namespace plimsoll::simulator
