// SPDX-License-Identifier: Apache-2.0
//
// The layers of Hunyuan's VAEs (Tencent 2024, 2025), for images and for videos. Since ComfyUI
// 0.33.0 a video passes them in chunks of frames; each convolution over time hands the last two
// frames that it saw on to the next chunk.
#pragma once
#include "memory/networks/conv3d.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::memory {

// Of [N, C, H, W]; of [N, C, T, H, W], padded by zeros on all sides; the same looking back in time
// only, padded by copies of the border.
enum class ConvKind : std::uint8_t { Image, Video, Causal };
enum class NormKind : std::uint8_t { Group, ChannelRms };

struct VaeStyle {
    ConvKind conv = ConvKind::Image;
    NormKind norm = NormKind::Group;
};

// Frames on their way from one chunk to the next, in the order in which the layers run.
struct FrameCarry {
    std::deque<Tensor> before;
    std::deque<Tensor> after;
    bool first = true;
    bool last = true;
    bool strided = false;  // the chunk is a view of more frames, which some kernels copy

    void start_chunk(std::size_t index, std::size_t chunks, bool part) {
        before.swap(after);
        after.clear();
        first = index == 0;
        last = index + 1 == chunks;
        strided = part;
    }
    // Whether what the first layer is given is strided; later ones are given its result.
    [[nodiscard]] bool take_strided() { return std::exchange(strided, false); }
};

class VaeConv {
  public:
    struct Form {
        std::int64_t kernel = 3;
        Extent3 stride = {};
    };
    VaeConv(Registry& registry, Module path, std::int64_t in, std::int64_t out, ConvKind kind,
            const Form& form);
    VaeConv(Registry& registry, Module path, std::int64_t in, std::int64_t out, ConvKind kind)
        : VaeConv(registry, path, in, out, kind, Form{}) {}
    // Takes the caller's variable, which is let go as soon as its padded copy is there. `owner`:
    // whose forward pads.
    [[nodiscard]] Tensor forward(Tape& tape, Module owner, Tensor x, FrameCarry* carry) const;

  private:
    [[nodiscard]] Tensor pad(Tape& tape, Module module, const Tensor& x, std::int64_t frames) const;

    Module path_;
    Form form_;
    ConvKind kind_;
    std::optional<Conv2d> image_;
    std::optional<Conv3d> video_;
};

// Over the channels: groups of them, or the root mean square of all.
class VaeNorm {
  public:
    VaeNorm(Registry& registry, Module path, std::int64_t channels, NormKind kind);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, FrameCarry* carry = nullptr) const;

  private:
    Module path_;
    std::int64_t channels_;
    std::optional<GroupNorm> group_;
};

// Whether a block has weights for a timestep, which a VAE does not have: kept, never run.
enum class TimeWeights : std::uint8_t { No, Yes };

class VaeResidual {
  public:
    VaeResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                const VaeStyle& style, TimeWeights time = TimeWeights::No);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, FrameCarry* carry) const;

  private:
    Module path_;
    Module act_;
    VaeNorm norm1_;
    VaeConv conv1_;
    std::optional<Linear> time_;
    VaeNorm norm2_;
    VaeConv conv2_;
    std::optional<VaeConv> shortcut_;
};

// One head over all cells of all frames.
class VaeSelfAttention {
  public:
    VaeSelfAttention(Registry& registry, std::string_view path, std::int64_t channels,
                     const VaeStyle& style);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Module out_path_;
    VaeNorm norm_;
    VaeConv q_;
    VaeConv k_;
    VaeConv v_;
    VaeConv out_;
};

class VideoVaeMiddle {
  public:
    VideoVaeMiddle(Registry& registry, std::string_view path, std::int64_t channels,
                   const VaeStyle& style, TimeWeights time = TimeWeights::No);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    VaeResidual block_1_;
    VaeSelfAttention attn_1_;
    VaeResidual block_2_;
};

// A kernel's own copy of an input that it wants contiguous; undefined where it need not copy.
// Recorders that list kernels' temporaries count it as a kernel of its own.
[[nodiscard]] Tensor copy_strided(Tape& tape, std::string_view op, Module module, const Tensor& x,
                                  bool strided);
// Frames of a longer tensor: a view.
[[nodiscard]] inline Tensor frames_view(const Tensor& x, std::int64_t frames) {
    return x.view(x.shape().with(2, frames));
}
// The chunks' results one after the other; a single one as it is.
[[nodiscard]] Tensor join_chunks(Tape& tape, Module module, std::vector<Tensor> chunks);
// The mean of a Gaussian posterior; its deviation and variance are computed even where only the
// mean is used.
[[nodiscard]] Tensor posterior_mean(Tape& tape, Module module, const Tensor& moments);

}  // namespace plimsoll::memory
