// SPDX-License-Identifier: Apache-2.0
//
// The building blocks that the LDM UNet and its ControlNet share: residual block, spatial
// transformer, down- and upsampling, and the list of such modules that makes one entry of
// input_blocks or output_blocks.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/layers.h"

#include <variant>

namespace plimsoll::memory {

struct ResBlockShape {
    std::int64_t in = 0;
    std::int64_t out = 0;
    std::int64_t embedding = 0;
};

class ResBlock {
  public:
    ResBlock(Registry& registry, std::string_view path, const ResBlockShape& shape);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& embedding) const;

  private:
    Module path_;
    GroupNorm in_norm_;
    Module in_act_;
    Conv2d in_conv_;
    Module emb_act_;
    Linear emb_proj_;
    GroupNorm out_norm_;
    Module out_act_;
    Conv2d out_conv_;
    std::optional<Conv2d> skip_;
};

struct AttentionWidth {
    std::int64_t channels = 0;
    std::int64_t context = 0;  // width of the text tokens
    std::int64_t heads = 1;
    std::int64_t head_dim = 64;
};

// A residual block and, over frames, another that is mixed with it (Blattmann et al. 2023).
class VideoResBlock {
  public:
    VideoResBlock(Registry& registry, std::string_view path, const ResBlockShape& shape);
    // x: [videos x frames, C, H, W]; `embedding`: [videos x frames, width].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& embedding,
                                 std::int64_t frames) const;

  private:
    [[nodiscard]] Tensor forward_time(Tape& tape, const Tensor& x, const Tensor& embedding) const;

    ResBlock spatial_;
    Module path_;
    GroupNorm in_norm_;
    Module in_act_;
    Conv3d in_conv_;
    Module emb_act_;
    Linear emb_proj_;
    GroupNorm out_norm_;
    Module out_act_;
    Conv3d out_conv_;
    Module mixer_;
};

class CrossAttention {
  public:
    CrossAttention(Registry& registry, std::string_view path, const AttentionWidth& width,
                   std::int64_t context);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context) const;

  private:
    Module path_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    Linear to_out_;
};

class FeedForward {
  public:
    FeedForward(Registry& registry, std::string_view path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module geglu_;
    Linear proj_;
    Linear out_;
};

class TransformerBlock {
  public:
    TransformerBlock(Registry& registry, std::string_view path, const AttentionWidth& width);
    // Takes the caller's variable, which a caller that keeps it passes as a copy.
    [[nodiscard]] Tensor forward(Tape& tape, Tensor x, const Tensor& context) const;

  private:
    Module path_;
    CrossAttention attn1_;  // in the order of named_modules()
    FeedForward ff_;
    CrossAttention attn2_;
    LayerNorm norm2_;
    LayerNorm norm1_;
    LayerNorm norm3_;
};

enum class Projection : std::uint8_t {
    Conv,
    Linear
};  // how tokens enter and leave a spatial transformer

class SpatialTransformer {
  public:
    SpatialTransformer(Registry& registry, std::string_view path, const AttentionWidth& width,
                       int depth, Projection projection);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context) const;

  private:
    using Project = std::variant<Conv2d, Linear>;
    [[nodiscard]] static Project make_projection(Registry& registry, Module path, std::int64_t from,
                                                 std::int64_t to, Projection projection);

    Module path_;
    GroupNorm norm_;
    Project proj_in_;
    std::vector<TransformerBlock> blocks_;
    Project proj_out_;
};

// A spatial transformer with a second stack of blocks whose tokens are the frames of each place.
class VideoTransformer {
  public:
    VideoTransformer(Registry& registry, std::string_view path, const AttentionWidth& width,
                     int depth);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 std::int64_t frames) const;

  private:
    struct TimeBlock {
        Module path;
        LayerNorm norm_in;
        FeedForward ff_in;
        TransformerBlock block;
    };
    struct FrameEmbedding {
        Tensor numbers;
        Tensor waves;
        Tensor embedding;  // [videos x frames, 1, channels]
    };
    [[nodiscard]] FrameEmbedding embed_frames(Tape& tape, std::int64_t videos, std::int64_t frames,
                                              ghost::ElementType type) const;
    [[nodiscard]] Tensor forward_time(Tape& tape, const TimeBlock& block, const Tensor& x,
                                      const Tensor& context, bool strided) const;

    Module path_;
    GroupNorm norm_;
    Linear proj_in_;
    std::vector<TransformerBlock> blocks_;
    Linear proj_out_;
    std::vector<TimeBlock> time_blocks_;
    Linear position_in_;
    Module position_act_;
    Linear position_out_;
    std::int64_t channels_;
    Module mixer_;
};

class Downsample {
  public:
    Downsample(Registry& registry, std::string_view path, std::int64_t channels);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const { return op_.forward(tape, x); }

  private:
    Conv2d op_;
};

class Upsample {
  public:
    Upsample(Registry& registry, std::string_view path, std::int64_t channels);
    // To `height` x `width`, which is that of the skip tensor it will meet.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, std::int64_t height,
                                 std::int64_t width) const;

  private:
    Module path_;
    Conv2d conv_;
};

struct BlockInputs {
    const Tensor& embedding;
    const Tensor& context;
    std::int64_t output_height = 0;  // 0: twice the input
    std::int64_t output_width = 0;
    std::int64_t frames = 1;  // of each video in the batch
};

// One entry of input_blocks, middle_block or output_blocks.
using BlockPart = std::variant<Conv2d, ResBlock, SpatialTransformer, Downsample, Upsample,
                               VideoResBlock, VideoTransformer>;
using BlockSequence = std::vector<BlockPart>;
// The caller's `h` stays alive while the parts run, as a variable of the calling Python function
// does.
[[nodiscard]] Tensor forward_sequence(Tape& tape, const BlockSequence& parts, const Tensor& h,
                                      const BlockInputs& inputs);

}  // namespace plimsoll::memory
