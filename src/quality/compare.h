// SPDX-License-Identifier: Apache-2.0
//
// Everything that can be said about a picture, and about a picture beside its reference, in one
// call each. What does not apply gets its reason: too small, of another size, no model.
//
// Leaves through: Scores, Comparison.   Threads: no shared state.
#pragma once
#include "quality/image.h"
#include "quality/natural/brisque.h"
#include "quality/natural/niqe.h"
#include "quality/scores.h"

#include <optional>

namespace plimsoll::quality {

// What measures of one picture may be held against. Everything outlives the call.
struct Models {
    const NiqeModel* niqe = nullptr;        // of the run's references
    const BrisqueModel* brisque = nullptr;  // where the user has OpenCV's file
    // Pixels from one of the VAE's tiles to the next, when the picture was decoded in tiles.
    std::optional<int> tile_stride = std::nullopt;
};

// Measures of Needs::Picture and Needs::Model.
[[nodiscard]] Scores inspect(const Image& image, const Models& models = {});

// Measures of Needs::Pair, and both pictures inspected. Pictures of different sizes have no pair
// measures; each says so.
[[nodiscard]] Comparison compare(const Image& reference, const Image& candidate,
                                 const Models& models = {});

// The candidate in grey with what differs from the reference in red, as bright as HaarPSI minds it.
// Both have one size, at least 2 x 2; the map's sides are even.
[[nodiscard]] Image difference_map(const Image& reference, const Image& candidate);

}  // namespace plimsoll::quality
