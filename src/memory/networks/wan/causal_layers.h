// SPDX-License-Identifier: Apache-2.0
//
// The layers of Wan's VAEs (Alibaba 2025). A video is coded in chunks of frames; every convolution
// over time sees the last two frames that it saw before, kept in a cache.
#pragma once
#include "memory/networks/conv3d.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// [N, C, T, H, W]. Strided: laid out frame by frame, as a convolution over images left it.
struct WanFrames {
    Tensor values;
    bool strided = false;
};

// The frames that each cached layer saw last, in the order in which the layers run.
struct WanCache {
    struct Slot {
        Tensor frames;
        bool seen = false;  // an upsampling layer passed the first chunk without its convolution
    };
    bool copies = true;       // rather than keeping what the layers were given alive
    bool last_chunk = false;  // single frames wait for a second one, unless none follows
    std::vector<Slot> slots;
    std::size_t next = 0;

    [[nodiscard]] Slot& take() {
        if (next == slots.size()) slots.emplace_back();
        return slots[next++];
    }
};

// A convolution that looks back in time only.
class CausalConv3d {
  public:
    CausalConv3d(Registry& registry, Module path, std::int64_t in, std::int64_t out,
                 const Conv3dShape& shape);
    // `before`: cached frames, or undefined. Takes them: they are let go once they were read.
    [[nodiscard]] Tensor forward(Tape& tape, const WanFrames& x, Tensor before = {}) const;

  private:
    [[nodiscard]] Tensor forward_padded(Tape& tape, const WanFrames& x, Tensor before) const;
    [[nodiscard]] Tensor forward_joined(Tape& tape, const WanFrames& x, Tensor before) const;

    Module path_;
    Conv3dShape shape_;
    Conv3d conv_;
    std::int64_t look_back_;
};

// Over the channels.
class WanRmsNorm {
  public:
    WanRmsNorm(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t channels_;
};

// Whether cached frames live on through the convolution, or are handed to it to let go.
enum class CachedFrames : std::uint8_t { Held, HandedOver };
// `conv` on `x` with its cached frames, which `x` then replaces. `owner` runs the bookkeeping.
void convolve_cached(Tape& tape, Module owner, const CausalConv3d& conv, WanFrames& x,
                     WanCache* cache, CachedFrames use = CachedFrames::Held);

class WanResidual {
  public:
    WanResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] WanFrames forward(Tape& tape, const WanFrames& x, WanCache* cache) const;

  private:
    Module path_;
    WanRmsNorm norm1_;
    Module silu1_;
    CausalConv3d conv1_;
    WanRmsNorm norm2_;
    Module silu2_;
    CausalConv3d conv2_;
    std::optional<CausalConv3d> shortcut_;
};

enum class WanResampling : std::uint8_t { Up2d, Up3d, Down2d, Down3d };

class WanResample {
  public:
    WanResample(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                WanResampling mode);
    // Without values where frames wait for the next chunk.
    [[nodiscard]] WanFrames forward(Tape& tape, WanFrames x, WanCache* cache) const;

  private:
    void double_frames(Tape& tape, WanFrames& x, WanCache& cache) const;
    void halve_frames(Tape& tape, WanFrames& x, WanCache& cache) const;
    void pair_frames(Tape& tape, WanFrames& x, WanCache& cache, WanCache::Slot& waiting) const;
    [[nodiscard]] Tensor resample(Tape& tape, const Tensor& images, bool strided) const;

    Module path_;
    WanResampling mode_;
    Module resample_path_;
    Conv2d conv_;
    std::optional<CausalConv3d> time_conv_;
};

class WanVaeAttention {
  public:
    WanVaeAttention(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] WanFrames forward(Tape& tape, const WanFrames& x) const;

  private:
    Module path_;
    WanRmsNorm norm_;
    Conv2d to_qkv_;
    Conv2d proj_;
};

}  // namespace plimsoll::memory
