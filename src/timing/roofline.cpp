// SPDX-License-Identifier: Apache-2.0
#include "timing/roofline.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

namespace plimsoll::timing {
namespace {

using memory::ComputeType;
using memory::OpClass;

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr double kMicro = 1e-6;

// Matrix work per watt relative to Volta, from the specifications of each generation's largest card
// (dense fp16 peak over board power, V100: 112 TFLOPS at 300 W): Quadro RTX 6000, A100, RTX A6000,
// RTX 6000 Ada, H100, Arc A770 and B580, MI210, MI300X, RX 7900 XTX, RX 9070 XT. Pascal, which has
// no matrix units, and older AMD as Volta; Blackwell as Ada, whose process it shares.
double work_per_watt(const Card& card) {
    static constexpr std::array<std::pair<std::string_view, double>, 11> kByArch = {
        {{"turing", 1.2},
         {"ampere", 1.35},
         {"ada", 3.0},
         {"hopper", 3.6},
         {"blackwell", 3.0},
         {"xe2-hpg", 1.5},
         {"xe-hpg", 1.6},
         {"gfx908", 1.6},
         {"gfx90a", 1.6},
         {"gfx942", 4.5},
         {"gfx12", 1.7}}};
    constexpr double kA100 = 2.1;  // of another foundry's process than other Ampere cards
    if (card.compute_capability == 80) return kA100;
    for (const auto& [arch, factor] : kByArch)
        if (card.arch.starts_with(arch)) return factor;
    return 1.0;
}

// Share of the NVIDIA efficiencies that PyTorch reaches elsewhere. Chosen: no measured row of ours
// is from AMD or Intel.
double vendor_share(const Card& card) {
    switch (card.vendor) {
        case memory::Vendor::Nvidia:
            return 1.0;
        case memory::Vendor::Amd:
            return 0.6;
        case memory::Vendor::Intel:
            return 0.5;
        default:
            return 0.5;
    }
}

// Level-2 cache. Data-centre chips by chip; else by the memory channels of the generation
// (whitepapers: 0.25 MiB a 32-bit channel in Pascal, 0.5 in Turing and Ampere, 6 in Ada and
// Blackwell). Other vendors: none counted.
double level2_bytes(const Card& card) {
    constexpr double kMib = 1048576.0;
    if (card.compute_capability == 70) return 6 * kMib;
    if (card.compute_capability == 80) return 40 * kMib;
    if (card.compute_capability == 90) return 50 * kMib;
    const double channels = card.bus_bits / 32.0;
    if (card.arch == "pascal") return 0.25 * channels * kMib;
    if (card.arch == "turing" || card.arch == "ampere") return 0.5 * channels * kMib;
    if (card.arch == "ada" || card.arch == "blackwell") return 6 * channels * kMib;
    return 0;
}

// Lanes of a multiprocessor, compute unit or Xe core.
double multiprocessors(const Card& card) {
    const bool small = card.vendor == memory::Vendor::Amd || card.compute_capability == 70 ||
                       card.compute_capability == 75 || card.compute_capability == 80;
    return card.cores / (small ? 64.0 : 128.0);
}

// Data-centre cards up to Ampere stand beside server processors of their years, whose single thread
// is slow; cards named RTX, GeForce or TITAN in workstations.
bool beside_old_server(const Card& card) {
    if (card.vendor != memory::Vendor::Nvidia || card.compute_capability >= 89) return false;
    return std::ranges::none_of(
        std::to_array<std::string_view>({"GeForce", "TITAN", "RTX"}), [&](std::string_view word) {
            return std::string_view(card.name).find(word) != std::string_view::npos;
        });
}

bool sixteen_bit(ComputeType type) {
    return type != ComputeType::Float32;
}

bool is_matrix_work(OpClass op) {
    return op == OpClass::MatMul || op == OpClass::Convolution || op == OpClass::Attention;
}

double pageable_rate(const Card& card, const Efficiency& e) {
    return std::min(e.pageable_gbs, pcie_gbs(card) * e.pcie_fraction) * kGiga;
}

double streaming_rate(const Card& card, const Efficiency& e, Offload offload) {
    return offload == Offload::Async ? pcie_gbs(card) * kGiga * e.pcie_fraction
                                     : pageable_rate(card, e);
}

// What a mean of two times is where the longer one hides the shorter in part: power 1 adds them,
// a large power takes the longer.
double overlapped(double a, double b, double power) {
    const double longer = std::max(a, b);
    if (longer <= 0) return 0;
    return longer *
           std::pow(std::pow(a / longer, power) + std::pow(b / longer, power), 1.0 / power);
}
constexpr double kDispatchOverlap = 6;  // chosen: the host runs ahead, but not over every sync

// Prices the classes of one forward, one after the other.
class ForwardPrice {
  public:
    ForwardPrice(ComputeType compute, const Card& card, const Efficiency& e,
                 const Software& software)
        : compute_(compute), card_(card), e_(e), software_(software) {}

