// SPDX-License-Identifier: Apache-2.0
//
// Attention of every cell of a video to the cells around it (Hassani et al. 2023, NATTEN), and the
// blocks that are made of it. All in place, some frames at a time.
#pragma once
#include "memory/networks/conv3d.h"

#include <array>
#include <functional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// How PyTorch's own operations compute it: queries in tiles, each with the keys that any of its
// queries sees; tiles of the same geometry share a mask.
struct NeighborhoodGroup {
    std::int64_t tiles = 0;
    std::int64_t queries = 0;
    std::int64_t keys = 0;
};
[[nodiscard]] std::vector<NeighborhoodGroup> neighborhood_groups(const Extent3& grid,
                                                                 const Extent3& window);

// What is done to a slice before it is used: a norm, modulated or not.
using Prepare = std::function<Tensor(const Tensor&)>;

class NeighborhoodAttention {
  public:
    NeighborhoodAttention(Registry& registry, std::string_view path, std::int64_t width,
                          std::int64_t head_dim, const Extent3& window);
    // Adds to `x`, [1, T, H, W, width].
    void forward(Tape& tape, const Tensor& x, const Prepare& prepare) const;

  private:
    struct Frequencies {
        std::vector<Tensor> steps;
        std::vector<Tensor> waves;
    };
    [[nodiscard]] Frequencies frequencies(Tape& tape, const Extent3& grid) const;
    [[nodiscard]] Tensor rotations(Tape& tape, const Extent3& grid, std::int64_t frames) const;
    [[nodiscard]] Tensor normed_and_rotated(Tape& tape, const Tensor& x,
                                            const Tensor& rotation) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& q, const Extent3& grid) const;

    Module path_;
    std::int64_t width_;
    std::int64_t head_dim_;
    Extent3 window_;
    std::array<std::int64_t, 3> pairs_;  // rotated with frames, rows, columns
    Linear qkv_;
    Linear proj_;
    RmsNorm q_norm_;
    RmsNorm k_norm_;
};

class NeighborhoodMlp {
  public:
    NeighborhoodMlp(Registry& registry, std::string_view path, std::int64_t width);
    void forward(Tape& tape, const Tensor& x, const Prepare& prepare) const;

  private:
    Module path_;
    Linear up_;
    Linear gate_;
    Linear down_;
};

// What the recorders count for a copy into a part of a tensor: the source, and the part as both
// read and written.
inline constexpr std::int64_t kCopyIntoTraffic = 3;

// Frames of [1, T, H, W, C]: a view.
[[nodiscard]] Tensor cell_frames(const Tensor& x, std::int64_t frames);
// As many frames as hold a number of tokens; at least one.
[[nodiscard]] std::int64_t frames_together(const Tensor& x);
// x[...] += update: the sum in place, and then written once more to where it is.
void add_to_slice(Tape& tape, Module module, const Tensor& x, const Tensor& update);

}  // namespace plimsoll::memory
