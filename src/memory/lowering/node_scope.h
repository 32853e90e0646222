// SPDX-License-Identifier: Apache-2.0
//
// NodeScope: the node at hand as a verb sees it: its inputs as values, and where its step goes.
// A verb that lacks something says why; the first reason becomes the step's.
#pragma once
#include "memory/lowering/values.h"
#include "memory/program.h"
#include "workflow/expression.h"
#include "workflow/graph.h"
#include "workflow/node_catalogue.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

using Values = std::vector<Value>;  // by output slot; one stands for all

class NodeScope {
  public:
    // `value_of`: what a link carries, nullptr where it dangles.
    using Resolver = std::function<const Value*(const workflow::Link&)>;

    NodeScope(const workflow::Node& node, const workflow::NodeKind* kind, const Resolver& value_of,
              std::uint64_t signature, Program& program, std::size_t& text_budget)
        : node_(node),
          kind_(kind),
          value_of_(value_of),
          signature_(signature),
          program_(program),
          text_budget_(text_budget) {}

    [[nodiscard]] const workflow::Node& node() const { return node_; }
    // Only of nodes that the catalogue has.
    [[nodiscard]] const workflow::NodeKind& kind() const { return *kind_; }
    [[nodiscard]] std::uint64_t signature() const { return signature_; }
    [[nodiscard]] Program& program() { return program_; }
    [[nodiscard]] const Program& program() const { return program_; }

    // What comes in on an input, of any kind; Nothing where there is nothing.
    [[nodiscard]] Value any(std::string_view input) const;
    // A value of one kind; nullptr where there is none.
    template <class T>
    [[nodiscard]] const T* look(std::string_view input);
    // The same, and why.
    template <class T>
    [[nodiscard]] const T* get(std::string_view input);
    // The pixels of an image, a mask or a video.
    [[nodiscard]] const ImageShape* look_pixels(std::string_view input);
    [[nodiscard]] bool is_linked(std::string_view input) const {
        return node_.link_of(input) != nullptr;
    }
    // A literal, or what another node holds.
    [[nodiscard]] std::optional<double> number(std::string_view input) const;
    [[nodiscard]] std::optional<std::string> text(std::string_view input) const;
    // A number that must be known, clamped; nullopt says why.
    [[nodiscard]] std::optional<int> count(std::string_view input, int low, int high);

    // What an expression of the catalogue or of the node comes to; nullopt says why. Names are
    // inputs ("width"), or what a value that comes in has ("image.height", "sigmas.steps",
    // "vae.linked"); `prefix` is put before them ("values.": a is the input values.a).
    [[nodiscard]] std::optional<workflow::Scalar> evaluate(std::string_view expression,
                                                           std::string_view prefix = {});
    [[nodiscard]] std::optional<double> evaluate_number(std::string_view expression);
    // Clamped, cut to a whole number.
    [[nodiscard]] std::optional<int> evaluate_count(std::string_view expression, int low, int high);
    // While it stands, `pixels` in expressions is this input.
    void bind_pixels(std::string_view input) { pixels_ = input; }
    // The inputs that `name` means: itself, or all that begin with it ("images.").
    [[nodiscard]] std::vector<std::string_view> inputs_of(std::string_view name) const;

    // What the node's own VAE step made last.
    [[nodiscard]] std::optional<LatentShape>& encoded() { return encoded_; }

    void missing(Phrase why);
    void forgive() { why_ = Phrase(); }
    [[nodiscard]] const Phrase& why() const { return why_; }
    void note(Phrase phrase);  // once

    void step(decltype(Step::what) what);
    // A step that memory cares about but that is not understood, and what comes out of it.
    [[nodiscard]] Value unknown_step();
    // No step of its own, and an output that is not understood.
    [[nodiscard]] Value nothing() const { return {Nothing{why_}}; }

  private:
    [[nodiscard]] const Value* linked(std::string_view input) const;
    void explain_absence(std::string_view input, const Value* value);
    [[nodiscard]] std::optional<workflow::Scalar> look_up(std::string_view name);
    [[nodiscard]] bool names_t2i_adapter(ModelIndex index) const;
    [[nodiscard]] std::optional<double> attribute(std::string_view input, std::string_view what);
    // False where texts are handed on more often than any prompt is.
    [[nodiscard]] bool afford(const std::string& text) const;
    [[nodiscard]] std::optional<double> total_batch(std::string_view input);

    const workflow::Node& node_;
    const workflow::NodeKind* kind_;
    const Resolver& value_of_;
    std::uint64_t signature_;
    Program& program_;
    std::size_t& text_budget_;
    Phrase why_;
    Phrases notes_;
    std::string_view pixels_ = "pixels";
    std::optional<LatentShape> encoded_;
    std::uint64_t steps_ = 0;  // written so far
};

[[nodiscard]] Phrase handed_on_words(const Phrase& why, std::string_view input);

// The value of a kind that an unknown node must have handed on: the only one it was given.
template <class T>
const T* handed_on(const PassedOn& through) {
    if (through.crowded) return nullptr;
    const T* only = nullptr;
    for (const auto& value : through.inputs) {
        const T* found = std::get_if<T>(&value->what);
        if (found == nullptr) continue;
        if (only != nullptr) return nullptr;
        only = found;
    }
    return only;
}

template <class T>
const T* NodeScope::look(std::string_view input) {
    const Value* value = linked(input);
    if (value == nullptr) return nullptr;
    if (const T* found = std::get_if<T>(&value->what)) return found;
    const auto* through = std::get_if<PassedOn>(&value->what);
    const T* found = through == nullptr ? nullptr : handed_on<T>(*through);
    if (found != nullptr) note(handed_on_words(through->why, input));
    return found;
}

template <class T>
const T* NodeScope::get(std::string_view input) {
    const T* found = look<T>(input);
    if (found == nullptr) explain_absence(input, linked(input));
    return found;
}

// FNV-1a, for signatures: what ComfyUI's cache compares.
inline constexpr std::uint64_t kHashStart = 0xCBF29CE484222325ULL;
[[nodiscard]] std::uint64_t hash_text(std::uint64_t hash, std::string_view text);
[[nodiscard]] std::uint64_t hash_number(std::uint64_t hash, std::uint64_t number);

// `value` as a whole number in a range; NaN is the lowest.
[[nodiscard]] int clamped(double value, int low, int high);

inline constexpr int kSideMax = 1 << 16;   // pixels: far above what ComfyUI's own nodes accept
inline constexpr int kBatchMax = 1 << 14;  // ComfyUI's empty latents stop at 4096
// Bytes of texts that the nodes of a graph may read from each other: a graph that hands a long one
// through thousands of nodes would take seconds. Chosen: a hundred long prompts.
inline constexpr std::size_t kTextBudget = 8U << 20U;

inline constexpr int kFramesMax = 1 << 14;  // ComfyUI's empty videos stop at 16384

}  // namespace plimsoll::memory