    void add(OpClass op, memory::OpCost cost) {
        if (cost.kernels <= 0) return;
        auto bytes = static_cast<double>(cost.bytes_moved);
        auto kernels = static_cast<double>(cost.kernels);
        double work = 0;
        double apart = 0;  // kernels of their own beside the class's
        if (is_matrix_work(op)) {
            const Unit unit = unit_of(op);
            const double tiles = e_.tile_mflop * 1e6 * multiprocessors(card_) * kernels;
            if (cost.flops > 0) work = (static_cast<double>(cost.flops) + tiles) / unit.rate;
            if (op == OpClass::Convolution && unit.matrix && !software_.channels_last)
                apart = e_.layout_passes * bytes / bandwidth(op);
            if (op == OpClass::Attention && cost.scores > 0) {
                if (software_.attention == AttentionKernels::WritesScores) {
                    bytes += 4 * e_.score_passes * (sixteen_bit(compute_) ? 2 : 4) *
                             static_cast<double>(cost.scores);
                    kernels *= 4;
                } else {
                    work = with_softmax(work, cost, unit.matrix);
                }
            }
        } else if (software_.compiled) {
            bytes *= e_.fused_bytes;
            kernels *= e_.fused_kernels;
        }
        const double level2 = level2_bytes(card_);
        const double hit = level2 / (level2 + bytes / kernels + 1);
        bytes *= 1 - hit * (1 - e_.cache_relief);
        on_card_ += std::max(work, bytes / bandwidth(op)) + apart;
        kernels_ += kernels;
    }

    [[nodiscard]] double on_card() const { return on_card_ + e_.kernel_us * kMicro * kernels_; }
    [[nodiscard]] double dispatch() const {
        if (software_.compiled) return 0;
        const double host = beside_old_server(card_) ? e_.server_host : 1.0;
        return e_.dispatch_us * kMicro * host * kernels_;
    }

  private:
    struct Unit {
        double rate = 0;  // FLOPS
        bool matrix = false;
    };

    [[nodiscard]] double bandwidth(OpClass op) const {
        return (op == OpClass::Normalization ? e_.norm_bandwidth : e_.bandwidth) *
               card_.bandwidth_gbs * kGiga;
    }
    [[nodiscard]] double lanes_rate() const {
        return e_.fp32_lanes * vendor_share(card_) * card_.fp32_tflops * kTera;
    }

    [[nodiscard]] Unit unit_of(OpClass op) const {
        const bool products =
            op == OpClass::Attention && software_.attention == AttentionKernels::WritesScores;
        const double peak =
            peak_tflops(card_, products ? OpClass::MatMul : op, compute_, software_);
        if (peak <= card_.fp32_tflops * 1.01) {
            const bool winograd = op == OpClass::Convolution && !sixteen_bit(compute_);
            return {lanes_rate() * (winograd ? e_.winograd : 1.0), false};
        }
        // A TF32 product moves twice the bytes of a 16-bit one through the chip.
        const double watts = std::max(card_.tdp_w - e_.base_watts, 1.0);
        const double limit =
            e_.tflops_per_watt * work_per_watt(card_) * watts * (sixteen_bit(compute_) ? 1.0 : 0.5);
        double reach = op == OpClass::Convolution ? e_.convolution
                       : op == OpClass::Attention ? e_.attention
                                                  : e_.matmul;
        double rate = std::min(reach * peak, limit) * vendor_share(card_) * kTera;
        const bool hopper = card_.compute_capability == 90;
        if (op == OpClass::Attention && hopper && software_.attention != AttentionKernels::Flash3)
            rate *= e_.attention_on_hopper;
        return {rate, true};
    }

    // The scores' softmax runs on the fp32 lanes while the matrix units multiply.
    [[nodiscard]] double with_softmax(double products, const memory::OpCost& cost,
                                      bool matrix) const {
        const auto scores = static_cast<double>(cost.scores);
        const bool before_ampere =
            card_.vendor == memory::Vendor::Nvidia && card_.compute_capability < 80;
        const double softmax = scores * e_.softmax_flop / lanes_rate() *
                               (before_ampere ? e_.softmax_before_ampere : 1.0);
        if (matrix && cost.flops > 0) {
            // Tiles of 32 along a head; less a little for sums that were rounded.
            const double head_dim = static_cast<double>(cost.flops) / (4 * scores);
            products *= std::ceil(head_dim / 32 - 1e-6) * 32 / head_dim;
        }
        if (before_ampere || software_.attention == AttentionKernels::FirstGeneration)
            return products + softmax * e_.softmax_first_generation;
        return overlapped(products, softmax, e_.softmax_overlap);
    }

