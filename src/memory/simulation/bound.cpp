// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/bound.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory {
namespace {

using modelfile::Outline;

// Rows as wide as the widest layer that live at once. Of all recorded walks none has more than 5.6
// of a step (HunyuanDiT at 1536 x 1536), 2.8 of pixels without squared attention (HunyuanVideo's
// VAE) and, hidden states and weights apart, 3 of a text; chosen above them.
constexpr double kWidestAtOnce = 8;
// Copies of one weight in the type it computes in: the one that is multiplied with, and the next.
constexpr std::int64_t kCopiesAtOnce = 2;
constexpr std::int64_t kFloatBytes = 4;
constexpr double kBytesMax = 1e15;  // a petabyte: sizes from outside end here

Bytes to_bytes(double bytes) {
    return Bytes(static_cast<std::int64_t>(std::clamp(bytes, 0.0, kBytesMax)));
}

double rows_of_widest(const Outline& outline, double positions, std::int64_t element_bytes) {
    return kWidestAtOnce * positions * static_cast<double>(outline.widest) *
           static_cast<double>(element_bytes);
}

double copies(const Outline& outline, std::int64_t element_bytes) {
    return static_cast<double>(outline.largest_matrix) *
           static_cast<double>(kCopiesAtOnce * element_bytes);
}

// Side of the squares of cells that become a token; 1 where nothing says that cells are cut.
std::int64_t patch_side(const Outline& outline, std::int64_t channels) {
    constexpr std::int64_t kSide = 2;  // of every known network that cuts its latent, at least
    bool cuts = false;
    for (const Outline::Reader& reader : outline.readers) {
        // Something takes cells one by one.
        if (reader.kernel == 1 && reader.channels == channels) return 1;
        if (reader.kernel % kSide == 1 && reader.kernel > 1 && reader.channels == channels)
            return 1;
        cuts = cuts || (reader.kernel == kSide && reader.channels >= channels) ||
               (reader.kernel == 1 && reader.channels == channels * kSide * kSide);
    }
    return channels > 0 && cuts ? kSide : 1;
}

}  // namespace

ActivationBound bound_step(const Outline& outline, const BoundedStep& step) {
    const std::int64_t side = patch_side(outline, step.channels);
    const auto batch = static_cast<double>(step.batch);
    const auto cells = static_cast<double>(step.cells);
    const double positions =
        batch * (cells / static_cast<double>(side * side) + static_cast<double>(step.tokens));
    const double latents = cells * static_cast<double>(std::max<std::int64_t>(1, step.channels));
    // Latents in fp32 go in and out, and are joined and scaled on the way.
    constexpr double kLatentsAtOnce = 8;
    ActivationBound bound;
    bound.lower = outline.largest_tensor + to_bytes(latents * 2 * kFloatBytes);
    bound.upper = to_bytes(rows_of_widest(outline, positions, step.element_bytes) +
                           copies(outline, step.element_bytes) +
                           kLatentsAtOnce * batch * latents * kFloatBytes);
    bound.reason = say<"bound.step">(
        outline.largest_tensor, kWidestAtOnce, std::llround(positions), step.cells,
        side > 1 ? Phrases{say<"bound.squares">(side, side)} : Phrases{}, step.tokens, step.batch,
        outline.widest);
    return bound;
}

ActivationBound bound_text(const Outline& outline, const BoundedText& text) {
    const auto rows = static_cast<double>(text.rows);
    const auto tokens = static_cast<double>(text.tokens);
    // ComfyUI runs text encoders in fp32 where they are stored in less.
    const double kept =
        2 * rows * tokens * static_cast<double>(outline.depth * outline.stream * kFloatBytes);
    // Masks and T5's table of distances: of every head, and none has more.
    constexpr double kHeads = 64;
    const double masks = kHeads * rows * tokens * tokens * kFloatBytes;
    ActivationBound bound;
    bound.lower = outline.largest_tensor;
    bound.upper = to_bytes(rows_of_widest(outline, rows * tokens, kFloatBytes) + kept + masks +
                           copies(outline, kFloatBytes));
    bound.reason = say<"bound.text">(outline.largest_tensor, kWidestAtOnce, text.rows * text.tokens,
                                     outline.widest, outline.depth);
    return bound;
}

ActivationBound bound_pixels(const Outline& outline, const BoundedPixels& pixels) {
    const double positions =
        static_cast<double>(pixels.images) * static_cast<double>(pixels.pixels);
    constexpr double kColours = 3;
    ActivationBound bound;
    bound.lower = outline.largest_tensor + to_bytes(static_cast<double>(pixels.pixels) * kColours *
                                                    static_cast<double>(pixels.element_bytes));
    double upper = rows_of_widest(outline, positions, pixels.element_bytes) +
                   copies(outline, pixels.element_bytes);
    if (pixels.attention_by_square) {
        // Of latents with 8 x 8 pixels to a cell, as most have them; weights, scores and what they
        // are made of.
        constexpr double kPixelsOfCell = 64;
        constexpr double kScoresAtOnce = 3;
        const double cells = static_cast<double>(pixels.pixels) / kPixelsOfCell;
        upper += kScoresAtOnce * static_cast<double>(pixels.images) * cells * cells *
                 static_cast<double>(pixels.element_bytes);
    }
    bound.upper = to_bytes(upper);
    bound.reason = say<"bound.pixels">(outline.largest_tensor, kWidestAtOnce, pixels.images,
                                       pixels.pixels, outline.widest);
    return bound;
}

}  // namespace plimsoll::memory
