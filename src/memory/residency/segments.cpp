// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/segments.h"

#include "base/text.h"

#include <string>

namespace plimsoll::memory {

namespace {

// PyTorch's CUDACachingAllocator (2.8): a tensor begins at a multiple of 512 bytes; those up to 1
// MiB share segments of 2 MiB, those below 10 MiB segments of 20 MiB, and larger ones have segments
// of their own in steps of 2 MiB.
constexpr std::int64_t kMib = 1024LL * 1024;
constexpr std::int64_t kBlock = 512;
constexpr std::int64_t kSmallMax = kMib;
constexpr std::int64_t kSmallSegment = 2 * kMib;
constexpr std::int64_t kLargeMin = 10 * kMib;
constexpr std::int64_t kMiddleSegment = 20 * kMib;
constexpr std::int64_t kLargeStep = 2 * kMib;

constexpr std::int64_t rounded(std::int64_t bytes, std::int64_t to) {
    return (bytes + to - 1) / to * to;
}

}  // namespace

Allocator allocator_of(const Server& server, const Device& device) {
    if (device.vendor != Vendor::Nvidia || !server.flags.cuda_malloc) return Allocator::Native;
    constexpr int kPascal = 60;
    if (device.compute_capability < kPascal) return Allocator::Native;
    const std::string name = to_lower_ascii(device.name);
    for (const char* failing : {"1650", "1630"})
        if (name.find(failing) != std::string::npos) return Allocator::Native;
    return Allocator::Async;
}

void Segments::add(std::int64_t tensor_bytes) {
    if (tensor_bytes <= 0) return;
    const std::int64_t bytes = rounded(tensor_bytes, kBlock);
    if (bytes <= kSmallMax)
        small_ += bytes;
    else if (bytes < kLargeMin)
        middle_ += bytes;
    else
        large_ += rounded(bytes, kLargeStep);
}

std::int64_t Segments::bytes() const {
    return rounded(small_, kSmallSegment) + rounded(middle_, kMiddleSegment) + large_;
}

}  // namespace plimsoll::memory
