// SPDX-License-Identifier: Apache-2.0
//
// A libnvidia-ml.so.1 without a card: the calls that Plimsoll makes, answered from FakeNvml.
#include "fake_nvml.h"

#include "telemetry/nvml/nvml_library.h"

#include <algorithm>
#include <cstring>
#include <ctime>

using namespace plimsoll::telemetry;  // NOLINT(google-build-using-namespace): it stands in for C

namespace {

FakeNvml state;

constexpr int kOk = 0;
constexpr int kBadArgument = 2;
constexpr int kNotSupported = 3;
constexpr int kVersionMismatch = 25;

// A driver computes in the caller's thread.
void compute(unsigned us) {
    if (us == 0) return;
    timespec now{};
    const auto read_us = [&] {
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
    };
    const auto until = read_us() + us;
    while (read_us() < until) {
    }
}

FakeNvmlCard& card_of(NvmlDevice device) {
    ++state.calls;
    compute(state.call_us);
    return *static_cast<FakeNvmlCard*>(device);
}

int copy(const char* text, char* into, unsigned size) {
    std::strncpy(into, text, size);
    return kOk;
}

int answer(const FakeNvmlCard& card, unsigned value, unsigned* into) {
    if (card.code != kOk) return card.code;
    if (value == 0) return kNotSupported;
    *into = value;
    return kOk;
}

}  // namespace

extern "C" {

FakeNvml* fake_nvml_state() {
    return &state;
}

int nvmlInit_v2() {
    ++state.inits;
    return state.init_code;
}
int nvmlShutdown() {
    ++state.shutdowns;
    return kOk;
}
const char* nvmlErrorString(int code) {
    return code == static_cast<int>(NvmlCode::GpuIsLost) ? "GPU is lost" : "an error";
}
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
    return copy("570.86.10", text, size);
}
int nvmlDeviceGetCount_v2(unsigned* count) {
    ++state.calls;
    *count = state.count;
    return kOk;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, NvmlDevice* device) {
    ++state.calls;
    if (index >= state.count) return kBadArgument;
    *device = &state.cards.at(index);
    return kOk;
}
int nvmlDeviceGetName(NvmlDevice device, char* text, unsigned size) {
    return copy(card_of(device).name, text, size);
}
int nvmlDeviceGetUUID(NvmlDevice device, char* text, unsigned size) {
    return copy(card_of(device).uuid, text, size);
}
int nvmlDeviceGetPciInfo_v3(NvmlDevice device, NvmlPci* pci) {
    return copy(card_of(device).bus_id, pci->bus_id.data(), sizeof pci->bus_id);
}
int nvmlDeviceGetMemoryInfo(NvmlDevice device, NvmlMemoryV1* memory) {
    const FakeNvmlCard& card = card_of(device);
    if (card.code != kOk) return card.code;
    const std::uint64_t used = card.used + card.reserved;
    *memory = {.total = card.total, .free = card.total - used, .used = used};
    return kOk;
}
int nvmlDeviceGetMemoryInfo_v2(NvmlDevice device, NvmlMemoryV2* memory) {
    const FakeNvmlCard& card = card_of(device);
    if (card.code != kOk) return card.code;
    if (!state.memory_v2 || memory->version != 0x02000028) return kVersionMismatch;
    memory->total = card.total;
    memory->reserved = card.reserved;
    memory->used = card.used;
    memory->free = card.total - card.used - card.reserved;
    return kOk;
}
int nvmlDeviceGetUtilizationRates(NvmlDevice device, NvmlUtilization* rates) {
    const FakeNvmlCard& card = card_of(device);
    *rates = {.gpu = card.utilization, .memory = 0};
    return card.code;
}
int nvmlDeviceGetTemperature(NvmlDevice device, int, unsigned* celsius) {
    const FakeNvmlCard& card = card_of(device);
    return answer(card, card.temperature, celsius);
}
int nvmlDeviceGetTemperatureThreshold(NvmlDevice device, int kind, unsigned* celsius) {
    const FakeNvmlCard& card = card_of(device);
    return answer(card, card.thresholds.at(static_cast<std::size_t>(kind)), celsius);
}
int nvmlDeviceGetCurrentClocksEventReasons(NvmlDevice device, std::uint64_t* reasons) {
    const FakeNvmlCard& card = card_of(device);
    *reasons = card.reasons;
    return card.code;
}
int nvmlDeviceGetPowerUsage(NvmlDevice device, unsigned* milliwatts) {
    const FakeNvmlCard& card = card_of(device);
    return answer(card, card.power_mw, milliwatts);
}
int nvmlDeviceGetEnforcedPowerLimit(NvmlDevice device, unsigned* milliwatts) {
    const FakeNvmlCard& card = card_of(device);
    return answer(card, card.power_limit_mw, milliwatts);
}
int nvmlDeviceGetClockInfo(NvmlDevice device, int kind, unsigned* mhz) {
    const FakeNvmlCard& card = card_of(device);
    return answer(card, kind == kNvmlGraphicsClock ? card.clock_mhz : 0, mhz);
}
int nvmlDeviceGetFieldValues(NvmlDevice device, int count, NvmlField* fields) {
    const FakeNvmlCard& card = card_of(device);
    if (card.code != kOk) return card.code;
    const bool margins = std::ranges::any_of(card.margins, [](int m) { return m != 0; });
    for (int i = 0; i < count; ++i) {
        NvmlField& field = fields[i];
        field.code = kNotSupported;
        field.value_type = 5;  // a signed int
        const auto give = [&](bool known, int value) {
            if (!known) return;
            field.code = kOk;
            field.value.as_i32 = value;
        };
        if (field.field == kNvmlMemoryTemperature)
            give(card.memory_temperature != 0, card.memory_temperature);
        if (field.field == kNvmlShutdownMargin) give(margins, card.margins[0]);
        if (field.field == kNvmlSlowdownMargin) give(margins, card.margins[1]);
        if (field.field == kNvmlMaxOperatingMargin) give(margins, card.margins[2]);
    }
    return kOk;
}
int nvmlDeviceGetComputeRunningProcesses_v3(NvmlDevice device, unsigned* count,
                                            NvmlProcess* records) {
    const FakeNvmlCard& card = card_of(device);
    compute(state.list_us);
    if (card.code != kOk) return card.code;
    if (*count < card.process_count) return static_cast<int>(NvmlCode::InsufficientSize);
    *count = card.process_count;
    for (unsigned i = 0; i < card.process_count; ++i)
        records[i] = {.pid = card.processes.at(i).pid,
                      .used_bytes = card.processes.at(i).used_bytes,
                      .gpu_instance = ~0U,
                      .compute_instance = ~0U};
    return kOk;
}

}  // extern "C"
