// SPDX-License-Identifier: Apache-2.0
//
// Reserved bytes: what PyTorch's allocators hold for the tensors in them. The native caching
// allocator takes segments from the driver and cuts tensors out of them; cudaMallocAsync's pool
// remaps, so that it holds little more than what is allocated.
#pragma once
#include "memory/server.h"

#include <cstdint>

namespace plimsoll::memory {

enum class Allocator : std::uint8_t { Native, Async };
// ComfyUI turns cudaMallocAsync on for NVIDIA cards that are not known to fail with it.
[[nodiscard]] Allocator allocator_of(const Server& server, const Device& device);

// Segments of the native allocator for tensors that stay: as few as they can be.
class Segments {
  public:
    void add(std::int64_t tensor_bytes);
    [[nodiscard]] std::int64_t bytes() const;

  private:
    std::int64_t small_ = 0;
    std::int64_t middle_ = 0;
    std::int64_t large_ = 0;
};

}  // namespace plimsoll::memory
