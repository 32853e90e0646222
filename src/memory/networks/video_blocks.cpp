// SPDX-License-Identifier: Apache-2.0
//
// The UNet's blocks that mix frames: VideoResBlock and VideoTransformer of blocks.h.
#include "memory/networks/blocks.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr Conv3dShape kOverFrames{.kernel = {3, 1, 1}, .stride = {}, .padding = {1, 0, 0}};

Module add_mixer(Registry& r, std::string_view path) {
    const Module own = r.path(path, "time_mixer");
    r.add_own_parameters(own, "AlphaBlender", 1, ModuleStorage::Float32);
    return own;
}

// Each frame's share and that of the frames together, by a trained number kept in fp32.
Tensor mix(Tape& tape, Module mixer, const Tensor& spatial, const Tensor& temporal) {
    const Tensor alpha = ghost::create(tape, "sigmoid", mixer, {1}, ElementType::Float32);
    const Tensor first = [&] {
        const Tensor share = ghost::to_type(tape, mixer, alpha, spatial.type());
        return ghost::binary(tape, "mul", mixer, spatial, share);
    }();
    const Tensor second = [&] {
        const Tensor rest = ghost::unary(tape, "rsub", mixer, alpha);
        const Tensor share = ghost::to_type(tape, mixer, rest, temporal.type());
        return ghost::binary(tape, "mul", mixer, temporal, share);
    }();
    return ghost::binary(tape, "add", mixer, first, second);
}

}  // namespace

VideoResBlock::VideoResBlock(Registry& r, std::string_view path, const ResBlockShape& shape)
    : spatial_(r, path, shape),
      path_(r.path(path, "time_stack")),
      in_norm_(r, r.path(*path_, "in_layers.0"), shape.out),
      in_act_(r.path(*path_, "in_layers.1")),
      in_conv_(r, r.path(*path_, "in_layers.2"), shape.out, shape.out, kOverFrames),
      emb_act_(r.path(*path_, "emb_layers.0")),
      emb_proj_(r, r.path(*path_, "emb_layers.1"), shape.embedding, shape.out),
      out_norm_(r, r.path(*path_, "out_layers.0"), shape.out),
      out_act_(r.path(*path_, "out_layers.1")),
      out_conv_(r, r.path(*path_, "out_layers.3"), shape.out, shape.out, kOverFrames),
      mixer_(add_mixer(r, path)) {}

// x: [videos, C, frames, H, W], a view of the frames one by one: not contiguous.
Tensor VideoResBlock::forward_time(Tape& tape, const Tensor& x, const Tensor& embedding) const {
    const bool strided = x.shape()[2] > 1;
    Tensor h;
    {
        Tensor hidden = strided ? in_norm_.forward_strided(tape, x) : in_norm_.forward(tape, x);
        hidden = ghost::unary(tape, "silu", in_act_, hidden);
        h = in_conv_.forward(tape, hidden);
    }
    const Tensor emb_out = emb_proj_.forward(tape, ghost::unary(tape, "silu", emb_act_, embedding));
    h = ghost::binary(tape, "add", path_, h, emb_out);
    {
        Tensor hidden = out_norm_.forward(tape, h);
        hidden = ghost::unary(tape, "silu", out_act_, hidden);
        hidden = out_conv_.forward(tape, hidden);
        h = std::move(hidden);
    }
    return ghost::binary(tape, "add", path_, x, h);
}

Tensor VideoResBlock::forward(Tape& tape, const Tensor& input, const Tensor& embedding,
                              std::int64_t frames) const {
    const Tensor spatial = spatial_.forward(tape, input, embedding);
    const Shape s = spatial.shape();
    const Tensor video = spatial.view({s[0] / frames, s[1], frames, s[2], s[3]});
    const Tensor temporal = forward_time(tape, video, embedding);
    return mix(tape, mixer_, video, temporal).view(s);
}

