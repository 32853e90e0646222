// SPDX-License-Identifier: Apache-2.0
//
// Ghost tensors: shape and element type without contents, on reference-counted blocks of a
// simulated heap. A Tensor lives and dies as a Python variable does: copies share the block, the
// last one frees it.
//
// Threads: a Heap and its Tensors belong to one walk, hence to one thread.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::memory::ghost {

// The first five in the order of ComputeType. Opaque: bytes without a type (temporaries of a
// kernel).
enum class ElementType : std::uint8_t {
    Float32,
    Float16,
    BFloat16,
    Float8E4M3,
    Float8E5M2,
    Int64,
    Float64,
    Complex64,
    Complex128,
    Bool,
    Int32,
    Opaque
};
[[nodiscard]] constexpr std::int64_t element_bytes(ElementType type) {
    constexpr std::array<std::int64_t, 12> kBytes = {4, 2, 2, 1, 1, 8, 8, 8, 16, 1, 4, 1};
    return kBytes[static_cast<std::size_t>(type)];
}
[[nodiscard]] std::string_view element_name(
    ElementType type);  // "fp32", "fp16", "bf16", ..., "i64", "None"

// Up to eight dimensions, outermost first, as PyTorch prints them.
class Shape {
  public:
    static constexpr std::size_t kRankMax = 8;

    Shape() = default;
    Shape(std::initializer_list<std::int64_t> dims) {
        for (const std::int64_t dim : dims) dims_[rank_++] = dim;
    }
    [[nodiscard]] std::int64_t operator[](std::size_t i) const { return dims_[i]; }
    [[nodiscard]] Shape with(std::size_t i, std::int64_t dim) const {
        Shape changed = *this;
        changed.dims_[i] = dim;
        return changed;
    }
    [[nodiscard]] Shape with_last(std::int64_t dim) const { return with(rank_ - 1U, dim); }
    [[nodiscard]] std::size_t rank() const { return rank_; }
    [[nodiscard]] std::int64_t last() const { return dims_[rank_ - 1U]; }
    [[nodiscard]] std::int64_t elements() const {
        std::int64_t n = 1;
        for (std::size_t i = 0; i < rank_; ++i) n *= dims_[i];
        return n;
    }
    [[nodiscard]] std::vector<std::int64_t> dims() const {
        return {dims_.begin(), dims_.begin() + rank_};
    }

  private:
    std::array<std::int64_t, kRankMax> dims_{};
    std::uint8_t rank_ = 0;
};

// Who made a block: the operation, and the module whose forward it ran in. `scope` stands before
// the module's own path.
struct Label {
    std::string_view op;
    const std::string* module = nullptr;
    std::string_view scope;

    [[nodiscard]] std::string module_path() const;
};

struct Block {
    std::int64_t bytes = 0;
    std::uint64_t sequence = 0;  // order of allocation
    Label label;
    Shape shape;
    std::int32_t references = 0;
    ElementType type = ElementType::Float32;
    bool apart = false;   // the caller's, or a weight copy: listed, but not part of the peak
    bool input = false;   // the caller's
    bool hidden = false;  // a kernel's own temporary: part of the peak, but not listed
};

// Counts live bytes, keeps the high-water mark and what was live at that moment.
class Heap {
  public:
    // The CUDA caching allocator rounds each block up to this (kMinBlockSize of PyTorch's
    // CUDACachingAllocator).
    static constexpr std::int64_t kGranularity = 512;
    [[nodiscard]] static constexpr std::int64_t round_up(std::int64_t bytes) {
        return (bytes + kGranularity - 1) / kGranularity * kGranularity;
    }

    Heap();

    [[nodiscard]] std::uint32_t allocate(const Shape& shape, ElementType type, const Label& label);
    // A block that is listed among the live ones, but counts as no live bytes.
    [[nodiscard]] std::uint32_t allocate_apart(const Shape& shape, ElementType type,
                                               const Label& label);
    [[nodiscard]] std::uint32_t adopt_input(const Shape& shape, ElementType type);
    void retain(std::uint32_t slot) { ++blocks_[slot].references; }
    void release(std::uint32_t slot) {
        if (--blocks_[slot].references == 0) free(slot);
    }
    void hide(std::uint32_t slot) { blocks_[slot].hidden = true; }

    [[nodiscard]] std::int64_t live_bytes() const { return live_; }
    [[nodiscard]] std::int64_t peak_bytes() const { return peak_; }
    [[nodiscard]] std::int64_t input_bytes() const { return input_; }
    [[nodiscard]] const Label& peak_label() const { return peak_label_; }
    // Live blocks at the peak in order of allocation; inputs first.
    [[nodiscard]] std::vector<Block> blocks_at_peak();

  private:
    [[nodiscard]] std::uint32_t take_slot(const Shape& shape, ElementType type, const Label& label);
    void free(std::uint32_t slot);
    void snapshot();

    std::vector<Block> blocks_;
    std::vector<std::uint32_t> unused_;
    std::vector<Block> at_peak_;
    Label peak_label_;
    std::int64_t live_ = 0;
    std::int64_t peak_ = 0;
    std::int64_t input_ = 0;
    std::uint64_t sequence_ = 0;
    bool at_peak_now_ = false;  // nothing was freed since the peak was reached
};

class Tensor {
  public:
    Tensor() = default;
    Tensor(Heap& heap, std::uint32_t slot, const Shape& shape, ElementType type)
        : heap_(&heap), slot_(slot), type_(type), shape_(shape) {
        heap_->retain(slot_);
    }
    Tensor(const Tensor& o) : heap_(o.heap_), slot_(o.slot_), type_(o.type_), shape_(o.shape_) {
        if (heap_ != nullptr) heap_->retain(slot_);
    }
    Tensor(Tensor&& o) noexcept
        : heap_(std::exchange(o.heap_, nullptr)),
          slot_(o.slot_),
          type_(o.type_),
          shape_(o.shape_) {}
    Tensor& operator=(Tensor o) noexcept {
        std::swap(heap_, o.heap_);
        std::swap(slot_, o.slot_);
        std::swap(type_, o.type_);
        std::swap(shape_, o.shape_);
        return *this;
    }
    ~Tensor() {
        if (heap_ != nullptr) heap_->release(slot_);
    }

    [[nodiscard]] bool defined() const { return heap_ != nullptr; }
    [[nodiscard]] const Shape& shape() const { return shape_; }
    [[nodiscard]] ElementType type() const { return type_; }
    [[nodiscard]] std::int64_t elements() const { return shape_.elements(); }
    [[nodiscard]] std::int64_t bytes() const { return elements() * element_bytes(type_); }
    // The same storage seen in another shape; no operation, no memory.
    [[nodiscard]] Tensor view(const Shape& shape) const { return {*heap_, slot_, shape, type_}; }
    [[nodiscard]] std::uint32_t slot() const { return slot_; }

  private:
    Heap* heap_ = nullptr;
    std::uint32_t slot_ = 0;
    ElementType type_ = ElementType::Float32;
    Shape shape_;
};

}  // namespace plimsoll::memory::ghost
