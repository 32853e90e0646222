// SPDX-License-Identifier: Apache-2.0
//
// NIQE (Mittal, Soundararajan, Bovik 2013) without a model of foreign photographs: how far the
// local statistics of a picture lie from those of the run's own reference pictures. Anime and
// paintings are judged by their own kind that way.
#pragma once
#include "base/error.h"
#include "quality/image.h"

#include <array>
#include <span>
#include <vector>

namespace plimsoll::quality {

inline constexpr int kNiqeFeatures = 36;  // 18 at each of two scales
inline constexpr int kNiqeBlock = 96;     // pixels a side, from the paper
inline constexpr int kNiqeSideLeast = 2 * kNiqeBlock;
using NiqeFeatures = std::array<double, kNiqeFeatures>;

// What a picture's blocks are like. Blocks without any variation have no statistics and are left
// out.
struct NiqeSample {
    std::vector<NiqeFeatures> blocks;
    std::vector<double> sharpness;  // mean local deviation of each
};
[[nodiscard]] NiqeSample sample_niqe(const Plane& whole_luma);

// A normal distribution of features.
struct NiqeModel {
    NiqeFeatures mean{};
    std::vector<double> covariance;  // 36 x 36
    std::size_t blocks = 0;          // that it was fitted to
};

// Two blocks a feature: the least that a covariance says something with (chosen; the reference's
// test had 800).
inline constexpr std::size_t kNiqeBlocksLeast = std::size_t{2} * kNiqeFeatures;

// From the sharper blocks of every picture: those above half of its sharpest one. InvalidInput when
// too few are left.
[[nodiscard]] Result<NiqeModel> fit_niqe(std::span<const NiqeSample> references);

// The distance from the model, 0 upwards. A picture that is nothing like the references is far
// away, but how far means little: its own spread of blocks is a part of the measure. InvalidInput
// for a picture of under two usable blocks.
[[nodiscard]] Result<double> niqe(const NiqeModel& model, const NiqeSample& sample);

}  // namespace plimsoll::quality
