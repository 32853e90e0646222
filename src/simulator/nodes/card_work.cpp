// SPDX-License-Identifier: Apache-2.0
#include "simulator/nodes/card_work.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::simulator {

namespace {

constexpr int kPieces = 8;  // in which activations are taken: what is missing then is one of them
constexpr double kBusy = 0.97;

// Bytes on the card that are given back however the scope is left.
class Held {
  public:
    explicit Held(GpuMemory& memory) : memory_(memory) {}
    ~Held() { memory_.give(bytes_); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    bool take(std::int64_t bytes, std::int64_t workspace) {
        if (!memory_.take(bytes, workspace)) return false;
        bytes_ += bytes;
        return true;
    }

  private:
    GpuMemory& memory_;
    std::int64_t bytes_ = 0;
};

}  // namespace

NodeStep run_network(NodeContext& context, const NetworkRun& run) {
    Machine& machine = context.machine;
    const Work work{run.activation.flops, run.activation.kernels, run.pcie_bytes};
    const double seconds = std::max(run.least_seconds, machine.seconds(work, run.device));
    if (run.device == Device::Cpu) {
        if (!machine.pace.wait(seconds)) return stopped();
        return {};
    }
    Held held(machine.memory);
    const double activations =
        static_cast<double>(run.activation.peak_bytes) * machine.activation_factor;
    const std::int64_t peak = static_cast<std::int64_t>(activations) + run.activation.cast_bytes +
                              run.streamed_peak_bytes;
    const auto workspace = static_cast<std::int64_t>(activations * run.workspace_share);
    const std::int64_t base = run.activation.input_bytes + run.kept_bytes;
    if (!held.take(base, 0)) return raise_out_of_memory(machine.memory.out_of_memory(base).text);
    // Memory climbs in the first part of a run, and stands at its height for most of the rest.
    for (int piece = 0; piece < kPieces; ++piece) {
        const std::int64_t bytes = peak * (piece + 1) / kPieces - peak * piece / kPieces;
        if (!held.take(bytes, workspace))
            return raise_out_of_memory(machine.memory.out_of_memory(bytes).text);
    }
    if (!machine.pace.spend(seconds, kBusy)) return stopped();
    return {};
}

NodeStep load_models(NodeContext& context, const ModelManager::LoadRequest& request) {
    Machine& machine = context.machine;
    if (!machine.manager.load(request)) {
        std::int64_t largest = 0;
        for (const Patcher& model : request.models)
            for (const Weights::Unit& unit : model.weights->units)
                largest = std::max(largest, unit.bytes);
        return raise_out_of_memory(machine.memory.out_of_memory(largest).text);
    }
    if (machine.pace.stopped()) return stopped();
    return {};
}

std::expected<Activation, NodeFailure> activation_of(const RunQuestion& question, double share) {
    auto activation = recorded_activation(question);
    if (!activation)
        return raise("NotImplementedError", "the simulated card: " + activation.error().message);
    const auto scale = [&](std::int64_t bytes) {
        return static_cast<std::int64_t>(std::llround(static_cast<double>(bytes) * share));
    };
    activation->peak_bytes = scale(activation->peak_bytes);
    activation->cast_bytes = scale(activation->cast_bytes);
    activation->flops *= share;
    activation->kernels *= share;
    return *activation;
}

}  // namespace plimsoll::simulator
