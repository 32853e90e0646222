// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/machine.h"

#include <algorithm>
#include <utility>

namespace plimsoll::simulator {

namespace {

// The host: an ordinary computer of a person with such a card. Chosen.
constexpr std::int64_t kHostTotal = 32LL << 30U;
constexpr std::int64_t kHostUsed = 6LL << 30U;
constexpr double kDiskBytesPerSecond = 1.8e9;  // an NVMe drive, through safetensors' mmap
constexpr double kCacheBytesPerSecond = 6e9;   // a second read comes from the page cache
constexpr double kHostRunSeconds = 0.02;       // of a network on the processor, however small
constexpr double kHostFlops = 4e11;            // a desktop processor, 8 cores, fp32

// Share of the active bytes lost between blocks: 0.3 to 1.5 %, by the seed. Chosen: cudaMallocAsync
// remaps its pool, so it is little.
double fragmentation_of(std::uint64_t seed) {
    Random random(seed ^ 0xF4A6ULL);
    return 0.003 + 0.012 * random.next_unit();
}

}  // namespace

Machine::Machine(CardSpec which, LaunchFlags launch, const MachineOptions& options)
    : card(std::move(which)),
      flags(std::move(launch)),
      memory(card.total_bytes, options.outside_bytes, fragmentation_of(options.seed)),
      heat(card.tdp_w, options.ambient_c),
      speed(card),
      pace(options.speed, heat, options.seed),
      manager(memory, flags, kHostTotal - kHostUsed) {
    manager.on_upload = [this](std::int64_t bytes) {
        // The return value is looked at by the node that asked for the load.
        (void)pace.spend(speed.upload_seconds(bytes), 0.15);
    };
}

std::int64_t Machine::host_total_bytes() const {
    return kHostTotal;
}

std::int64_t Machine::host_free_bytes() const {
    return std::max<std::int64_t>(1LL << 30U, kHostTotal - kHostUsed - read_bytes_);
}

double Machine::seconds(const Work& work, Device device) const {
    return device == Device::Gpu ? speed.seconds(work) : kHostRunSeconds + work.flops / kHostFlops;
}

bool Machine::read_file(const std::string& name, std::int64_t bytes) {
    const bool cached = !read_.insert(name).second;
    if (!cached) read_bytes_ += bytes;
    return pace.wait(static_cast<double>(bytes) /
                     (cached ? kCacheBytesPerSecond : kDiskBytesPerSecond));
}

}  // namespace plimsoll::simulator
