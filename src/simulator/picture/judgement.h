// SPDX-License-Identifier: Apache-2.0
//
// A simulated viewer: how good one picture of a simulated model is, so that a quality lab can be
// judged against the truth behind it. `true_quality` is that truth, in points of 100, over all
// prompts and seeds; `judged_quality` is what looking at the picture of one prompt and seed says.
// The lab is given only the second.
//
// Each model (its seed) has a taste of its own: the CFG that it likes, how well each sampler and
// scheduler suits it, how fast it converges. Each prompt minds each defect more or less than
// others (a face shows noise that foliage hides), each prompt and seed is more or less lucky, and
// a picture of another composition (CFG, size, ancestral noise) draws its luck anew: that is why
// pairs of the same seed tell so much more. Now and then a picture is spoilt by chance.
//
// Nothing is clipped, so that the mean of the judgements is the truth. The constants are chosen:
// against settings that differ by some tens of points, what is left after pairing scatters by 3 to
// 8 points, and what pairing removes by 9.
#pragma once
#include "simulator/picture/quality.h"

#include <cstdint>

namespace plimsoll::simulator {

// 0 to 100, 100: the best that the model can do.
[[nodiscard]] double true_quality(const PictureSettings& settings, std::uint64_t model);

// Of the picture that these settings draw of a prompt and a seed. The same every time.
[[nodiscard]] double judged_quality(const PictureSettings& settings, std::uint64_t model,
                                    std::uint64_t prompt, std::uint64_t seed);

}  // namespace plimsoll::simulator
