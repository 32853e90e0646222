// SPDX-License-Identifier: Apache-2.0
#include "telemetry/nvml/nvml_library.h"

#include <dlfcn.h>

#include <fmt/format.h>

#include <initializer_list>

namespace plimsoll::telemetry {

namespace {

// The first of `names` that the library has; else `function` stays null.
template <class Function>
void find(void* library, Function& function, std::initializer_list<const char*> names) {
    for (const char* name : names) {
        if (void* symbol = dlsym(library, name); symbol != nullptr) {
            function = reinterpret_cast<Function>(symbol);
            return;
        }
    }
}

void* open_first(const std::filesystem::path& wanted, std::string& why) {
    std::vector<std::string> paths;
    if (!wanted.empty()) {
        paths.push_back(wanted.string());
    } else {
        paths = {"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"};  // the second: WSL
    }
    for (const std::string& path : paths) {
        if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); library != nullptr)
            return library;
        const char* error = dlerror();
        why = error != nullptr ? error : path;
    }
    return nullptr;
}

}  // namespace

std::string NvmlLibrary::text_of(int code) const {
    const char* text = error_text != nullptr ? error_text(code) : nullptr;
    return fmt::format("{} ({})", text != nullptr ? text : "NVML error", code);
}

Result<std::shared_ptr<const NvmlLibrary>> NvmlLibrary::open(const std::filesystem::path& path) {
    std::string why;
    void* const library = open_first(path, why);
    if (library == nullptr)
        return fail(Errc::NotFound, fmt::format("no NVIDIA driver is here: {}", why));

    auto calls = std::make_shared<NvmlLibrary>();
    find(library, calls->init, {"nvmlInit_v2"});
    find(library, calls->shutdown, {"nvmlShutdown"});
    find(library, calls->device_count, {"nvmlDeviceGetCount_v2"});
    find(library, calls->device_at, {"nvmlDeviceGetHandleByIndex_v2"});
    find(library, calls->memory_v1, {"nvmlDeviceGetMemoryInfo"});
    find(library, calls->memory_v2, {"nvmlDeviceGetMemoryInfo_v2"});
    find(library, calls->error_text, {"nvmlErrorString"});
    find(library, calls->driver_version, {"nvmlSystemGetDriverVersion"});
    find(library, calls->name, {"nvmlDeviceGetName"});
    find(library, calls->uuid, {"nvmlDeviceGetUUID"});
    find(library, calls->pci, {"nvmlDeviceGetPciInfo_v3"});
    find(library, calls->utilization, {"nvmlDeviceGetUtilizationRates"});
    find(library, calls->temperature, {"nvmlDeviceGetTemperature"});
    find(library, calls->threshold, {"nvmlDeviceGetTemperatureThreshold"});
    find(library, calls->event_reasons,
         {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"});
    find(library, calls->power, {"nvmlDeviceGetPowerUsage"});
    find(library, calls->power_limit, {"nvmlDeviceGetEnforcedPowerLimit"});
    find(library, calls->clock, {"nvmlDeviceGetClockInfo"});
    find(library, calls->fields, {"nvmlDeviceGetFieldValues"});
    // The unsuffixed form has records of 16 bytes: not this table's.
    find(library, calls->compute_processes,
         {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"});
    find(library, calls->graphics_processes,
         {"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"});
    if (calls->init == nullptr || calls->shutdown == nullptr || calls->device_count == nullptr ||
        calls->device_at == nullptr || calls->memory_v1 == nullptr)
        return fail(Errc::Unavailable,
                    "libnvidia-ml.so.1 lacks calls that every driver since 2012 has; "
                    "reinstall the NVIDIA driver");
    return calls;
}

}  // namespace plimsoll::telemetry
