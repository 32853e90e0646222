// SPDX-License-Identifier: Apache-2.0
//
// The layers of SeedVR2's VAE (ByteDance 2025): convolutions that look back in time only and cut
// what is too large for one kernel into strips of rows, then of columns; norms of each frame.
#pragma once
#include "memory/networks/conv3d.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A clip passes the network in slices of frames: what each convolution keeps of one for the next.
struct SliceCarry {
    enum class State : std::uint8_t { Whole, First, Later };
    State state = State::Whole;
    std::map<Module, Tensor> kept;  // its last frames, by the convolution
};

// Which of the dimensions of [N, C, T, H, W] lies outermost in memory.
enum class VideoLayout : std::uint8_t { Contiguous, FramesFirst, ChannelsLast };
struct Seedvr2Frames {
    Tensor x;
    VideoLayout layout = VideoLayout::Contiguous;

    // Whether one frame after the other can be read without steps.
    [[nodiscard]] bool strided() const {
        return layout == VideoLayout::ChannelsLast ||
               (layout == VideoLayout::Contiguous && x.shape()[2] > 1);
    }
};

class StripConv {
  public:
    struct Form {
        Extent3 kernel = {3, 3, 3};
        Extent3 stride = {};
        std::int64_t border = 1;  // zeros around each frame
    };
    StripConv(Registry& registry, Module path, std::int64_t in, std::int64_t out, const Form& form);
    [[nodiscard]] Tensor forward(Tape& tape, const Seedvr2Frames& given, SliceCarry& carry) const;

  private:
    struct Border {
        std::int64_t before = 0;
        std::int64_t after = 0;
    };
    // Of what is given to one kernel, or still to be cut.
    struct Piece {
        std::size_t dim = 3;  // along which it may be cut
        Border rows;
        Border columns;
        const Tensor* head = nullptr;  // what goes before it, one dimension further out
    };
    [[nodiscard]] Tensor run(Tape& tape, const Tensor& x, const Piece& piece) const;
    [[nodiscard]] Tensor run_kernel(Tape& tape, const Tensor& x, const Piece& piece) const;
    [[nodiscard]] Tensor run_strips(Tape& tape, const Tensor& x, const Piece& piece,
                                    std::int64_t strips) const;
    // Rows (or columns) of a strip that the next one needs.
    [[nodiscard]] std::int64_t overlap(std::size_t dim, std::int64_t padded_length) const;

    // The last frames, for the next slice.
    void keep(Tape& tape, const Tensor& x, VideoLayout layout, SliceCarry& carry) const;

    Module path_;
    Form form_;
    Conv3d conv_;
};

class FrameNorm {
  public:
    FrameNorm(Registry& registry, Module path, std::int64_t channels);
    [[nodiscard]] Seedvr2Frames forward(Tape& tape, const Seedvr2Frames& given) const;

  private:
    [[nodiscard]] Tensor run_chunks(Tape& tape, const Tensor& frames, bool strided) const;
    // Some of the channels, in so many groups.
    [[nodiscard]] Tensor run_kernel(Tape& tape, const Tensor& frames, std::int64_t groups,
                                    bool strided) const;

    Module path_;
    std::int64_t channels_;
};

class Seedvr2Residual {
  public:
    Seedvr2Residual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Seedvr2Frames forward(Tape& tape, const Seedvr2Frames& given,
                                        SliceCarry& carry) const;

  private:
    Module path_;
    Module act_;
    FrameNorm norm1_;
    FrameNorm norm2_;
    StripConv conv1_;
    StripConv conv2_;
    std::optional<StripConv> shortcut_;
};

// One head over the cells of each frame.
class Seedvr2Attention {
  public:
    Seedvr2Attention(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Seedvr2Frames forward(Tape& tape, const Seedvr2Frames& given) const;

  private:
    Module path_;
    GroupNorm norm_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
};

class Seedvr2Middle {
  public:
    Seedvr2Middle(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Seedvr2Frames forward(Tape& tape, const Seedvr2Frames& given,
                                        SliceCarry& carry) const;

  private:
    Seedvr2Attention attention_;
    Seedvr2Residual first_;
    Seedvr2Residual second_;
};

}  // namespace plimsoll::memory