VideoTransformer::VideoTransformer(Registry& r, std::string_view path, const AttentionWidth& width,
                                   int depth)
    : path_(r.path(path, "")),
      norm_(r, r.path(path, "norm"), width.channels),
      proj_in_(r, r.path(path, "proj_in"), width.channels, width.heads * width.head_dim),
      blocks_([&] {
          std::vector<TransformerBlock> blocks;
          for (int i = 0; i < depth; ++i)
              blocks.emplace_back(r, *r.path(path, fmt::format("transformer_blocks.{}", i)), width);
          return blocks;
      }()),
      proj_out_(r, r.path(path, "proj_out"), width.heads * width.head_dim, width.channels),
      time_blocks_([&] {
          std::vector<TimeBlock> blocks;
          for (int i = 0; i < depth; ++i) {
              const Module own = r.path(path, fmt::format("time_stack.{}", i));
              LayerNorm norm_in(r, r.path(*own, "norm_in"), width.channels);
              FeedForward ff_in(r, *r.path(*own, "ff_in"), width.channels);
              blocks.push_back({own, norm_in, ff_in, TransformerBlock(r, *own, width)});
          }
          return blocks;
      }()),
      position_in_(r, r.path(path, "time_pos_embed.0"), width.channels, 4 * width.channels),
      position_act_(r.path(path, "time_pos_embed.1")),
      position_out_(r, r.path(path, "time_pos_embed.2"), 4 * width.channels, width.channels),
      channels_(width.channels),
      mixer_(add_mixer(r, path)) {}

// One vector for the number of each frame. What it is made of are variables of the forward too.
VideoTransformer::FrameEmbedding VideoTransformer::embed_frames(Tape& tape, std::int64_t videos,
                                                                std::int64_t frames,
                                                                ElementType type) const {
    FrameEmbedding out;
    out.numbers = ghost::create(tape, "arange", path_, {frames}, ElementType::Int64);
    if (videos > 1) out.numbers = ghost::clone(tape, path_, out.numbers, {videos * frames});
    out.waves = timestep_embedding(tape, path_, out.numbers, channels_, type);
    Tensor x = position_in_.forward(tape, out.waves);
    x = ghost::unary(tape, "silu", position_act_, x);
    out.embedding = position_out_.forward(tape, x).view({videos * frames, 1, channels_});
    return out;
}

Tensor VideoTransformer::forward_time(Tape& tape, const TimeBlock& block, const Tensor& input,
                                      const Tensor& context, bool strided) const {
    Tensor x = [&] {
        const Tensor out = [&] {
            const Tensor normal = strided ? block.norm_in.forward_strided(tape, input)
                                          : block.norm_in.forward(tape, input);
            return block.ff_in.forward(tape, normal);
        }();
        return ghost::binary(tape, "add", block.path, out, input);
    }();
    return block.block.forward(tape, std::move(x), context);
}

Tensor VideoTransformer::forward(Tape& tape, const Tensor& input, const Tensor& context,
                                 std::int64_t frames) const {
    const Shape image = input.shape();
    const std::int64_t tokens = image[2] * image[3];
    const std::int64_t videos = image[0] / frames;
    const Shape& c = context.shape();
    // The first frame's condition at every place: a view of one video's, a copy of several's.
    const Shape places{videos * tokens, c[1], c[2]};
    const Tensor time_context =
        videos > 1 ? ghost::produce(tape, OpClass::Copy, "clone", path_,
                                    context.view({videos, c[1], c[2]}), places, context.type())
                   : context.view(places);
    Tensor x = norm_.forward(tape, input).view({image[0], tokens, channels_});
    x = proj_in_.forward_batched(tape, x);
    const FrameEmbedding numbered = embed_frames(tape, videos, frames, input.type());
    Tensor mixed;  // a variable of the forward's own: it lives on
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        x = blocks_[i].forward(tape, x, context);
        const Shape own = x.shape();
        const Shape by_place{videos * tokens, frames, own[2]};
        mixed = ghost::binary(tape, "add", path_, x, numbered.embedding);
        mixed = videos > 1 ? ghost::clone(tape, path_, mixed, by_place) : mixed.view(by_place);
        mixed = forward_time(tape, time_blocks_[i], mixed, time_context, videos == 1 && frames > 1);
        mixed = videos > 1 ? ghost::clone(tape, path_, mixed, own) : mixed.view(own);
        x = mix(tape, mixer_, x, mixed);
    }
    x = proj_out_.forward(tape, x);
    return ghost::binary(tape, "add", path_, x.view(image), input);
}

}  // namespace plimsoll::memory
