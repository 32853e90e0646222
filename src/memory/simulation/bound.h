// SPDX-License-Identifier: Apache-2.0
//
// Bounds for networks that nobody walked: what the tensors of a file say about what computing with
// it may take. Every layer's result lies between nothing and `positions` rows as wide as the widest
// layer; how many of those live at once is measured on the networks that are known (bound_test.cpp
// holds it against every recorded walk).
#pragma once
#include "base/phrase.h"
#include "base/units.h"
#include "modelfile/outline.h"

#include <cstdint>
#include <string>

namespace plimsoll::memory {

struct ActivationBound {
    Bytes lower;    // one weight and what goes in and out: no forward does with less
    Bytes upper;    // tensors of a forward and copies of weights, with kernels whose attention
                    // takes memory by the length, not its square
    Phrase reason;  // for people: what it is made of
};

// Of a sampled latent: all conditions in one forward.
struct BoundedStep {
    std::int64_t batch = 1;  // latents in the forward
    std::int64_t cells = 0;  // of one latent, those of reference images included
    std::int64_t channels = 0;
    std::int64_t tokens = 0;         // of text, of one condition
    std::int64_t element_bytes = 2;  // of the type it computes in
};
[[nodiscard]] ActivationBound bound_step(const modelfile::Outline& outline,
                                         const BoundedStep& step);

// Of a text: language models keep every layer's result.
struct BoundedText {
    std::int64_t rows = 1;
    std::int64_t tokens = 77;
};
[[nodiscard]] ActivationBound bound_text(const modelfile::Outline& outline,
                                         const BoundedText& text);

// Between latents and pixels, in either direction.
struct BoundedPixels {
    std::int64_t images = 1;  // or frames, all at once
    std::int64_t pixels = 0;  // of one
    std::int64_t element_bytes = 2;
    bool attention_by_square = false;  // the server's attention takes the square of its length
};
[[nodiscard]] ActivationBound bound_pixels(const modelfile::Outline& outline,
                                           const BoundedPixels& pixels);

}  // namespace plimsoll::memory
