// SPDX-License-Identifier: Apache-2.0
//
// Tape: one walk over a network. It owns the heap, adds up what the operations cost and knows the
// types weights are stored and computed in.
#pragma once
#include "memory/ghost/tensor.h"
#include "memory/ops.h"

#include <functional>

namespace plimsoll::memory::ghost {

// 2 x MACs of a job as large as an attacker likes: the product, or the largest number where it does
// not fit.
[[nodiscard]] std::int64_t saturating_product(std::initializer_list<std::int64_t> factors);

// One operation as an observer sees it, after it ran: for comparing a walk with a recorded one.
struct OpEvent {
    Label label;
    std::int64_t live_bytes = 0;
    std::int64_t bytes_moved = 0;
};

// What differs between the ways the same forward is run or accounted.
struct TapeOptions {
    ElementType storage = ElementType::Float16;  // of weights
    ElementType compute = ElementType::Float16;  // of activations
    // Weight copies in compute type are ordinary blocks rather than counted apart, kernels'
    // temporaries are listed, and bytes moved include what a convolution's bias kernel and an
    // attention's mask read.
    bool casts_included = false;
    bool efficient_attention = false;  // the mem-efficient kernel where flash could run too
    bool fused_rms_norm = false;       // one kernel (PyTorch 2.9) instead of seven
    bool fused_rope = false;           // one kernel for rotary embeddings instead of eight
    int comfyui = 3064;                // version: forwards differ, see ForwardRules
    bool math_attention_in_vae = false;
    const std::function<void(const OpEvent&)>* observer = nullptr;  // outlives the walk
};

class Tape {
  public:
    explicit Tape(const TapeOptions& options) : options_(options) {}
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;

    [[nodiscard]] const TapeOptions& options() const { return options_; }
    [[nodiscard]] ElementType compute() const { return options_.compute; }
    [[nodiscard]] bool casts_weights() const { return options_.storage != options_.compute; }

    [[nodiscard]] Tensor input(const Shape& shape, ElementType type) {
        return {heap_, heap_.adopt_input(shape, type), shape, type};
    }
    [[nodiscard]] Tensor make(const Shape& shape, ElementType type, std::string_view op,
                              const std::string* module) {
        return {heap_, heap_.allocate(shape, type, Label{op, module, scope_}), shape, type};
    }
    // Bytes that a kernel takes for itself while it runs.
    [[nodiscard]] Tensor make_temporary(std::int64_t bytes, std::string_view op,
                                        const std::string* module);
    // A copy of a weight in compute type. Alive as long as the returned Cast.
    class Cast;
    [[nodiscard]] Cast cast_weight(const Shape& shape, const std::string* module);
    // The same for a weight whose stored type is not the network's.
    [[nodiscard]] Cast cast_weight(const Shape& shape, const std::string* module,
                                   ElementType stored);
    // A part of a weight made contiguous, in the type it is stored in. Counted as a cast is.
    [[nodiscard]] Cast clone_weight(const Shape& shape, const std::string* module);

    // Keeps what a module holds on to after its forward, to the end of the walk.
    void keep(Tensor tensor) { kept_.push_back(std::move(tensor)); }

    void charge(OpClass op_class, std::string_view op, const std::string* module,
                std::int64_t flops, std::int64_t bytes_moved, std::int64_t kernels = 1);

    // Scores of an attention that was charged, which the card computes beside the products.
    void charge_scores(std::int64_t scores);

    // What module paths are prefixed with from now on ("diffusion_model").
    void set_scope(std::string_view scope) { scope_ = scope; }
    [[nodiscard]] std::string_view scope() const { return scope_; }

    [[nodiscard]] Heap& heap() { return heap_; }
    [[nodiscard]] const OpCosts& costs() const { return costs_; }
    [[nodiscard]] std::int64_t max_cast_bytes() const { return max_cast_; }

  private:
    friend class Cast;

    [[nodiscard]] Cast copy_weight(const Shape& shape, ElementType from, ElementType to,
                                   std::string_view op, const std::string* module);

    TapeOptions options_;
    Heap heap_;
    std::vector<Tensor> kept_;
    OpCosts costs_;
    std::string_view scope_;
    std::int64_t cast_live_ = 0;
    std::int64_t max_cast_ = 0;
};

class Tape::Cast {
  public:
    Cast() = default;
    Cast(Tape& tape, std::int64_t bytes, Tensor block)
        : tape_(&tape), bytes_(bytes), block_(std::move(block)) {}
    Cast(Cast&& o) noexcept
        : tape_(std::exchange(o.tape_, nullptr)), bytes_(o.bytes_), block_(std::move(o.block_)) {}
    Cast& operator=(Cast&& o) noexcept {
        std::swap(tape_, o.tape_);
        std::swap(bytes_, o.bytes_);
        std::swap(block_, o.block_);
        return *this;
    }
    Cast(const Cast&) = delete;
    Cast& operator=(const Cast&) = delete;
    ~Cast() {
        if (tape_ != nullptr) tape_->cast_live_ -= bytes_;
    }

  private:
    Tape* tape_ = nullptr;
    std::int64_t bytes_ = 0;
    Tensor block_;
};

}  // namespace plimsoll::memory::ghost
