// SPDX-License-Identifier: Apache-2.0
#include "timing/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace plimsoll::timing {
namespace {

using memory::ComputeType;
using memory::OpClass;

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;

// Work per watt relative to Ampere (Samsung 8 nm). Chosen from the process nodes; Volta, Turing,
// Ampere, Ada and Hopper are covered by the fit's rows, the others are not.
double work_per_watt(const Card& card) {
    static constexpr std::array<std::pair<std::string_view, double>, 10> kByArch = {
        {{"pascal", 0.5},
         {"volta", 0.8},
         {"turing", 0.8},
         {"ampere", 1.0},
         {"ada", 2.0},
         {"hopper", 2.0},
         {"blackwell", 2.0},
         {"xe2-hpg", 1.5},
         {"xe-hpg", 0.8},
         {"gfx942", 2.0}}};
    for (const auto& [arch, factor] : kByArch)
        if (card.arch == arch) return factor;
    if (card.arch.starts_with("gfx12")) return 2.0;
    if (card.arch.starts_with("gfx11")) return 1.5;
    return 0.8;  // gfx9, gfx10
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

bool sixteen_bit(ComputeType type) {
    return type != ComputeType::Float32;
}

bool is_matrix_work(OpClass op) {
    return op == OpClass::MatMul || op == OpClass::Convolution || op == OpClass::Attention;
}

std::size_t index_of(OpClass op) {
    return static_cast<std::size_t>(op);
}

double pageable_rate(const Card& card, const Efficiency& e) {
    return std::min(e.pageable_bytes_per_second, pcie_gbs(card) * kGiga * e.pcie_fraction);
}

double streaming_rate(const Card& card, const Efficiency& e, Offload offload) {
    return offload == Offload::Async ? pcie_gbs(card) * kGiga * e.pcie_fraction
                                     : pageable_rate(card, e);
}

struct CardForward {
    double on_card = 0;
    double dispatch = 0;
};

CardForward card_forward(const memory::OpCosts& costs, ComputeType compute, const Card& card,
                         const Efficiency& e) {
    CardForward out;
    std::int64_t kernels = 0;
    for (std::size_t i = 0; i < memory::kOpClasses; ++i) {
        const auto op = static_cast<OpClass>(i);
        const memory::OpCost& cost = costs[op];
        kernels += cost.kernels;
        const double move =
            static_cast<double>(cost.bytes_moved) / (e.bandwidth[i] * card.bandwidth_gbs * kGiga);
        double work = 0;
        if (is_matrix_work(op) && cost.flops > 0) {
            const double peak = std::min(peak_tflops(card, op, compute),
                                         e.tflops_per_watt_max * work_per_watt(card) * card.tdp_w);
            work = static_cast<double>(cost.flops) /
                   (e.compute[i] * vendor_share(card) * peak * kTera);
        }
        out.on_card += std::max(work, move);
    }
    out.on_card += e.kernel_seconds * static_cast<double>(kernels);
    out.dispatch = e.dispatch_seconds * static_cast<double>(kernels);
    return out;
}

std::string bytes_at_rate(std::string_view what, Bytes bytes, double rate, double seconds) {
    return fmt::format("{}: {} at {:.1f} GB/s = {}", what, to_text(bytes), rate / kGiga,
                       seconds_text(seconds));
}

void price_load(const memory::Phase& phase, const Card& card, const Efficiency& e,
                PhaseSeconds& out) {
    if (phase.read_from_disk.count > 0) {
        const double seconds =
            static_cast<double>(phase.read_from_disk.count) / e.disk_bytes_per_second;
        out.load += seconds;
        out.reasons.push_back(bytes_at_rate("reading model files", phase.read_from_disk,
                                            e.disk_bytes_per_second, seconds));
    }
    if (phase.loaded.count > 0) {
        const double rate = pageable_rate(card, e);
        const double seconds = static_cast<double>(phase.loaded.count) / rate;
        out.load += seconds;
        out.reasons.push_back(
            bytes_at_rate("copying weights to the card", phase.loaded, rate, seconds));
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
    out.reasons.push_back(bytes_at_rate("streaming weights over PCIe", all, rate, copy));
    if (out.streaming < copy)
        out.reasons.emplace_back("copies overlap with computing (async offload)");
}

}  // namespace

// Matrix and bandwidth fractions, per-kernel times and the power limit: fitted by
// tools/fit_efficiency.py on 128 public measurements of SD 1.4, SD 1.5 and SDXL with
// memory-efficient attention, 14 cards from T4 to H100 (median error 14 %, a card left out is
// predicted within 0.8 to 1.4). Link, disk and CPU rates are chosen: pageable copies from the
// sequential-offload row of SDXL on A100 (2.8 to 4.6 GB/s with hooks), NVMe reads through mmap, an
// 8-core desktop in fp32.
const Efficiency& default_efficiency() {
    static const Efficiency defaults = [] {
        Efficiency e;
        e.compute.fill(1.0);
        e.compute[index_of(OpClass::MatMul)] = 0.80;
        e.compute[index_of(OpClass::Convolution)] = 0.62;
        e.compute[index_of(OpClass::Attention)] = 0.70;
        e.bandwidth.fill(0.90);
        e.tflops_per_watt_max = 0.35;
        e.dispatch_seconds = 12e-6;
        e.kernel_seconds = 14.5e-6;
        e.pageable_bytes_per_second = 5e9;
        e.pcie_fraction = 0.80;
        e.disk_bytes_per_second = 1.5e9;
        e.host_tflops = 0.3;
        return e;
    }();
    return defaults;
}

double peak_tflops(const Card& card, OpClass op_class, ComputeType compute) {
    if (!is_matrix_work(op_class)) return card.fp32_tflops;
    const double no_matrix_units = card.fp32_tflops;
    if (sixteen_bit(compute)) {
        const auto& unit = compute == ComputeType::BFloat16 ? card.bf16_tflops : card.fp16_tflops;
        return unit.value_or(no_matrix_units);
    }
    const bool tf32 = card.vendor == memory::Vendor::Nvidia && card.compute_capability >= 80;
    if (tf32 && op_class == OpClass::Convolution)
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
                       const Efficiency& e) {
    const CardForward forward = card_forward(costs, compute, card, e);
    return std::max(forward.on_card, forward.dispatch);
}

PhaseSeconds estimate_seconds(const memory::Phase& phase, const Card& card, const Efficiency& e,
                              Offload offload) {
    PhaseSeconds out;
    const auto forwards = static_cast<double>(std::max<std::int64_t>(phase.forwards, 0));
    if (forwards > 0 && !phase.runs_on_card) {
        out.compute = forwards * static_cast<double>(phase.cost_per_forward.total().flops) /
                      (e.host_tflops * kTera);
        out.reasons.emplace_back("runs on the CPU");
    } else if (forwards > 0) {
        const CardForward forward = card_forward(phase.cost_per_forward, phase.compute, card, e);
        out.dispatch_bound = forward.dispatch > forward.on_card;
        out.compute = forwards * std::max(forward.on_card, forward.dispatch);
        out.reasons.push_back(
            fmt::format("{} forwards of {} at batch {} ({:.2f} TFLOP each)", phase.forwards,
                        seconds_text(out.compute / forwards), phase.batch_per_forward,
                        static_cast<double>(phase.cost_per_forward.total().flops) / kTera));
        if (out.dispatch_bound)
            out.reasons.emplace_back("the host's dispatch sets the pace, not the card");
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