    ComputeType compute_;
    const Card& card_;
    const Efficiency& e_;
    const Software& software_;
    double on_card_ = 0;
    double kernels_ = 0;
};

struct CardForward {
    double seconds = 0;
    bool dispatch_bound = false;
};

CardForward card_forward(const memory::OpCosts& costs, ComputeType compute, const Card& card,
                         const Efficiency& e, const Software& software) {
    ForwardPrice price(compute, card, e, software);
    for (std::size_t i = 0; i < memory::kOpClasses; ++i)
        price.add(static_cast<OpClass>(i), costs.by_class[i]);
    return {overlapped(price.on_card(), price.dispatch(), kDispatchOverlap),
            price.dispatch() > price.on_card()};
}

double rounded(double value, double digits) {
    const double scale = std::pow(10.0, digits);
    return std::round(value * scale) / scale;
}

void price_load(const memory::Phase& phase, const Card& card, const Efficiency& e,
                PhaseSeconds& out) {
    if (phase.read_from_disk.count > 0) {
        const double seconds =
            static_cast<double>(phase.read_from_disk.count) / (e.disk_gbs * kGiga);
        out.load += seconds;
        out.reasons.push_back(
            say<"time.reading">(phase.read_from_disk, rounded(e.disk_gbs, 1), seconds));
    }
    if (phase.loaded.count > 0) {
        const double rate = pageable_rate(card, e);
        const double seconds = static_cast<double>(phase.loaded.count) / rate;
        out.load += seconds;
        out.reasons.push_back(say<"time.copying">(phase.loaded, rounded(rate / kGiga, 1), seconds));
    }
}

// Streamed weights of all forwards, less what computing hides when copies are asynchronous.
void price_streaming(const memory::Phase& phase, const Card& card, const Efficiency& e,
                     Offload offload, PhaseSeconds& out) {
    if (phase.streamed_per_forward.count <= 0 || phase.forwards <= 0) return;
    const double rate = streaming_rate(card, e, offload);
    const Bytes all = phase.streamed_per_forward * phase.forwards;
    const double copy = static_cast<double>(all.count) / rate;
    out.streaming = offload == Offload::Async ? std::max(0.0, copy - out.compute) : copy;
    out.reasons.push_back(say<"time.streaming">(all, rounded(rate / kGiga, 1), copy));
    if (out.streaming < copy) out.reasons.push_back(say<"time.overlaps">());
}

}  // namespace

double peak_tflops(const Card& card, OpClass op_class, ComputeType compute,
                   const Software& software) {
    if (!is_matrix_work(op_class)) return card.fp32_tflops;
    const double no_matrix_units = card.fp32_tflops;
    if (sixteen_bit(compute)) {
        const auto& unit = compute == ComputeType::BFloat16 ? card.bf16_tflops : card.fp16_tflops;
        return unit.value_or(no_matrix_units);
    }
    const bool tf32 = card.vendor == memory::Vendor::Nvidia && card.compute_capability >= 80;
    const bool matmul = op_class == OpClass::MatMul && software.tf32_matmul;
    if (tf32 && (op_class == OpClass::Convolution || matmul))
        return card.fp16_tflops.value_or(no_matrix_units) / 2;
    return card.fp32_tflops;
}

double pcie_gbs(const Card& card) {
    // Per lane and direction after encoding: 8b/10b up to gen 2, 128b/130b after (PCI-SIG).
    static constexpr std::array<double, 7> kPerLane = {0, 0.25, 0.5, 0.985, 1.969, 3.938, 7.563};
    const auto gen = static_cast<std::size_t>(std::clamp(card.pcie_gen, 1, 6));
    return kPerLane[gen] * card.pcie_lanes;
}

double forward_seconds(const memory::OpCosts& costs, ComputeType compute, const Card& card,
                       const Efficiency& e, const Software& software) {
    return card_forward(costs, compute, card, e, software).seconds;
}

PhaseSeconds estimate_seconds(const memory::Phase& phase, const Card& card, const Efficiency& e,
                              Offload offload) {
    PhaseSeconds out;
    const auto forwards = static_cast<double>(std::max<std::int64_t>(phase.forwards, 0));
    if (forwards > 0 && !phase.runs_on_card) {
        out.compute = forwards * static_cast<double>(phase.cost_per_forward.total().flops) /
                      (e.host_tflops * kTera);
        out.reasons.push_back(say<"time.on_cpu">());
    } else if (forwards > 0) {
        const CardForward forward =
            card_forward(phase.cost_per_forward, phase.compute, card, e, {});
        out.dispatch_bound = forward.dispatch_bound;
        out.compute = forwards * forward.seconds;
        out.reasons.push_back(say<"time.forwards">(
            phase.forwards, out.compute / forwards, phase.batch_per_forward,
            rounded(static_cast<double>(phase.cost_per_forward.total().flops) / kTera, 2)));
        if (out.dispatch_bound) out.reasons.push_back(say<"time.dispatch">());
    }
    if (phase.runs_on_card) price_streaming(phase, card, e, offload, out);
    price_load(phase, card, e, out);
    out.total = out.compute + out.streaming + out.load;
    return out;
}

ForecastSeconds estimate_forecast(const memory::Forecast& forecast, const Card& card,
                                  const Efficiency& e, Offload offload) {
    ForecastSeconds out;
    for (const memory::Phase& phase : forecast.phases) {
        out.phases.push_back(estimate_seconds(phase, card, e, offload));
        const PhaseSeconds& last = out.phases.back();
        out.total += last.total;
        out.without_load += last.total - last.load;
    }
    return out;
}

}  // namespace plimsoll::timing
