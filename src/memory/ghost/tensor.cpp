// SPDX-License-Identifier: Apache-2.0
#include "memory/ghost/tensor.h"

#include <algorithm>

namespace plimsoll::memory::ghost {

std::string_view element_name(ElementType type) {
    constexpr std::array<std::string_view, 12> kNames = {"fp32",     "fp16", "bf16", "fp8_e4m3fn",
                                                         "fp8_e5m2", "i64",  "fp64", "c64",
                                                         "c128",     "bool", "i32",  "None"};
    return kNames[static_cast<std::size_t>(type)];
}

std::string Label::module_path() const {
    const std::string_view own = module != nullptr ? std::string_view(*module) : std::string_view();
    if (scope.empty()) return std::string(own);
    if (own.empty()) return std::string(scope);
    std::string path;
    path.reserve(scope.size() + 1 + own.size());
    path.append(scope).append(1, '.').append(own);
    return path;
}

Heap::Heap() {
    // More than any of our networks holds at once; grows when it does not suffice.
    constexpr std::size_t kBlocksExpected = 128;
    blocks_.reserve(kBlocksExpected);
    unused_.reserve(kBlocksExpected);
    at_peak_.reserve(kBlocksExpected);
}

std::uint32_t Heap::take_slot(const Shape& shape, ElementType type, const Label& label) {
    std::uint32_t slot = 0;
    if (unused_.empty()) {
        slot = static_cast<std::uint32_t>(blocks_.size());
        blocks_.emplace_back();
    } else {
        slot = unused_.back();
        unused_.pop_back();
    }
    Block& block = blocks_[slot];
    block.bytes = round_up(shape.elements() * element_bytes(type));
    block.sequence = ++sequence_;
    block.label = label;
    block.shape = shape;
    block.references = 0;
    block.type = type;
    block.apart = false;
    block.input = false;
    block.hidden = false;
    return slot;
}

std::uint32_t Heap::allocate(const Shape& shape, ElementType type, const Label& label) {
    const std::uint32_t slot = take_slot(shape, type, label);
    live_ += blocks_[slot].bytes;
    if (live_ > peak_) {
        peak_ = live_;
        peak_label_ = label;
        at_peak_now_ = true;
    }
    return slot;
}

std::uint32_t Heap::allocate_apart(const Shape& shape, ElementType type, const Label& label) {
    // Made after the peak, it was not there at the peak.
    if (at_peak_now_) {
        snapshot();
        at_peak_now_ = false;
    }
    const std::uint32_t slot = take_slot(shape, type, label);
    blocks_[slot].apart = true;
    return slot;
}

std::uint32_t Heap::adopt_input(const Shape& shape, ElementType type) {
    const std::uint32_t slot = allocate_apart(shape, type, Label{"input", nullptr, {}});
    blocks_[slot].input = true;
    input_ += blocks_[slot].bytes;
    return slot;
}

void Heap::free(std::uint32_t slot) {
    if (at_peak_now_) {
        snapshot();
        at_peak_now_ = false;
    }
    Block& block = blocks_[slot];
    if (!block.apart) live_ -= block.bytes;
    block.sequence = 0;
    unused_.push_back(slot);
}

void Heap::snapshot() {
    at_peak_.clear();
    // The block being freed was live at the peak too: free() marks its slot unused only afterwards.
    for (const Block& block : blocks_) {
        if (block.sequence != 0) at_peak_.push_back(block);
    }
}

std::vector<Block> Heap::blocks_at_peak() {
    if (at_peak_now_) snapshot();
    at_peak_now_ = false;
    std::vector<Block> blocks = at_peak_;
    std::sort(blocks.begin(), blocks.end(),
              [](const Block& a, const Block& b) { return a.sequence < b.sequence; });
    return blocks;
}

}  // namespace plimsoll::memory::ghost
