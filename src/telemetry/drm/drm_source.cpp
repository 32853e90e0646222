// SPDX-License-Identifier: Apache-2.0
#include "telemetry/drm/drm_source.h"

#include "telemetry/drm/drm_clients.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::telemetry {

namespace fs = std::filesystem;

namespace {

constexpr double kMilli = 1e-3;  // hwmon: millidegrees
constexpr double kMicro = 1e-6;  // hwmon: microwatts, and hertz to megahertz

bool is_open_driver(const PciDisplay& display) {
    constexpr std::array<std::string_view, 3> kDrivers{"amdgpu", "i915", "xe"};
    return std::ranges::find(kDrivers, display.driver) != kDrivers.end();
}

fs::path folder_of(const PciAddress& pci) {
    return fs::path("sys/bus/pci/devices") / pci.text();
}

// The device's first hwmon folder, whose number changes from start to start.
std::optional<fs::path> find_hwmon(const SystemTree& tree, const fs::path& device) {
    const auto names = tree.list(device / "hwmon");
    if (names.empty()) return std::nullopt;
    return device / "hwmon" / names.front();
}

std::optional<double> read_scaled(const SystemTree& tree, const fs::path& path, double scale) {
    const auto value = tree.read_number(path);
    if (!value) return std::nullopt;
    return static_cast<double>(*value) * scale;
}

// The sensor of that label ("edge", "junction", "mem"; Intel's "pkg", "vram"): "temp2".
std::optional<std::string> find_sensor(const SystemTree& tree, const fs::path& hwmon,
                                       std::string_view label) {
    constexpr int kSensorsMax = 16;  // chosen
    for (int i = 1; i <= kSensorsMax; ++i) {
        const std::string sensor = fmt::format("temp{}", i);
        if (tree.read_text(hwmon / (sensor + "_label")) == label) return sensor;
    }
    return std::nullopt;
}

std::string die_sensor(const SystemTree& tree, const fs::path& hwmon) {
    for (const std::string_view label : {"edge", "pkg"})
        if (const auto sensor = find_sensor(tree, hwmon, label)) return *sensor;
    return "temp1";  // i915 labels nothing
}

ThermalLimits read_limits(const SystemTree& tree, const fs::path& hwmon) {
    const std::string die = die_sensor(tree, hwmon);
    return {.slowdown_c = read_scaled(tree, hwmon / (die + "_crit"), kMilli),
            .shutdown_c = read_scaled(tree, hwmon / (die + "_emergency"), kMilli),
            .resume_c = read_scaled(tree, hwmon / (die + "_crit_hyst"), kMilli)};
}

std::optional<Bytes> read_bytes(const SystemTree& tree, const fs::path& path) {
    const auto value = tree.read_number(path);
    if (!value || *value < 0) return std::nullopt;
    return Bytes(*value);
}

// A chip in the processor: the driver sets a part of the RAM aside and takes the rest (amdgpu's
// GTT) as it needs it. Sizes do not tell: a card of 4 GB has a larger GTT too. amdgpu shows the
// voltage of the northbridge (in1, "vddnb") for such chips alone.
bool is_integrated(const SystemTree& tree, const fs::path& device) {
    const auto hwmon = find_hwmon(tree, device);
    return hwmon && tree.read_text(*hwmon / "in1_label") == "vddnb";
}

void read_memory(const SystemTree& tree, const fs::path& device, DeviceSample& sample) {
    sample.total = read_bytes(tree, device / "mem_info_vram_total");
    sample.used = read_bytes(tree, device / "mem_info_vram_used");
    if (!is_integrated(tree, device)) return;
    const auto gtt_total = read_bytes(tree, device / "mem_info_gtt_total");
    const auto gtt_used = read_bytes(tree, device / "mem_info_gtt_used");
    if (sample.total && gtt_total) *sample.total += *gtt_total;
    if (sample.used && gtt_used) *sample.used += *gtt_used;
}

void read_sensors(const SystemTree& tree, const fs::path& hwmon, DeviceSample& sample) {
    const auto temperature = [&](const std::string& sensor) {
        return read_scaled(tree, hwmon / (sensor + "_input"), kMilli);
    };
    sample.temperature_c = temperature(die_sensor(tree, hwmon));
    if (const auto junction = find_sensor(tree, hwmon, "junction"))
        sample.hotspot_c = temperature(*junction);
    for (const std::string_view label : {"mem", "vram"})
        if (const auto memory = find_sensor(tree, hwmon, label))
            sample.memory_temperature_c = temperature(*memory);
    sample.power_watts = read_scaled(tree, hwmon / "power1_average", kMicro);
    if (!sample.power_watts) sample.power_watts = read_scaled(tree, hwmon / "power1_input", kMicro);
    sample.power_limit_watts = read_scaled(tree, hwmon / "power1_cap", kMicro);
    if (!sample.power_limit_watts)
        sample.power_limit_watts = read_scaled(tree, hwmon / "power1_max", kMicro);
    sample.clock_mhz = read_scaled(tree, hwmon / "freq1_input", kMicro);
    sample.memory_clock_mhz = read_scaled(tree, hwmon / "freq2_input", kMicro);
}

std::string name_of(const SystemTree& tree, const PciDisplay& display) {
    if (const auto product = tree.read_text(folder_of(display.pci) / "product_name"))
        return *product;
    return fmt::format("{} card at {}", display.vendor == kAmdPciVendor ? "AMD" : "Intel",
                       display.pci.text());
}

}  // namespace

