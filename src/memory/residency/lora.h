// SPDX-License-Identifier: Apache-2.0
//
// What a LoRA takes on the card while it is put into a weight: copies of the weight in the type of
// the arithmetic, the product of the two low-rank matrices, the scaled product.
//
// Sources: ComfyUI's model patcher, weight adapter and stochastic rounding (0.3.64 and 0.33.0).
#pragma once
#include "memory/residency/loadable_model.h"
#include "memory/server.h"

#include <cstdint>
#include <vector>

namespace plimsoll::memory {

// Weights as a model's patches (LoRAs) leave them.
struct Patches {
    std::uint64_t id = 0;             // 0: unpatched. Equal ids are the same patches
    std::vector<std::uint8_t> units;  // by index into LoadableModel::units; empty: none
    // Elements of both matrices of the largest LoRA, all weights together; 0: not known.
    std::int64_t low_rank_elements = 0;

    [[nodiscard]] bool has(std::size_t unit) const { return !units.empty() && units[unit] != 0; }
};

// Bytes of an element in which weights are merged as they are loaded: fp32; fp16 by newer versions
// where the card computes in it.
[[nodiscard]] int merge_element_bytes(const Server& server, const Device& device);

// Elements of the two matrices that go with a weight: their sizes go by its sides, so by the root
// of its elements.
class LowRank {
  public:
    LowRank(const LoadableModel& model, const Patches& patches);
    [[nodiscard]] std::int64_t elements(std::size_t unit) const;

  private:
    const LoadableModel& model_;
    double per_root_ = 0;
};

// On the card at once, besides the weight's own bytes, while it is merged.
[[nodiscard]] std::int64_t merge_bytes(const LoadUnit& unit, std::int64_t low_rank_elements,
                                       int element_bytes);
// A streamed weight that is patched on every call: its copy and the products, in the type it
// computes in.
[[nodiscard]] std::int64_t patched_copy_bytes(const LoadUnit& unit, std::int64_t low_rank_elements,
                                              std::int64_t compute_element_bytes);

}  // namespace plimsoll::memory
