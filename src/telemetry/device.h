// SPDX-License-Identifier: Apache-2.0
//
// A graphics card of this machine, and one look at it, as its driver tells them. Plain values. What
// a driver does not tell is nullopt: a card without a sensor is normal.
#pragma once
#include "base/units.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::telemetry {

enum class Vendor : std::uint8_t { Nvidia, Amd, Intel };

// Where the card sits: "0000:01:00.0" in text, in lower case, as Linux names its folder below
// /sys/bus/pci/devices.
struct PciAddress {
    std::uint32_t domain = 0;
    std::uint8_t bus = 0;
    std::uint8_t device = 0;
    std::uint8_t function = 0;

    auto operator<=>(const PciAddress&) const = default;
    [[nodiscard]] std::string text() const;
    // Linux' form and NVML's, which has eight digits of domain; nullopt for anything else.
    [[nodiscard]] static std::optional<PciAddress> parse(std::string_view text);
};

// The card's own thresholds, in °C. They change with the vendor's profiles: read again at times.
struct ThermalLimits {
    std::optional<double> target_c = {};         // the fan curve aims at it
    std::optional<double> max_operating_c = {};  // clocks begin to fall
    std::optional<double> slowdown_c = {};       // the hardware throttles
    std::optional<double> shutdown_c = {};
    std::optional<double> resume_c = {};  // the driver's own hysteresis below slowdown_c

    bool operator==(const ThermalLimits&) const = default;
};

struct Device {
    std::string
        id;  // the vendor's UUID, else the PCI address: stable over reboots, unlike an index
    std::string name = {};
    Vendor vendor = Vendor::Nvidia;
    PciAddress pci = {};
    std::optional<Bytes> total = {};  // nullopt while it sleeps
    std::string driver = {};          // "nvidia 570.86.10", "amdgpu", "xe"
    ThermalLimits limits = {};
    bool shares_memory = false;  // an integrated chip: its memory is the machine's
};

enum class DeviceState : std::uint8_t {
    Awake,
    Asleep,  // powered down: asking the driver would wake it, so nobody did
    Sick,    // the driver says that it is lost, or does not answer
};

struct DeviceSample {
    DeviceState state = DeviceState::Awake;
    std::string why = {};  // of Sick, for people

    std::optional<Bytes> total = {};
    std::optional<Bytes> used = {};      // by everybody, without what the driver keeps for itself
    std::optional<Bytes> reserved = {};  // by the driver

    std::optional<double> temperature_c = {};
    std::optional<double> hotspot_c = {};
    std::optional<double> memory_temperature_c = {};
    std::optional<double> power_watts = {};
    std::optional<double> power_limit_watts = {};
    std::optional<double> clock_mhz = {};
    std::optional<double> memory_clock_mhz = {};
    std::optional<double> utilization = {};      // 0 to 1: part of the time in which any kernel ran
    std::optional<bool> throttled_by_heat = {};  // only heat: a power cap is normal under full load
    std::optional<bool> throttled_by_power = {};
};

// A process that holds memory of a card.
struct Holder {
    std::int64_t pid = 0;
    std::string name = {};            // of the program; empty where the pid is of another namespace
    std::optional<Bytes> bytes = {};  // nullopt: the driver does not say (Windows, WSL)
};

}  // namespace plimsoll::telemetry