Result<std::vector<Device>> DrmSource::list() {
    std::vector<Device> devices;
    for (const PciDisplay& display : list_pci_displays(tree_)) {
        if (!is_open_driver(display)) continue;
        const fs::path folder = folder_of(display.pci);
        Device device{
            .id = display.pci.text(),
            .name = name_of(tree_, display),
            .vendor = display.vendor == kAmdPciVendor ? Vendor::Amd : Vendor::Intel,
            .pci = display.pci,
            .driver = display.driver,
            .shares_memory = is_integrated(tree_, folder),
        };
        if (!read_power_status(tree_, display.pci).asleep) {
            DeviceSample sample;
            read_memory(tree_, folder, sample);
            device.total = sample.total;
            if (const auto hwmon = find_hwmon(tree_, folder))
                device.limits = read_limits(tree_, *hwmon);
        }
        devices.push_back(std::move(device));
    }
    return devices;
}

Result<DeviceSample> DrmSource::sample(std::string_view id, Attention attention) {
    const auto pci = PciAddress::parse(id);
    const auto displays = list_pci_displays(tree_);
    const auto display =
        std::ranges::find_if(displays, [&](const PciDisplay& d) { return pci && d.pci == *pci; });
    if (display == displays.end() || !is_open_driver(*display))
        return fail(Errc::NotFound, fmt::format("no card of an open driver is at {}", id));
    const PowerStatus power = read_power_status(tree_, *pci);
    if (power.asleep) return DeviceSample{.state = DeviceState::Asleep};
    DeviceSample sample;
    // Reading a sensor keeps the card from falling asleep.
    if (attention == Attention::Resting && power.may_sleep) return sample;
    const fs::path folder = folder_of(*pci);
    read_memory(tree_, folder, sample);
    if (const auto busy = tree_.read_number(folder / "gpu_busy_percent"); busy && *busy <= 100)
        sample.utilization = static_cast<double>(*busy) / 100.0;
    if (const auto hwmon = find_hwmon(tree_, folder)) {
        read_sensors(tree_, *hwmon, sample);
        const ThermalLimits limits = read_limits(tree_, *hwmon);
        if (sample.temperature_c && limits.slowdown_c)
            sample.throttled_by_heat = *sample.temperature_c >= *limits.slowdown_c;
    }
    return sample;
}

Result<std::vector<Holder>> DrmSource::list_holders(std::string_view id) {
    const auto pci = PciAddress::parse(id);
    if (!pci) return fail(Errc::NotFound, fmt::format("no card of an open driver is at {}", id));
    std::vector<Holder> holders;
    for (DrmHolder& found : list_drm_holders(tree_, *pci))
        holders.push_back(std::move(found.holder));
    return holders;
}

}  // namespace plimsoll::telemetry
