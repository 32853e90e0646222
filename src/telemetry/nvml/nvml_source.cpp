// SPDX-License-Identifier: Apache-2.0
#include "telemetry/nvml/nvml_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

namespace plimsoll::telemetry {

namespace {

constexpr unsigned kNameBytes = 96;      // NVML_DEVICE_NAME_V2_BUFFER_SIZE
constexpr unsigned kVersionBytes = 80;   // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
constexpr unsigned kDevicesMax = 64;     // chosen: above any machine's
constexpr unsigned kProcessesMax = 256;  // chosen: of one card
// Some mobile cards answer 593 W at rest: above this part of the limit a power is no power.
constexpr double kPowerPlausible = 2.0;
// A die is not hotter; drivers of odd boards answer 255 and the like.
constexpr double kTemperatureMax = 150.0;

bool ok(int code) {
    return code == static_cast<int>(NvmlCode::Success);
}

// The card itself is gone or hung: more calls would not help and may hang.
bool is_sick(int code) {
    return code == static_cast<int>(NvmlCode::GpuIsLost) ||
           code == static_cast<int>(NvmlCode::ResetRequired) ||
           code == static_cast<int>(NvmlCode::Unknown);
}

std::string read_string(int (*call)(NvmlDevice, char*, unsigned), NvmlDevice device) {
    std::array<char, kNameBytes> text{};
    if (call == nullptr || !ok(call(device, text.data(), kNameBytes))) return {};
    text.back() = '\0';
    return text.data();
}

std::optional<double> read_unsigned(int (*call)(NvmlDevice, unsigned*), NvmlDevice device,
                                    double unit) {
    unsigned value = 0;
    if (call == nullptr || !ok(call(device, &value))) return std::nullopt;
    return value * unit;
}

std::optional<double> read_kind(int (*call)(NvmlDevice, int, unsigned*), NvmlDevice device,
                                int kind) {
    unsigned value = 0;
    if (call == nullptr || !ok(call(device, kind, &value))) return std::nullopt;
    return value;
}

std::optional<double> plausible_temperature(std::optional<double> celsius) {
    if (!celsius || *celsius <= 0 || *celsius > kTemperatureMax) return std::nullopt;
    return celsius;
}

}  // namespace

std::vector<PciDisplay> NvmlSource::displays() const {
    std::vector<PciDisplay> displays = list_pci_displays(tree_);
    std::erase_if(displays,
                  [](const PciDisplay& display) { return display.vendor != kNvidiaPciVendor; });
    return displays;
}

bool NvmlSource::is_here(const PciAddress& pci) const {
    return std::ranges::any_of(displays(), [&](const PciDisplay& d) { return d.pci == pci; });
}

bool NvmlSource::all_asleep(const std::vector<PciDisplay>& displays) const {
    return !displays.empty() && std::ranges::all_of(displays, [&](const PciDisplay& display) {
        return read_power_status(tree_, display.pci).asleep;
    });
}

Result<void> NvmlSource::open() {
    if (open_) return {};
    if (!nvml_) {
        TRY_ASSIGN(nvml_, NvmlLibrary::open(library_path_));
    }
    if (const int code = nvml_->init(); !ok(code)) {
        const bool outdated = code == static_cast<int>(NvmlCode::LibraryMismatch);
        return fail(Errc::Unavailable,
                    fmt::format("the NVIDIA driver does not answer: {}{}", nvml_->text_of(code),
                                outdated ? "; it was updated, restart the machine" : ""));
    }
    open_ = true;
    std::array<char, kVersionBytes> version{};
    if (nvml_->driver_version != nullptr &&
        ok(nvml_->driver_version(version.data(), kVersionBytes)))
        driver_ = fmt::format("nvidia {}", version.data());

    unsigned count = 0;
    if (const int code = nvml_->device_count(&count); !ok(code)) {
        close();
        return fail(Errc::Unavailable,
                    fmt::format("the NVIDIA driver lists no cards: {}", nvml_->text_of(code)));
    }
    std::vector<Card> cards;
    for (unsigned index = 0; index < std::min(count, kDevicesMax); ++index) {
        NvmlDevice handle = nullptr;
        // A card that this user may not open is counted all the same.
        if (!ok(nvml_->device_at(index, &handle))) continue;
        TRY_ASSIGN(Card card, read_card(handle, index));
        cards.push_back(std::move(card));
    }
    cards_ = std::move(cards);
    return {};
}

void NvmlSource::close() {
    if (open_) nvml_->shutdown();
    open_ = false;
    for (Card& card : cards_) card.handle = nullptr;
}

Result<NvmlSource::Card> NvmlSource::read_card(NvmlDevice handle, unsigned index) const {
    Card card;
    card.handle = handle;
    NvmlPci pci{};
    if (nvml_->pci != nullptr && ok(nvml_->pci(handle, &pci))) {
        pci.bus_id.back() = '\0';
        if (const auto address = PciAddress::parse(pci.bus_id.data())) card.device.pci = *address;
    }
    card.device.id = read_string(nvml_->uuid, handle);
    if (card.device.id.empty()) card.device.id = card.device.pci.text();
    card.device.name = read_string(nvml_->name, handle);
    if (card.device.name.empty()) card.device.name = fmt::format("NVIDIA card {}", index);
    card.device.driver = driver_;
    DeviceSample sample;
    if (read_memory(card, sample)) card.device.total = sample.total;
    card.device.shares_memory = !card.device.total.has_value();
    read_limits(card);
    return card;
}

void NvmlSource::read_limits(Card& card) const {
    const auto threshold = [&](int kind) {
        return plausible_temperature(read_kind(nvml_->threshold, card.handle, kind));
    };
    ThermalLimits& limits = card.device.limits;
    limits.target_c = threshold(kNvmlThresholdTarget);
    limits.max_operating_c = threshold(kNvmlThresholdMaxOperating);
    limits.slowdown_c = threshold(kNvmlThresholdSlowdown);
    limits.shutdown_c = threshold(kNvmlThresholdShutdown);
    if (limits.slowdown_c) return;
    // Ada and newer tell how far each threshold lies from the one they regulate to (negative: above
    // it), which the maximal operating temperature names.
    const auto base = limits.max_operating_c;
    const auto margin = read_field(card, kNvmlSlowdownMargin);
    const auto operating = read_field(card, kNvmlMaxOperatingMargin);
    const auto shutdown = read_field(card, kNvmlShutdownMargin);
    if (!base || !margin || !operating) return;
    limits.slowdown_c = *base + *operating - *margin;
    if (shutdown) limits.shutdown_c = *base + *operating - *shutdown;
}

Result<std::vector<Device>> NvmlSource::list() {
    const std::vector<PciDisplay> displays = this->displays();
    if (!open_ && all_asleep(displays)) {
        std::vector<Device> devices;
        for (const PciDisplay& display : displays) {
            const auto known =
                std::ranges::find(cards_, display.pci, [](const Card& c) { return c.device.pci; });
            if (known != cards_.end())
                devices.push_back(known->device);
            else
                devices.push_back({.id = display.pci.text(),
                                   .name = "NVIDIA card (asleep)",
                                   .vendor = Vendor::Nvidia,
                                   .pci = display.pci,
                                   .driver = display.driver});
        }
        return devices;
    }
    if (auto opened = open(); !opened) {
        // No driver on a machine without such a card is no error.
        if (opened.error().code == Errc::NotFound && displays.empty()) return std::vector<Device>{};
        return std::unexpected(opened.error());
    }
    std::vector<Device> devices;
    for (Card& card : cards_) {
        read_limits(card);
        devices.push_back(card.device);
    }
    return devices;
}

NvmlSource::Card* NvmlSource::find(std::string_view id) {
    const auto card = std::ranges::find_if(
        cards_, [&](const Card& c) { return c.device.id == id || c.device.pci.text() == id; });
    return card == cards_.end() ? nullptr : &*card;
}

std::optional<PciAddress> NvmlSource::place_of(std::string_view id) {
    if (const Card* known = find(id)) return known->device.pci;
    const auto address = PciAddress::parse(id);
    if (address && is_here(*address)) return address;  // listed while it slept
    return std::nullopt;
}

Result<DeviceSample> NvmlSource::sample(std::string_view id, Attention attention) {
    const std::optional<PciAddress> pci = place_of(id);
    if (!pci) return fail(Errc::NotFound, fmt::format("no NVIDIA card {} is here", id));
    const PowerStatus power = read_power_status(tree_, *pci);
    if (power.asleep) {
        close();
        return DeviceSample{.state = DeviceState::Asleep};
    }
    if (attention == Attention::Resting && power.may_sleep) {
        close();
        return DeviceSample{};  // awake, and let be so that it can fall asleep
    }
    TRY_DO(open());
    Card* const card = find(id);
    if (card == nullptr || card->handle == nullptr)
        return fail(Errc::NotFound, fmt::format("the NVIDIA card {} is gone", id));
    DeviceSample sample;
    if (!read_memory(*card, sample)) return sample;
    read_heat(*card, sample);
    read_load(*card, sample);
    return sample;
}

bool NvmlSource::read_memory(Card& card, DeviceSample& sample) const {
    int code = static_cast<int>(NvmlCode::NotSupported);
    if (card.memory_v2 && nvml_->memory_v2 != nullptr) {
        NvmlMemoryV2 memory{};
        memory.version = nvml_version<NvmlMemoryV2>(2);
        code = nvml_->memory_v2(card.handle, &memory);
        if (ok(code) && memory.total > 0) {
            sample.total = Bytes(static_cast<std::int64_t>(memory.total));
            sample.used = Bytes(static_cast<std::int64_t>(memory.used));
            sample.reserved = Bytes(static_cast<std::int64_t>(memory.reserved));
            return true;
        }
    }
    if (!is_sick(code)) {
        card.memory_v2 = false;
        NvmlMemoryV1 memory{};
        code = nvml_->memory_v1(card.handle, &memory);
        if (ok(code) && memory.total > 0) {
            sample.total = Bytes(static_cast<std::int64_t>(memory.total));
            sample.used = Bytes(static_cast<std::int64_t>(memory.used));
            return true;
        }
    }
    if (is_sick(code)) {
        sample.state = DeviceState::Sick;
        sample.why =
            fmt::format("the driver lost the card: {}; restart the machine", nvml_->text_of(code));
        return false;
    }
    // Without memory of its own (a system on a chip) the machine's RAM is the card's.
    const auto meminfo = tree_.read_text("proc/meminfo");
    const auto kib = [&](std::string_view key) -> std::optional<Bytes> {
        if (!meminfo) return std::nullopt;
        const auto at = meminfo->find(key);
        if (at == std::string::npos) return std::nullopt;
        return Bytes(1024 * std::strtoll(meminfo->c_str() + at + key.size(), nullptr, 10));
    };
    const auto total = kib("MemTotal:");
    const auto available = kib("MemAvailable:");
    if (total && available) {
        sample.total = *total;
        sample.used = *total - *available;
    }
    return true;
}

std::optional<double> NvmlSource::read_field(const Card& card, std::uint32_t field) const {
    if (nvml_->fields == nullptr) return std::nullopt;
    NvmlField value{};
    value.field = field;
    if (!ok(nvml_->fields(card.handle, 1, &value)) || !ok(value.code)) return std::nullopt;
    switch (value.value_type) {
        case 0:
            return value.value.as_double;
        case 1:
        case 2:  // unsigned long: eight bytes on Linux, but no field read here is above 32 bits
            return value.value.as_u32;
        case 3:
            return static_cast<double>(value.value.as_u64);
        case 4:
            return static_cast<double>(value.value.as_i64);
        case 5:
            return value.value.as_i32;
        case 6:
            return value.value.as_u16;
        default:
            return std::nullopt;
    }
}

void NvmlSource::read_heat(const Card& card, DeviceSample& sample) const {
    sample.temperature_c = plausible_temperature(read_kind(nvml_->temperature, card.handle, 0));
    // HBM boards answer, GeForce does not.
    sample.memory_temperature_c = plausible_temperature(read_field(card, kNvmlMemoryTemperature));
    std::uint64_t reasons = 0;
    if (nvml_->event_reasons != nullptr && ok(nvml_->event_reasons(card.handle, &reasons))) {
        sample.throttled_by_heat = (reasons & (kNvmlSoftwareThermal | kNvmlHardwareThermal)) != 0;
        sample.throttled_by_power =
            (reasons & (kNvmlSoftwarePowerCap | kNvmlHardwarePowerBrake)) != 0;
    }
}

void NvmlSource::read_load(const Card& card, DeviceSample& sample) const {
    constexpr double kMilli = 0.001;
    sample.power_limit_watts = read_unsigned(nvml_->power_limit, card.handle, kMilli);
    const auto plausible = [&](std::optional<double> watts) {
        return watts &&
               (!sample.power_limit_watts || *watts <= kPowerPlausible * *sample.power_limit_watts);
    };
    auto watts = read_unsigned(nvml_->power, card.handle, kMilli);
    if (!plausible(watts)) {
        watts = read_field(card, kNvmlPowerInstantMilliwatts);
        if (watts) *watts *= kMilli;
    }
    if (plausible(watts)) sample.power_watts = watts;
    sample.clock_mhz = read_kind(nvml_->clock, card.handle, kNvmlGraphicsClock);
    sample.memory_clock_mhz = read_kind(nvml_->clock, card.handle, kNvmlMemoryClock);
    NvmlUtilization utilization{};
    if (nvml_->utilization != nullptr && ok(nvml_->utilization(card.handle, &utilization)) &&
        utilization.gpu <= 100)
        sample.utilization = utilization.gpu / 100.0;
}

void NvmlSource::add_holders(const Card& card, int (*call)(NvmlDevice, unsigned*, NvmlProcess*),
                             std::vector<Holder>& holders) const {
    if (call == nullptr) return;
    // A driver of the 535 series wrote records of 32 bytes: there is room for them, and records
    // that make no sense are left out.
    constexpr std::size_t kRecordBytesMax = 32;
    std::vector<NvmlProcess> records(kProcessesMax * kRecordBytesMax / sizeof(NvmlProcess) + 1);
    unsigned count = kProcessesMax;
    if (!ok(call(card.handle, &count, records.data()))) return;
    for (const NvmlProcess& record : records | std::views::take(std::min(count, kProcessesMax))) {
        if (record.pid == 0) continue;
        Holder holder{.pid = record.pid, .name = read_program_name(tree_, record.pid)};
        if (record.used_bytes != kNvmlNotAvailable) {
            if (card.device.total &&
                record.used_bytes > static_cast<std::uint64_t>(card.device.total->count))
                continue;
            holder.bytes = Bytes(static_cast<std::int64_t>(record.used_bytes));
        }
        const auto known = std::ranges::find(holders, holder.pid, &Holder::pid);
        if (known == holders.end())
            holders.push_back(std::move(holder));
        else if (holder.bytes > known->bytes)  // it draws and computes: both lists count all of it
            known->bytes = holder.bytes;
    }
}

Result<std::vector<Holder>> NvmlSource::list_holders(std::string_view id) {
    const std::optional<PciAddress> pci = place_of(id);
    if (pci && read_power_status(tree_, *pci).asleep) return std::vector<Holder>{};
    TRY_DO(open());
    Card* const card = find(id);
    if (card == nullptr || card->handle == nullptr)
        return fail(Errc::NotFound, fmt::format("no NVIDIA card {} is here", id));
    std::vector<Holder> holders;
    add_holders(*card, nvml_->compute_processes, holders);
    add_holders(*card, nvml_->graphics_processes, holders);
    std::ranges::sort(holders, std::ranges::greater{}, &Holder::bytes);
    return holders;
}

}  // namespace plimsoll::telemetry
