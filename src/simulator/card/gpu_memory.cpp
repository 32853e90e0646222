// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/gpu_memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::simulator {

namespace {

constexpr std::int64_t kMib = 1LL << 20U;
constexpr std::int64_t kPoolStep = 32 * kMib;  // cudaMallocAsync grows its pool in such steps

// torch's format_size.
std::string format_size(double bytes) {
    if (bytes <= 1024) return fmt::format("{} bytes", static_cast<std::int64_t>(bytes));
    if (bytes <= 1048576) return fmt::format("{:.2f} KiB", bytes / 1024);
    if (bytes <= 1073741824) return fmt::format("{:.2f} MiB", bytes / 1048576);
    return fmt::format("{:.2f} GiB", bytes / 1073741824);
}

}  // namespace

GpuMemory::GpuMemory(std::int64_t total, std::int64_t outside, double fragmentation)
    : use_{.total = total, .outside = outside}, fragmentation_(fragmentation) {}

MemoryUse GpuMemory::use() const {
    const std::lock_guard lock(mutex_);
    return use_;
}

std::int64_t GpuMemory::pool_for(std::int64_t bytes) const {
    if (bytes <= 0) return 0;
    const auto wanted =
        bytes + static_cast<std::int64_t>(static_cast<double>(bytes) * fragmentation_);
    return (wanted + kPoolStep - 1) / kPoolStep * kPoolStep;
}

bool GpuMemory::take(std::int64_t bytes, std::int64_t workspace) {
    const std::lock_guard lock(mutex_);
    const std::int64_t capacity = use_.total - use_.outside;
    if (use_.active + bytes > capacity && !may_spill_) return false;
    use_.active += bytes;
    use_.reserved = std::min(capacity, std::max(use_.reserved, pool_for(use_.active + workspace)));
    use_.reserved = std::max(use_.reserved, use_.active);
    settle();
    return true;
}

void GpuMemory::settle() {
    use_.spilled = std::max<std::int64_t>(0, use_.outside + use_.reserved - use_.total);
    has_spilled_ = has_spilled_ || use_.spilled > 0;
}

bool GpuMemory::has_spilled() const {
    const std::lock_guard lock(mutex_);
    return has_spilled_;
}

void GpuMemory::give(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    use_.active = std::max<std::int64_t>(0, use_.active - bytes);
}

void GpuMemory::empty_cache() {
    const std::lock_guard lock(mutex_);
    use_.reserved = std::max(use_.active, std::min(use_.reserved, pool_for(use_.active)));
    has_spilled_ = false;
    settle();
}

void GpuMemory::take_outside(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    // The driver gives only what is free; torch's pool is not taken away.
    const std::int64_t room = use_.total - use_.reserved;
    use_.outside = std::clamp<std::int64_t>(use_.outside + bytes, 0, std::max(use_.outside, room));
    if (bytes < 0) may_spill_ = false;
    settle();
}

void GpuMemory::spill(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    use_.outside = std::clamp<std::int64_t>(use_.outside + bytes, 0, use_.total);
    may_spill_ = true;
    settle();
}

bool GpuMemory::leave_behind(std::int64_t bytes) {
    if (!take(bytes)) return false;
    const std::lock_guard lock(mutex_);
    use_.left += bytes;
    return true;
}

void GpuMemory::collect_left_behind() {
    const std::lock_guard lock(mutex_);
    use_.active = std::max<std::int64_t>(0, use_.active - use_.left);
    use_.left = 0;
}

OutOfMemory GpuMemory::out_of_memory(std::int64_t requested) const {
    const MemoryUse now = use();
    return {fmt::format(
        "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
        "Currently allocated     : {}\n"
        "Requested               : {}\n"
        "Device limit            : {}\n"
        "Free (according to CUDA): {}\n"
        "PyTorch limit (set by user-supplied memory fraction)\n"
        "                        : 17179869184.00 GiB",
        format_size(static_cast<double>(now.active)), format_size(static_cast<double>(requested)),
        format_size(static_cast<double>(now.total)),
        format_size(static_cast<double>(std::max<std::int64_t>(0, now.driver_free()))))};
}

}  // namespace plimsoll::simulator
