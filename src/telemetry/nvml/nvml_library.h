// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's management library, opened at run time: no SDK is needed to build Plimsoll and no NVIDIA
// driver to start it. Layouts and codes are those of nvml.h (API 13); an unsuffixed symbol is the
// oldest form of a call, so each is asked for by its versioned name.
//
// Enters through: libnvidia-ml.so.1.   Threads: NVML's own calls are thread-safe; so is this table.
#pragma once
#include "base/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace plimsoll::telemetry {

// nvmlReturn_t, what Plimsoll tells apart.
enum class NvmlCode : int {
    Success = 0,
    Uninitialized = 1,
    NotSupported = 3,
    NoPermission = 4,
    InsufficientSize = 7,
    DriverNotLoaded = 9,
    GpuIsLost = 15,
    ResetRequired = 16,
    BlockedByOs = 17,
    LibraryMismatch = 18,
    NotReady = 27,
    Unknown = 999,
};

using NvmlDevice = void*;  // nvmlDevice_t: opaque, the library's

// The word that a versioned struct begins with.
template <class T>
[[nodiscard]] constexpr std::uint32_t nvml_version(std::uint32_t version) {
    return static_cast<std::uint32_t>(sizeof(T)) | version << 24U;
}

struct NvmlMemoryV1 {
    std::uint64_t total, free, used;  // used contains what the driver reserves
};
static_assert(sizeof(NvmlMemoryV1) == 24);

struct NvmlMemoryV2 {
    std::uint32_t version;
    std::uint64_t total, reserved, free, used;  // used does not
};
static_assert(sizeof(NvmlMemoryV2) == 40 && offsetof(NvmlMemoryV2, total) == 8);

struct NvmlPci {
    std::array<char, 16> bus_id_legacy;
    std::uint32_t domain, bus, device, device_id, subsystem_id;
    std::array<char, 32> bus_id;
};
static_assert(sizeof(NvmlPci) == 68);

// A record of the process lists from version 2 on.
struct NvmlProcess {
    std::uint32_t pid;
    std::uint64_t used_bytes;  // kNvmlNotAvailable under WDDM
    std::uint32_t gpu_instance, compute_instance;
};
static_assert(sizeof(NvmlProcess) == 24);
inline constexpr std::uint64_t kNvmlNotAvailable = ~std::uint64_t{0};

struct NvmlUtilization {
    std::uint32_t gpu, memory;  // %
};

struct NvmlField {
    std::uint32_t field, scope;
    std::int64_t timestamp_us, latency_us;
    std::int32_t value_type, code;
    union {
        double as_double;
        std::uint32_t as_u32;
        std::uint64_t as_u64;
        std::int64_t as_i64;
        std::int32_t as_i32;
        std::uint16_t as_u16;
    } value;
};
static_assert(sizeof(NvmlField) == 40 && offsetof(NvmlField, value) == 32);

// Field ids.
inline constexpr std::uint32_t kNvmlMemoryTemperature = 82;
inline constexpr std::uint32_t kNvmlPowerInstantMilliwatts = 186;
inline constexpr std::uint32_t kNvmlShutdownMargin = 193;  // signed °C, Ada and newer
inline constexpr std::uint32_t kNvmlSlowdownMargin = 194;
inline constexpr std::uint32_t kNvmlMaxOperatingMargin = 196;

// Bits of the clocks' event reasons.
inline constexpr std::uint64_t kNvmlSoftwarePowerCap = 0x4;
inline constexpr std::uint64_t kNvmlSoftwareThermal = 0x20;
inline constexpr std::uint64_t kNvmlHardwareThermal = 0x40;
inline constexpr std::uint64_t kNvmlHardwarePowerBrake = 0x80;

// Kinds of clock and of temperature threshold.
inline constexpr int kNvmlGraphicsClock = 0;
inline constexpr int kNvmlMemoryClock = 2;
inline constexpr int kNvmlThresholdShutdown = 0;
inline constexpr int kNvmlThresholdSlowdown = 1;
inline constexpr int kNvmlThresholdMaxOperating = 3;
inline constexpr int kNvmlThresholdTarget = 5;  // "acoustic current"

// The calls. The first five are always there; any other may be null.
struct NvmlLibrary {
    int (*init)() = nullptr;
    int (*shutdown)() = nullptr;
    int (*device_count)(unsigned*) = nullptr;
    int (*device_at)(unsigned, NvmlDevice*) = nullptr;
    int (*memory_v1)(NvmlDevice, NvmlMemoryV1*) = nullptr;

    int (*memory_v2)(NvmlDevice, NvmlMemoryV2*) = nullptr;
    const char* (*error_text)(int) = nullptr;
    int (*driver_version)(char*, unsigned) = nullptr;
    int (*name)(NvmlDevice, char*, unsigned) = nullptr;
    int (*uuid)(NvmlDevice, char*, unsigned) = nullptr;
    int (*pci)(NvmlDevice, NvmlPci*) = nullptr;
    int (*utilization)(NvmlDevice, NvmlUtilization*) = nullptr;
    int (*temperature)(NvmlDevice, int, unsigned*) = nullptr;
    int (*threshold)(NvmlDevice, int, unsigned*) = nullptr;
    int (*event_reasons)(NvmlDevice, std::uint64_t*) = nullptr;
    int (*power)(NvmlDevice, unsigned*) = nullptr;        // mW
    int (*power_limit)(NvmlDevice, unsigned*) = nullptr;  // mW
    int (*clock)(NvmlDevice, int, unsigned*) = nullptr;   // MHz
    int (*fields)(NvmlDevice, int, NvmlField*) = nullptr;
    int (*compute_processes)(NvmlDevice, unsigned*, NvmlProcess*) = nullptr;
    int (*graphics_processes)(NvmlDevice, unsigned*, NvmlProcess*) = nullptr;

    // "the driver is not loaded (9)".
    [[nodiscard]] std::string text_of(int code) const;

    // Opens `path`, else the usual places. NotFound where there is no NVIDIA driver; Unavailable
    // where the library lacks what no version lacks. The library stays open for the program's life:
    // closing it under a hung call would pull the code from under it.
    [[nodiscard]] static Result<std::shared_ptr<const NvmlLibrary>> open(
        const std::filesystem::path& path = {});
};

}  // namespace plimsoll::telemetry
