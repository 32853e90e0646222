// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae.h"

#include "base/check.h"

#include <cmath>

namespace plimsoll::memory {

namespace {
// 17 n + 5 frames of MiniMax's are 5 n + 2 latent ones: each clip's last three latent frames are
// the next one's first, and the last clip's are dropped.
constexpr std::int64_t kClipLatentsLast = 2;
constexpr std::int64_t kClipFramesLast = 5;
}  // namespace

std::int64_t VaeGrid::pixel_frames(std::int64_t latents) const {
    if (clip_frames == 0) return (latents - 1) * frames_per_cell + 1;
    if (latents <= 1) return 1;
    return (latents - kClipLatentsLast) / clip_latents * clip_frames + kClipFramesLast;
}

std::int64_t VaeGrid::latent_frames(std::int64_t frames) const {
    if (clip_frames == 0) return (frames - 1) / frames_per_cell + 1;
    if (frames <= 1) return 1;
    const std::int64_t clips = (frames + clip_frames - 1) / clip_frames;
    return clips * clip_latents - (clip_latents - kClipLatentsLast);
}

std::int64_t VaeGrid::coded_frames(std::int64_t frames) const {
    return clip_frames == 0 ? pixel_frames(latent_frames(frames)) : frames;
}

std::int64_t SoundGrid::given_per_latent() const {
    if (given_per_second == 0) return samples_per_latent;
    return std::int64_t{samples_per_latent} * given_per_second / samples_per_second;
}

double SoundGrid::latents_of(double seconds) const {
    const double rate = given_per_second == 0 ? samples_per_second : given_per_second;
    const double samples = std::floor(std::floor(seconds * rate) / given_multiple) * given_multiple;
    const double latents = std::floor(samples / static_cast<double>(given_per_latent()));
    return first_alone ? latents + 1 : latents;
}

Walk Vae::simulate_encode(const VaeCall& /*call*/) const {
    CHECK(encodes());  // then it has its own
    return {};
}

}  // namespace plimsoll::memory
