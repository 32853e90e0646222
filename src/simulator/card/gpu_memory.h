// SPDX-License-Identifier: Apache-2.0
//
// The memory of the simulated card as three parties see it: the driver (total, free), torch's
// allocator (reserved, active) and everything outside torch (context, desktop, other programs).
//
// Active is what live tensors need: weights and recorded activations, nothing else. Workspaces of
// cuDNN and cuBLAS, cached blocks and fragmentation are part of reserved only, and never the reason
// for running out: the real libraries fall back to smaller workspaces, and cudaMallocAsync gives
// back what it caches before it fails.
//
// A driver may also move tensors into the machine's memory where the card is full (Windows does so
// unless told otherwise): then nothing fails, and the driver says that nothing is free.
//
// Threads: any; the executing thread changes it, HTTP reads it.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <mutex>
#include <string>

namespace plimsoll::simulator {

struct MemoryUse {
    std::int64_t total = 0;     // of the device
    std::int64_t outside = 0;   // taken by all but torch
    std::int64_t reserved = 0;  // torch's pool
    std::int64_t active = 0;    // live tensors in it
    std::int64_t spilled = 0;   // of the pool, in the machine's memory
    std::int64_t left = 0;      // of the active ones those that nobody refers to

    [[nodiscard]] std::int64_t driver_free() const { return total - outside - reserved + spilled; }
    // What ComfyUI calls free: its own cache counts as free.
    [[nodiscard]] std::int64_t free() const { return driver_free() + reserved - active; }
};

// Why an allocation failed, with torch's own text.
struct OutOfMemory {
    std::string text;
};

class GpuMemory {
  public:
    // `fragmentation`: share of the active bytes that is lost between blocks.
    GpuMemory(std::int64_t total, std::int64_t outside, double fragmentation);

    [[nodiscard]] MemoryUse use() const;
    // ComfyUI's get_free_memory.
    [[nodiscard]] std::int64_t free() const { return use().free(); }

    // Weights move without asking: ComfyUI's loader decides by its own estimate. False when they do
    // not fit (the caller raises).
    [[nodiscard]] bool take(std::int64_t bytes, std::int64_t workspace = 0);
    void give(std::int64_t bytes);
    // torch.cuda.empty_cache()
    void empty_cache();
    // Another program takes (or with a negative number gives back) memory of the device.
    void take_outside(std::int64_t bytes);
    // Another program takes memory from under torch: the driver moves what no longer fits into the
    // machine's memory, and goes on so until memory is given back.
    void spill(std::int64_t bytes);
    // Tensors that nobody refers to any more and nobody gives back. False when they do not fit.
    [[nodiscard]] bool leave_behind(std::int64_t bytes);
    // POST /free collects them, whatever else it frees.
    void collect_left_behind();
    // Whether tensors were moved there since the cache was emptied last: each step does so again.
    [[nodiscard]] bool has_spilled() const;
    // The text that torch shows when `requested` more bytes did not fit.
    [[nodiscard]] OutOfMemory out_of_memory(std::int64_t requested) const;

  private:
    [[nodiscard]] std::int64_t pool_for(std::int64_t bytes) const;
    void settle();  // with the lock held: what of the pool is on the card

    mutable std::mutex mutex_;
    MemoryUse use_;
    double fragmentation_;
    bool may_spill_ = false;
    bool has_spilled_ = false;
};

}  // namespace plimsoll::simulator
