// SPDX-License-Identifier: Apache-2.0
//
// What can be made to go wrong, for tests of clients: connections that break, a server that
// restarts in the midst of a job, answers that are no JSON, memory that another program takes.
//
// Threads: FaultBoard from any.
#pragma once
#include "simulator/card/gpu_memory.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::simulator {

// An HTTP request is answered otherwise than it should be.
struct RequestFault {
    enum class Kind { Html, Hang, Slow, Cut };
    std::string path_prefix;  // of the path as sent: "/prompt"
    Kind kind = Kind::Html;
    std::chrono::milliseconds delay{0};  // Slow: before the right answer
    int times = 1;                       // how many requests; -1: all
};

// Another program takes memory of the card (gives it back with a negative number).
struct MemoryFault {
    double at_seconds = 0;  // simulated, after the beginning of the next job
    std::int64_t bytes = 0;
};

struct Faults {
    std::vector<RequestFault> requests;
    std::vector<MemoryFault> memory;
    // The socket that would get this message, counted over all sockets from 1, is cut instead.
    std::optional<int> drop_socket_at_message;
    // After so many progress messages of a job the server dies and comes back: queue, history and
    // caches are lost, the port refuses connections in between.
    std::optional<int> restart_at_progress;
    std::chrono::milliseconds restart_takes{50};
    // It dies so, once, when this node has done its work and nobody has heard of it: what a node
    // that saves has written is there.
    std::optional<std::string> restart_after_node;
    // This node runs out of memory, whatever it does, so many times.
    std::optional<std::string> oom_at_node;
    int oom_times = 1;
    // After so many progress messages of a job its work takes so many times as long: a driver that
    // moves tensors into the machine's memory, or with a great number a job that stands still.
    std::optional<int> drag_at_progress;
    double drag = 1;
    // After so many progress messages of a job another program takes `spill_bytes` from under it,
    // once: the driver moves tensors into the machine's memory, and as long as it does so work
    // takes `drag` times as long.
    std::optional<int> spill_at_progress;
    std::int64_t spill_bytes = 0;
    // Networks take so many times the activations that they should: all, or those that this node
    // runs.
    double drift = 1;
    std::optional<std::string> drift_at_node;
    // The job that gets so far in progress messages leaves `creep_bytes` on the card with each one
    // from there on, once. They stay until POST /free or a restart.
    std::optional<int> creep_at_progress;
    std::int64_t creep_bytes = 0;
    // The job that gets so far in progress messages loses its fan for as long as it runs, once: at
    // full power the card would get `overheat_c` warmer than its air. Idle it cools.
    std::optional<int> overheat_at_progress;
    double overheat_c = 200;  // chosen: 95 C at 30 C of air, above where the hardware throttles
};

class FaultBoard {
  public:
    // Called, from the executing thread, when the server is to die.
    std::function<void()> on_restart;

    void set(Faults faults);
    [[nodiscard]] Faults get() const;

    [[nodiscard]] std::optional<RequestFault> take_request(std::string_view path);
    [[nodiscard]] bool take_oom(const std::string& node_id);
    void begin_job(double now);
    void tick(double now, GpuMemory& memory);
    // True when the server dies here: from then on nobody is answered, until `revive`.
    [[nodiscard]] bool count_progress(GpuMemory& memory);
    // The same where a node is done.
    [[nodiscard]] bool dies_after(const std::string& node_id);
    // What a step leaves behind. False: there is no room for it on the card.
    [[nodiscard]] bool creep(GpuMemory& memory) const;
    // How many times the activations that they should a node's networks take.
    [[nodiscard]] double drift(const std::string& node_id) const;
    // How many degrees the card would get warmer than its air at full power; nullopt: as it is.
    [[nodiscard]] std::optional<double> overheat() const;
    // How many times as long the work of the job takes now.
    [[nodiscard]] double drag(const GpuMemory& memory) const;
    [[nodiscard]] bool is_dead() const { return dead_; }
    void revive() { dead_ = false; }

  private:
    void die();

    mutable std::mutex mutex_;
    Faults faults_;
    double job_began_ = 0;
    int progress_ = 0;
    bool spilled_ = false;
    bool creeps_ = false;
    bool overheats_ = false;
    std::atomic<bool> dead_ = false;
};

}  // namespace plimsoll::simulator
